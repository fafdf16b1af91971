-- What a request meets.
-- KEYS: the record, the marker of the run's token, ...
-- ARGV: the record of the run, the fingerprints by which the request is known (33 bytes each).
-- Gives: 0 it has started already, 1 in flight, 2 unknown, 3 mismatch, 4 aborted; of a run that is done its record.
-- Goes on where it may run.
local found = redis.call('MGET', KEYS[1], KEYS[2])
if found[2] then
    return 4
end
local record = found[1]
if record then
    if #record < 60 or not string.find(record, '^\1[RDU]') then
        return redis.error_reply('MALFORMED ' .. KEYS[1])
    end
    local fingerprint, same = string.sub(record, 19, 51), false
    for i = 1, #ARGV[2], 33 do
        same = same or string.sub(ARGV[2], i, i + 32) == fingerprint
    end
    if not same then
        return 3
    end
    local state = string.sub(record, 2, 2)
    if state == 'D' then
        return record
    elseif state == 'U' then
        return 2
    end
    -- What is left of the key's life beyond the time to live is left of the lease.
    if redis.call('PTTL', KEYS[1]) > struct.unpack('>I8', record, 53) then
        return string.sub(record, 3, 18) == string.sub(ARGV[1], 3, 18) and 0 or 1
    elseif string.sub(record, 52, 52) ~= 'R' then
        return 2
    end
end
