#!lua flags=allow-oom
-- Removes the record if it has this token and is not DONE, and sets a marker that stops a late `begin`.
-- KEYS: the record, the marker.
-- ARGV: the token, the life of the marker in milliseconds.
-- Returns: 0.
redis.call('SET', KEYS[2], '\1', 'PX', ARGV[2])
local head = redis.call('GETRANGE', KEYS[1], 0, 59)
if head ~= '' and (#head < 60 or not string.find(head, '^\1[RDU]')) then
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
if string.sub(head, 3, 18) == ARGV[1] and string.sub(head, 2, 2) ~= 'D' then
    redis.call('DEL', KEYS[1])
end
return 0
