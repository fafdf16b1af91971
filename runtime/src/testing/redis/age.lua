-- Ages all keys of a store: each key expires earlier, and the times in limit buckets move into the past.
-- A fixed window has an absolute start, so only a whole number of windows has an effect.
-- ARGV[1]: the time in microseconds.
local micros = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
    local life = redis.call('PTTL', key)
    local left = math.ceil(life - micros / 1000)
    if life >= 0 and left <= 0 then
        redis.call('DEL', key)
    elseif life >= 0 then
        if string.find(key, '}:l:', 1, true) then
            if redis.call('TYPE', key).ok == 'list' then
                for i = 0, redis.call('LLEN', key) - 1 do
                    redis.call('LSET', key, i, redis.call('LINDEX', key, i) - micros)
                end
            else
                local moment = struct.unpack('>d', redis.call('GET', key), 2)
                redis.call('SET', key, struct.pack('>Bd', 1, moment - micros))
            end
        end
        redis.call('PEXPIRE', key, left)
    end
end
return 0
