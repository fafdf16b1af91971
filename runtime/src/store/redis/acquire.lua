-- Takes the tokens of all limit requests, or none. Shadow limits do not decide. Each shadow limit
-- takes its tokens if it has enough.
--
-- Locals that must be set before: keys_before and arguments_before, the numbers of keys and arguments before those of
-- the buckets.
--
-- KEYS: ..., the buckets. A sliding window is a list of the times of its tokens. Any other bucket is a format byte and
-- a number. For a token or leaky bucket the number is the time at which the bucket is full. For a fixed window it is
-- the end of the window, plus 1 for each taken token. All times are in microseconds since 1970.
--
-- ARGV: ..., for each bucket two arguments. The first is a byte and three numbers, packed:
--   kind: 0 token or leaky bucket, 1 fixed window, 2 sliding window; plus 3 for a shadow
--   cost: the tokens that the request takes
--   most: the largest number of used tokens with which the request still fits
--   window: the time in which the bucket refills, in microseconds
-- cost and most are in microseconds for token and leaky buckets, and in tokens for windows.
-- The second is the life of the bucket's key in milliseconds.
--
-- Sets: admitted, true if the request may continue; and seen, a list with the state of each bucket
-- before the request:
--   of a token or leaky bucket the time until it is full
--   of a fixed window its taken tokens, and the time until it ends
--   of a sliding window its taken tokens, the time until the last of them leaves the window, and the time until the
--   request fits
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local seen, admitted = {}, true
local kind, cost, most, window
if #KEYS == keys_before + 1 then
    kind, cost, most, window = struct.unpack('>Bddd', ARGV[arguments_before + 1])
end

-- Returns the error for a bucket that cannot be read: the server's own error, or MALFORMED if the
-- value is not a bucket.
local function unreadable(key, value)
    local is_server_error = type(value) == 'table' and string.sub(value.err, 1, 9) ~= 'WRONGTYPE'
    return is_server_error and value or redis.error_reply('MALFORMED ' .. key)
end

-- Returns the number of a bucket, and its raw value. The number is 0 if the key does not exist, and nil if the value
-- cannot be read. Numbers from 2^53 on are not exact, so no script writes them.
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

-- Returns the time of a token in a sliding window. An unreadable or future time counts as now.
local function time_at(key, index)
    local taken_at = tonumber(redis.call('LINDEX', key, index))
    return taken_at and taken_at >= 0 and taken_at <= now and taken_at or now
end

if kind == 0 then
    -- A fast path for the most frequent case: a single bucket of an enforced limit.
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
        -- The number is too far in the future, because the clock stepped back or the limit was lowered. It would reject
        -- requests until the clock has reached it.
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
                -- The clock stepped back, so future times are replaced by the current time.
                local times = redis.call('LRANGE', key, 0, -1)
                redis.call('DEL', key)
                for _, taken_at in ipairs(times) do
                    redis.call('RPUSH', key, math.min(tonumber(taken_at) or now, now))
                end
                redis.call('PEXPIRE', key, life)
                last = now
            end
            if last or length == 0 then
                -- A binary search for the first token that is still in the window.
                local first, beyond = 0, length
                while first < beyond do
                    local middle = math.floor((first + beyond) / 2)
                    local taken_at = tonumber(redis.call('LINDEX', key, middle))
                    if taken_at and taken_at + window <= now then
                        first = middle + 1
                    else
                        beyond = middle
                    end
                end
                local used, room = length - first, 0
                fits = used <= most
                if not fits then
                    room = math.max(time_at(key, first + used - most - 1) + window - now, 0)
                end
                local leaves = used > 0 and math.max(time_at(key, -1) + window - now, 0) or 0
                seen[#seen + 1], seen[#seen + 2], seen[#seen + 3] = used, leaves, room
                if fits and cost > 0 then
                    writes[#writes + 1] = { key = key, life = life, first = first, cost = cost }
                end
            elseif shadow then
                -- A shadow that cannot be read counts as exhausted. Nothing is taken, and nothing is rejected.
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
                -- After the limit was lowered, a number with more tokens than the window has is
                -- valid. It expires with the window.
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
            -- A shadow that cannot be read counts as exhausted, so only a request without cost fits.
            if fits and cost > 0 then
                writes[#writes + 1] = { key = key, life = life, number = base + cost }
            end
        end
        admitted = admitted and (fits or shadow)
    end
    -- All buckets are decided before the first one is changed, so that a rejection changes nothing.
    for _, entry in ipairs(admitted and writes or {}) do
        if entry.number then
            write(entry.key, entry.life, entry.number)
        else
            if entry.first > 0 then
                redis.call('LTRIM', entry.key, entry.first, -1)
            end
            for _ = 1, entry.cost do
                redis.call('RPUSH', entry.key, now)
            end
            redis.call('PEXPIRE', entry.key, entry.life)
        end
    end
end
