#!lua flags=allow-oom
-- Writes the outcome of a run: compares the token, and never the lease.
-- KEYS: the record, other names under which another run may have taken it.
-- ARGV: the record of the outcome, its time to live in milliseconds, the other fingerprints by which the request is
-- known (33 bytes each), and one more where no record may be made.
-- Gives: 0 written, 4 there is no record; where another run has the record: 1 in flight, 2 unknown, 3 it is of another request, or the
-- record of its answer.
local at, record = 1, redis.call('GET', KEYS[1])
local token = string.sub(ARGV[1], 3, 18)
if record and #record >= 60 and string.find(record, '^\1[RU]') and string.sub(record, 3, 18) == token then
    -- The run's own record, and not done: as it mostly is.
    redis.call('PSETEX', KEYS[1], ARGV[2], ARGV[1])
    return 0
end
for i = 2, #KEYS do
    if not record then
        at, record = i, redis.call('GET', KEYS[i])
    end
end
if record then
    if #record < 60 or not string.find(record, '^\1[RDU]') then
        return redis.error_reply('MALFORMED ' .. KEYS[at])
    end
    local state, own = string.sub(record, 2, 2), string.sub(record, 3, 18) == token
    local fingerprint = string.sub(record, 19, 51)
    local same = fingerprint == string.sub(ARGV[1], 19, 51)
    for i = 1, #ARGV[3], 33 do
        same = same or string.sub(ARGV[3], i, i + 32) == fingerprint
    end
    if not own and not same then
        return 3
    elseif state == 'D' then
        return own and 0 or record
    elseif not own then
        local lapsed = redis.call('PTTL', KEYS[at]) <= struct.unpack('>I8', record, 53)
        return (state == 'U' or lapsed and string.sub(record, 52, 52) ~= 'R') and 2 or 1
    end
end
if not record and ARGV[4] then
    return 4
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
