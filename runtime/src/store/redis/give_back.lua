#!lua flags=allow-oom
-- Gives back what was taken for a request that another slot has refused. What has come back by itself since then is
-- not given back as well, so that no bucket ever holds more than without the request.
-- KEYS: buckets.
-- ARGV: for each bucket its kind, what was taken, and: of a token or leaky bucket the moment at which it was full
-- before; of a fixed window its end, and the most tokens it has; of a sliding window the moment of the tokens. A byte
-- and three numbers, as acquire.lua has them.
-- Gives: 0.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
    local kind, cost, before, burst = struct.unpack('>Bddd', ARGV[i])
    if cost > 0 and kind == 2 then
        redis.pcall('LREM', key, -cost, before)
    elseif cost > 0 then
        local value = redis.pcall('GET', key)
        local number = type(value) == 'string' and #value == 9 and struct.unpack('>d', value, 2)
        local given
        if number and kind == 1 then
            -- Another window has begun where the number is of another end.
            given = number > before and number <= before + burst and math.max(number - cost, before)
        elseif number then
            -- Where others took meanwhile, a bucket that would have been full had nothing more to come back.
            local gone = number == before + cost and 0 or math.max(now - before, 0)
            given = math.max(number - math.max(cost - gone, 0), now)
        end
        if given then
            redis.call('SET', key, struct.pack('>Bd', 1, given), 'KEEPTTL')
        end
    end
end
return 0
