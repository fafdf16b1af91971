#!lua flags=allow-oom
-- Gives back what was taken for a request that another slot has refused. What has come back by itself since then is
-- not given back as well, so that no bucket ever holds more than without the request.
-- KEYS: buckets.
-- ARGV: when it was taken, in microseconds since 1970; for each bucket how much, in microseconds.
-- Gives: 0.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = math.max(now - ARGV[1], 0)
for i, key in ipairs(KEYS) do
    local back = ARGV[i + 1] - since
    local value = back > 0 and redis.pcall('GET', key)
    local arrival = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
    if arrival then
        local moved = arrival - back
        if moved <= now then
            redis.call('DEL', key)
        else
            redis.call('SET', key, '\1' .. string.format('%.0f', moved), 'PX', math.ceil((moved - now) / 1000))
        end
    end
end
return 0
