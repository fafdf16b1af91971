UPDATE aplomb.record SET
    state = CASE WHEN $2 IS NULL THEN 0 ELSE 2 END,
    response = $2,
    lease_until = instant,
    expires_at = instant + $3,
    reap_at = greatest(reap_at, instant + $3)
FROM (SELECT aplomb.clock() AS instant) AS clock
WHERE name = $1 AND expires_at > instant
    AND (state = 3 OR (state = 1 AND NOT rerun AND lease_until <= instant))
RETURNING 1
