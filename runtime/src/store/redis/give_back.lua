#!lua flags=allow-oom
-- Gives back the tokens of a request that another slot has rejected. Tokens that were refilled in the meantime are not
-- given back again, so no bucket ever has more tokens than without the request.
-- KEYS: the buckets.
-- ARGV: for each bucket a byte and three numbers, packed as in acquire.lua: its kind, the taken
-- tokens (for token and leaky buckets, in microseconds), and then two numbers that depend on the
-- kind. For a token or leaky bucket: the time at which it would be full without the request, and 0.
-- For a fixed window: the end of the window, and its number of tokens. For a sliding window: the
-- time at which the tokens were taken, and 0.
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
            -- If no other request has changed the bucket since then, all tokens are given back.
            -- Otherwise a part of the cost may already be refilled, because without the request the
            -- bucket would have been full since `before`. This part is not given back.
            local refilled = number == before + cost and 0 or math.max(now - before, 0)
            restored = math.max(number - math.max(cost - refilled, 0), now)
        end
        if restored then
            redis.call('SET', key, struct.pack('>Bd', 1, restored), 'KEEPTTL')
        end
    end
end
return 0
