#!lua
-- Takes the tokens of every claim, or of none.
-- KEYS: buckets, each a format byte and its theoretical arrival time in microseconds since 1970.
-- ARGV: for each bucket what the claim costs and how long the bucket takes to refill, in microseconds.
-- Gives: for each bucket how far ahead of now its arrival time was, in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, fits = {}, true
for i, key in ipairs(KEYS) do
    local value, arrival = redis.pcall('GET', key), now
    if value then
        arrival = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
        if not arrival then
            return redis.error_reply('MALFORMED ' .. key)
        end
    end
    local window = tonumber(ARGV[2 * i])
    ahead[i] = math.min(math.max(arrival - now, 0), window)
    fits = fits and ahead[i] + ARGV[2 * i - 1] <= window
end
if fits then
    for i, key in ipairs(KEYS) do
        local cost = tonumber(ARGV[2 * i - 1])
        if cost > 0 then
            local moved = ahead[i] + cost
            redis.call('SET', key, '\1' .. string.format('%.0f', now + moved), 'PX', math.ceil(moved / 1000))
        end
    end
end
return ahead
