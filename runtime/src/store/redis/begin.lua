-- Takes the record for a run, where what stands before has not found that it may not run.
-- ARGV: ..., how long the record stays without a heartbeat, in milliseconds: the lease, then the time to live.
-- Gives: 0 started, 10 + n started under KEYS[n].
if record then
    -- Under another name it stays known by what it was made with.
    local fingerprint = string.sub(at == 1 and ARGV[1] or record, 19, 51)
    local run = string.sub(ARGV[1], 1, 18) .. fingerprint .. string.sub(ARGV[1], 52)
    redis.call('SET', KEYS[at], run, 'PX', ARGV[3])
elseif not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3], 'NX') then
    -- A key of another type reads as absent.
    return redis.error_reply('MALFORMED ' .. KEYS[1])
end
return started
