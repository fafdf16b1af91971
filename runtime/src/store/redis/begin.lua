-- Creates the record of a run. This part follows find_record.lua, which returns if the request may
-- not run.
-- ARGV: ..., the life of the record without a heartbeat in milliseconds: the lease plus the time to live.
-- Returns: 0 started.
if record then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
elseif not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3], 'NX') then
    -- MGET returned nothing for a key of another type, but the key exists.
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
return 0
