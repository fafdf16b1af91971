#!lua flags=allow-oom
-- Resolves a record with an unknown outcome.
-- KEYS: the record.
-- ARGV: the response, or an empty string to remove the record; its time to live in milliseconds.
-- Returns: 1 if the record is resolved, 0 if its outcome was not unknown.
local head = redis.call('GETRANGE', KEYS[1], 0, 59)
if head == '' then
    return 0
end
if #head < 60 or not string.find(head, '^\1[RDU]') then
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
local state = string.sub(head, 2, 2)
-- The outcome of a RUNNING record whose lease has lapsed is also unknown, unless a retry may run
-- the handler again.
if state == 'R' and string.sub(head, 52, 52) ~= 'R' then
    if redis.call('PTTL', KEYS[1]) <= struct.unpack('>I8', head, 53) then
        state = 'U'
    end
end
if state ~= 'U' then
    return 0
end
if ARGV[1] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], '\1D' .. string.sub(head, 3) .. ARGV[1], 'PX', ARGV[2])
end
return 1
