#!lua flags=allow-oom
-- Writes the outcome of a run. Compares only the token, so that a run can complete after its lease
-- has lapsed.
-- KEYS: the record.
-- ARGV: the record with the outcome, its time to live in milliseconds.
-- Returns: 0 written. If another run has the record: 1 in flight, 2 unknown, 3 another request, or the DONE record.
local record = redis.call('GET', KEYS[1])
local token = string.sub(ARGV[1], 3, 18)
if record and #record >= 60 and string.find(record, '^\1[RU]') and string.sub(record, 3, 18) == token then
    -- The most frequent case comes first: the run's own record, which is not DONE.
    redis.call('PSETEX', KEYS[1], ARGV[2], ARGV[1])
    return 0
end
if record then
    if #record < 60 or not string.find(record, '^\1[RDU]') then
        return redis.error_reply('MALFORMED ' .. KEYS[1])
    end
    local state = string.sub(record, 2, 2)
    if string.sub(record, 3, 18) == token then
        return 0
    elseif string.sub(record, 19, 51) ~= string.sub(ARGV[1], 19, 51) then
        return 3
    elseif state == 'D' then
        return record
    end
    local lapsed = redis.call('PTTL', KEYS[1]) <= struct.unpack('>I8', record, 53)
    return (state == 'U' or lapsed and string.sub(record, 52, 52) ~= 'R') and 2 or 1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
