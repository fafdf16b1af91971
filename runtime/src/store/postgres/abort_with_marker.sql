-- The marker is in the row of the key, so that this statement and a concurrent `begin` of the same
-- token change the same row. With a marker in another table, both could succeed.
INSERT INTO aplomb.record AS record (
    name, token, lease_until, expires_at, reap_at, aborted_until, state, rerun, fingerprint, aborted
)
SELECT $1, $2, instant, instant, instant + $3, instant + $3, 0, false, '', ARRAY[$2]
FROM (SELECT aplomb.clock() AS instant) AS clock
ON CONFLICT (name) DO UPDATE SET
    state = CASE WHEN record.token = $2 AND record.state IN (1, 3) THEN 0 ELSE record.state END,
    response = CASE WHEN record.token = $2 AND record.state IN (1, 3) THEN NULL ELSE record.response END,
    aborted = CASE
        WHEN record.aborted_until > aplomb.clock() THEN array_remove(record.aborted, $2) || $2
        ELSE ARRAY[$2]
    END,
    aborted_until = greatest(record.aborted_until, excluded.aborted_until),
    reap_at = greatest(record.reap_at, excluded.reap_at)
