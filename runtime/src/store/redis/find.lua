#!lua flags=no-writes,allow-oom
-- Reads the state of a record.
-- KEYS: the record.
-- Returns: 0 absent, 1 running, 2 unknown, 3 lapsed and may run again, or the DONE record.
local record = redis.call('GET', KEYS[1])
if not record then
    return 0
end
if #record < 60 or not string.find(record, '^\1[RDU]') then
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
local state = string.sub(record, 2, 2)
if state == 'D' then
    return record
end
-- The key of a RUNNING record lives for its lease plus its time to live. So the lease is held while more than the time
-- to live remains.
if state == 'R' and redis.call('PTTL', KEYS[1]) > struct.unpack('>I8', record, 53) then
    return 1
end
if state == 'R' and string.sub(record, 52, 52) == 'R' then
    return 3
end
return 2
