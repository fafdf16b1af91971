#!lua flags=allow-oom
-- Gives back the tokens of a request that another slot has rejected. Tokens that were refilled in the meantime are not
-- given back again, so no bucket ever has more tokens than without the request.
-- KEYS: the buckets.
-- ARGV: for each bucket a byte and three numbers, packed as in acquire.lua: its kind, the taken tokens (of token and
-- leaky buckets in microseconds), and then
--   of a token or leaky bucket the time at which it was full before, and 0;
--   of a fixed window its end, and its number of tokens;
--   of a sliding window the time of the tokens, and 0.
-- All times are in microseconds since 1970.
-- Returns: 0.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
    local kind, cost, before, burst = struct.unpack('>Bddd', ARGV[i])
    if cost > 0 and kind == 2 then
        redis.pcall('LREM', key, -cost, before)
    elseif cost > 0 then
        local value = redis.pcall('GET', key)
        local number = type(value) == 'string' and #value == 9 and struct.unpack('>d', value, 2)
        local restored
        if number and kind == 1 then
            -- A number outside of this range belongs to another window, which has begun since then.
            restored = number > before and number <= before + burst and math.max(number - cost, before)
        elseif number then
            -- If no other request has changed the bucket since then, all tokens are given back. Otherwise: without the
            -- request the bucket would have been full since `before`. The refill since then has already replaced a part
            -- of the cost, which is not given back.
            local refilled = number == before + cost and 0 or math.max(now - before, 0)
            restored = math.max(number - math.max(cost - refilled, 0), now)
        end
        if restored then
            redis.call('SET', key, struct.pack('>Bd', 1, restored), 'KEEPTTL')
        end
    end
end
return 0
