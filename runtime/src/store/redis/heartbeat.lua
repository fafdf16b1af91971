#!lua flags=allow-oom
-- Renews the leases that are still held.
-- KEYS: the records.
-- ARGV: the lease in milliseconds, then the token of each record.
-- Returns: for each record 1 if its lease is renewed, 0 if it is lost.
local renewed = {}
for i, key in ipairs(KEYS) do
    local head = redis.pcall('GETRANGE', key, 0, 59)
    local own = type(head) == 'string' and string.sub(head, 1, 2) == '\1R' and string.sub(head, 3, 18) == ARGV[i + 1]
    renewed[i] = 0
    if own and #head == 60 then
        local ttl = struct.unpack('>I8', head, 53)
        if redis.call('PTTL', key) > ttl then
            redis.call('PEXPIRE', key, ttl + ARGV[1])
            renewed[i] = 1
        end
    end
end
return renewed
