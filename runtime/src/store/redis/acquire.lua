-- Takes the tokens of every claim, or of none. Claims of shadow limits do not decide: each takes what it can.
-- Locals: keys_before and arguments_before, how many keys and arguments stand before those of the buckets.
-- KEYS: ..., buckets. Of a sliding window the list of the moments of its tokens; else a format byte and a number: of a
-- fixed window its end, and one more for each token taken in it; else the moment at which the bucket is full. All in
-- microseconds since 1970.
-- ARGV: ..., for each bucket its kind (0 token or leaky bucket, 1 fixed window, 2 sliding window; 3 more for a shadow), what
-- the claim costs, how much may be taken already for it to fit, and how long the bucket takes to refill: tokens of
-- windows, else microseconds.
-- Leaves: admitted, whether the request may go on; seen, for each bucket how far ahead of now its moment was; or of a fixed window the tokens that were taken in it, and
-- how long it lasts; or of a sliding window the tokens, when the last of them leaves, and when enough of them have left.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seen, writes, admitted = {}, {}, true
for i = 1, #KEYS - keys_before do
    local key, at = KEYS[keys_before + i], arguments_before + 4 * i
    local kind = tonumber(ARGV[at - 3])
    local cost, most, window = tonumber(ARGV[at - 2]), tonumber(ARGV[at - 1]), tonumber(ARGV[at])
    local shadow, fits, write = kind > 2, false, nil
    if kind % 3 == 2 then
        local length = redis.pcall('LLEN', key)
        local last = type(length) == 'number' and length > 0 and tonumber(redis.call('LINDEX', key, -1))
        if last and last > now then
            -- The clock stepped back: what is still to come counts as now.
            local moments = redis.call('LRANGE', key, 0, -1)
            redis.call('DEL', key)
            for _, moment in ipairs(moments) do
                redis.call('RPUSH', key, math.min(tonumber(moment) or now, now))
            end
            redis.call('PEXPIRE', key, math.ceil(window / 1000))
            last = now
        end
        if last or length == 0 then
            -- The first that is still in the window.
            local first, beyond = 0, length
            while first < beyond do
                local middle = math.floor((first + beyond) / 2)
                local moment = tonumber(redis.call('LINDEX', key, middle))
                if moment and moment + window <= now then
                    first = middle + 1
                else
                    beyond = middle
                end
            end
            local used, room = length - first, 0
            fits = used <= most
            if not fits then
                room = (tonumber(redis.call('LINDEX', key, first + used - most - 1)) or now) + window - now
            end
            seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = used, used > 0 and last + window - now or 0, room
            if fits and cost > 0 then
                write = { key = key, first = first, cost = cost, window = window }
            end
        elseif shadow then
            -- What a shadow cannot read is an empty bucket, of which nothing is taken: it refuses no one.
            seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = most + cost, window, window
        else
            return redis.error_reply('MALFORMED ' .. key)
        end
    else
        local value, word, base = redis.pcall('GET', key), 0, nil
        if value then
            word = type(value) == 'string' and tonumber(string.match(value, '^\1(%d+)$'))
            if not word and not shadow then
                return redis.error_reply('MALFORMED ' .. key)
            end
        end
        if kind % 3 == 1 then
            local left = window - now % window
            local used = word and math.min(math.max(word - now - left, 0), most + cost) or most + cost
            base, fits = now + left + used, used <= most
            seen[#seen + 1], seen[#seen + 2] = used, left
        else
            local ahead = word and math.min(math.max(word - now, 0), window) or window
            base, fits = now + ahead, ahead <= most
            seen[#seen + 1] = ahead
        end
        if fits and cost > 0 then
            write = { key = key, word = base + cost }
        elseif word and word > base then
            -- What is too far ahead would refuse until the clock is there.
            redis.call('SET', key, string.format('\1%.0f', base), 'PX', math.ceil((base - now) / 1000))
        end
    end
    writes[#writes + 1] = write
    admitted = admitted and (fits or shadow)
end
if admitted then
    for _, write in ipairs(writes) do
        if write.word then
            redis.call('SET', write.key, string.format('\1%.0f', write.word), 'PX', math.ceil((write.word - now) / 1000))
        else
            if write.first > 0 then
                redis.call('LTRIM', write.key, write.first, -1)
            end
            for _ = 1, write.cost do
                redis.call('RPUSH', write.key, now)
            end
            redis.call('PEXPIRE', write.key, math.ceil(write.window / 1000))
        end
    end
end
