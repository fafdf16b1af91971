#!lua flags=allow-oom
-- Makes a record that is running with this token unknown.
-- KEYS: the record.
-- ARGV: the token, how long it stays unknown in milliseconds.
-- Gives: 1 if it is written, 0 if it was not running with this token.
local head = redis.call('GETRANGE', KEYS[1], 0, 59)
if #head < 60 or string.sub(head, 1, 2) ~= '\1R' or string.sub(head, 3, 18) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], '\1U' .. string.sub(head, 3), 'PX', ARGV[2])
return 1
