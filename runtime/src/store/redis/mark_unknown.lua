#!lua flags=allow-oom
-- Marks the record UNKNOWN if it is RUNNING with this token.
-- KEYS: the record.
-- ARGV: the token, the time for which the record stays UNKNOWN in milliseconds.
-- Returns: 1 if the record is marked, 0 if it was not RUNNING with this token.
local head = redis.call('GETRANGE', KEYS[1], 0, 59)
if #head < 60 or string.sub(head, 1, 2) ~= '\1R' or string.sub(head, 3, 18) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], '\1U' .. string.sub(head, 3), 'PX', ARGV[2])
return 1
