-- Takes the record for a run, where what stands before has not found that it may not run.
-- ARGV: ..., how long the record stays without a heartbeat, in milliseconds: the lease, then the time to live.
-- Gives: 0 started.
if record then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
elseif not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3], 'NX') then
    -- A key of another type reads as absent.
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
return 0
