-- Takes the tokens of every claim, or of none. Claims of shadow limits do not decide: each takes what it can.
-- Locals: keys_before and arguments_before, how many keys and arguments stand before those of the buckets.
-- KEYS: ..., buckets. Of a sliding window the list of the moments of its tokens; else a format byte and a number: of a
-- fixed window its end, and one more for each token taken in it; else the moment at which the bucket is full. All in
-- microseconds since 1970.
-- ARGV: ..., for each bucket its kind (0 token or leaky bucket, 1 fixed window, 2 sliding window; 3 more for a shadow),
-- what the claim costs, how much may be taken already for it to fit, and how long the bucket takes to refill (tokens of
-- windows, else microseconds), as a byte and three numbers; and how long it is kept, in milliseconds.
-- Leaves: admitted, whether the request may go on; seen, for each bucket how far ahead of now its moment was; or of a
-- fixed window the tokens that were taken in it, and how long it lasts; or of a sliding window the tokens, when the last
-- of them leaves, and when enough of them have left.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seen, admitted = {}, true
local kind, cost, most, window
if #KEYS == keys_before + 1 then
    kind, cost, most, window = struct.unpack('>Bddd', ARGV[arguments_before + 1])
end

-- The error for what cannot be read: what stands there is no bucket, unless it is the server that does not give it.
local function unreadable(key, value)
    local refused = type(value) == 'table' and string.sub(value.err, 1, 9) ~= 'WRONGTYPE'
    return refused and value or redis.error_reply('MALFORMED ' .. key)
end

-- The number of a bucket: 0 where there is none, nothing where it cannot be read; and what stands there.
local function read(key)
    local value = redis.pcall('GET', key)
    if not value then
        return 0
    end
    local number = type(value) == 'string' and #value == 9 and struct.unpack('>d', value, 2)
    return number and number >= 0 and number < 9007199254740992 and string.byte(value) == 1 and number or nil, value
end

local function write(key, life, number)
    redis.call('PSETEX', key, life, struct.pack('>Bd', 1, number))
end

-- The moment of a token in a log. What is none, or is still to come, counts as now.
local function moment_at(key, place)
    local moment = tonumber(redis.call('LINDEX', key, place))
    return moment and moment >= 0 and moment <= now and moment or now
end

if kind == 0 then
    -- One bucket that decides alone, as most requests have.
    local key, life = KEYS[#KEYS], ARGV[arguments_before + 2]
    local number, value = read(key)
    if not number then
        return unreadable(key, value)
    end
    local ahead = math.min(math.max(number - now, 0), window)
    admitted = ahead <= most
    if admitted and cost > 0 then
        write(key, life, now + ahead + cost)
    elseif number > now + window then
        -- Too far ahead (the clock stepped back, or the limit was lowered), it would refuse until the clock is there.
        write(key, life, now + ahead)
    end
    seen[1] = ahead
else
    local writes = {}
    for i = 1, #KEYS - keys_before do
        local key, life = KEYS[keys_before + i], ARGV[arguments_before + 2 * i]
        kind, cost, most, window = struct.unpack('>Bddd', ARGV[arguments_before + 2 * i - 1])
        local shadow, fits = kind > 2, false
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
                redis.call('PEXPIRE', key, life)
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
                    room = math.max(moment_at(key, first + used - most - 1) + window - now, 0)
                end
                local leaves = used > 0 and math.max(moment_at(key, -1) + window - now, 0) or 0
                seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = used, leaves, room
                if fits and cost > 0 then
                    writes[#writes + 1] = { key = key, life = life, first = first, cost = cost }
                end
            elseif shadow then
                -- What a shadow cannot read is an empty bucket, of which nothing is taken: it refuses no one.
                seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = most + cost, window, window
            else
                return unreadable(key, length)
            end
        else
            local number, value = read(key)
            if not number and not shadow then
                return unreadable(key, value)
            end
            local base, farthest
            if kind % 3 == 1 then
                local left = window - now % window
                local used = number and math.min(math.max(number - now - left, 0), most + cost) or most + cost
                base, fits = now + left + used, used <= most
                -- More tokens than it has are those of a limit that is lowered just now, and go with the window.
                farthest = now + left + window
                seen[#seen + 1], seen[#seen + 2] = used, left
            else
                local ahead = number and math.min(math.max(number - now, 0), window) or window
                base, fits, farthest = now + ahead, ahead <= most, now + window
                seen[#seen + 1] = ahead
            end
            if number and number > farthest then
                write(key, life, base)
            end
            -- Of a shadow that cannot be read nothing fits, unless it costs nothing.
            if fits and cost > 0 then
                writes[#writes + 1] = { key = key, life = life, number = base + cost }
            end
        end
        admitted = admitted and (fits or shadow)
    end
    for _, one in ipairs(admitted and writes or {}) do
        if one.number then
            write(one.key, one.life, one.number)
        else
            if one.first > 0 then
                redis.call('LTRIM', one.key, one.first, -1)
            end
            for _ = 1, one.cost do
                redis.call('RPUSH', one.key, now)
            end
            redis.call('PEXPIRE', one.key, one.life)
        end
    end
end
