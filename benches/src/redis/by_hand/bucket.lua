-- A common token bucket: a hash with the remaining tokens and the time at which they were counted.
-- KEYS: the bucket.
-- ARGV: its capacity, the tokens per minute, the milliseconds of a complete refill.
-- Returns: 1 if a token was taken, the remaining tokens, the milliseconds until the bucket is full.
local capacity, rate = tonumber(ARGV[1]), ARGV[2] / 60000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or capacity, tonumber(bucket[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * rate)
local allowed = 0
if tokens >= 1 then
    tokens = tokens - 1
    allowed = 1
end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { allowed, math.floor(tokens), math.ceil((capacity - tokens) / rate) }
