-- Takes the tokens of every claim, or of none. Claims of shadow limits do not decide: each takes what it can.
-- Locals: keys_before and arguments_before, how many keys and arguments stand before those of the buckets.
-- KEYS: ..., buckets, each a format byte and its theoretical arrival time in microseconds since 1970.
-- ARGV: ..., for each bucket what the claim costs and how long the bucket takes to refill, in microseconds, and 1 if
-- the limit is a shadow, else 0.
-- Leaves: admitted, whether the request may go on; ahead, for each bucket how far ahead of now its arrival time was, in
-- microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead, fits, admitted = {}, {}, true
for i = 1, #KEYS - keys_before do
    local key, at = KEYS[keys_before + i], arguments_before + 3 * i
    local value, arrival = redis.pcall('GET', key), now
    local window, shadow = tonumber(ARGV[at - 1]), ARGV[at] == '1'
    if value then
        arrival = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
        if not arrival and not shadow then
            return redis.error_reply('MALFORMED ' .. key)
        end
        -- What a shadow cannot read is an empty bucket, of which nothing is taken: it refuses no one.
        arrival = arrival or now + window
    end
    ahead[i] = math.min(math.max(arrival - now, 0), window)
    fits[i] = ahead[i] + ARGV[at - 2] <= window
    admitted = admitted and (fits[i] or shadow)
end
if admitted then
    for i = 1, #ahead do
        local cost = tonumber(ARGV[arguments_before + 3 * i - 2])
        if cost > 0 and fits[i] then
            local moved = ahead[i] + cost
            local arrival = '\1' .. string.format('%.0f', now + moved)
            redis.call('SET', KEYS[keys_before + i], arrival, 'PX', math.ceil(moved / 1000))
        end
    end
end
