-- Finds the outcome of a `begin` without writing.
-- KEYS: the record, the marker of the run's token, ...
-- ARGV: the record of the run, the fingerprints of the request by all versions of the comparison
-- rule (33 bytes each).
-- Returns: 0 already started with this token, 1 in flight, 2 unknown, 3 mismatch, 4 aborted, or the DONE record.
-- If the request may run, this part does not return, and the next part of the script runs.
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
    -- The key lives for its lease plus its time to live. So the lease is held while more than the time to live remains.
    if redis.call('PTTL', KEYS[1]) > struct.unpack('>I8', record, 53) then
        return string.sub(record, 3, 18) == string.sub(ARGV[1], 3, 18) and 0 or 1
    elseif string.sub(record, 52, 52) ~= 'R' then
        return 2
    end
end
