#!lua flags=allow-oom
-- Gives back what was taken for a request that another slot has refused. What has come back by itself since then is
-- not given back as well, so that no bucket ever holds more than without the request.
-- KEYS: buckets.
-- ARGV: for each bucket its arrival time before, in microseconds since 1970, and what was taken, in microseconds.
-- Gives: 0.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, key in ipairs(KEYS) do
    local before, cost = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local value = cost > 0 and redis.pcall('GET', key)
    local arrival = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
    if arrival then
        -- Where others took meanwhile, a bucket that would have been full had nothing more to come back.
        local gone = arrival == before + cost and 0 or math.max(now - before, 0)
        local moved = arrival - math.max(cost - gone, 0)
        if moved <= now then
            redis.call('DEL', key)
        else
            redis.call('SET', key, '\1' .. string.format('%.0f', moved), 'PX', math.ceil((moved - now) / 1000))
        end
    end
end
return 0
