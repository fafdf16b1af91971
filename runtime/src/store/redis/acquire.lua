#!lua
-- Takes the tokens of every claim, or of none. Claims of shadow limits do not decide: each takes what it can.
-- KEYS: buckets, each a format byte and its theoretical arrival time in microseconds since 1970.
-- ARGV: for each bucket what the claim costs and how long the bucket takes to refill, in microseconds, and 1 if the
-- limit is a shadow, else 0; one more where it must be known when that was.
-- Gives: for each bucket how far ahead of now its arrival time was, in microseconds; then, if asked, now.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, fits, admitted = {}, {}, true
for i, key in ipairs(KEYS) do
    local value, arrival = redis.pcall('GET', key), now
    local window, shadow = tonumber(ARGV[3 * i - 1]), ARGV[3 * i] == '1'
    if value then
        arrival = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
        if not arrival and not shadow then
            return redis.error_reply('MALFORMED ' .. key)
        end
        -- What a shadow cannot read is an empty bucket, of which nothing is taken: it refuses no one.
        arrival = arrival or now + window
    end
    ahead[i] = math.min(math.max(arrival - now, 0), window)
    fits[i] = ahead[i] + ARGV[3 * i - 2] <= window
    admitted = admitted and (fits[i] or shadow)
end
if admitted then
    for i, key in ipairs(KEYS) do
        local cost = tonumber(ARGV[3 * i - 2])
        if cost > 0 and fits[i] then
            local moved = ahead[i] + cost
            redis.call('SET', key, '\1' .. string.format('%.0f', now + moved), 'PX', math.ceil(moved / 1000))
        end
    end
end
if #ARGV > 3 * #KEYS then
    ahead[#KEYS + 1] = now
end
return ahead
