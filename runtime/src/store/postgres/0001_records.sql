-- The clock of all statements. Tests replace it.
CREATE FUNCTION aplomb.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- The states are 0 ABSENT (the row has only markers of aborted runs), 1 RUNNING, 2 DONE and
-- 3 UNKNOWN. The tokens in `aborted` start no run until `aborted_until`.
--
-- `reap_at` is later than `expires_at`, so that a completion changes no indexed column and needs no
-- new index entries. The free space of each page is for the new versions of its rows.
CREATE TABLE aplomb.record (
    name uuid NOT NULL PRIMARY KEY,
    token uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    reap_at timestamptz NOT NULL,
    aborted_until timestamptz,
    state smallint NOT NULL,
    rerun boolean NOT NULL,
    fingerprint bytea NOT NULL,
    aborted uuid[],
    response bytea
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX record_reap_at ON aplomb.record (reap_at);

CREATE TABLE aplomb.secret (
    namespace text NOT NULL PRIMARY KEY,
    secret bytea NOT NULL
);

-- The settings of the functions keep the plan that uses the index of the names. Statistics of an
-- empty table would give a plan that reads the whole table.
--
-- The outcomes are 0 started, 1 in flight, 2 done, 3 unknown, 4 mismatch, 5 aborted, 6 written and
-- 7 malformed.

CREATE FUNCTION aplomb.record_begin_v1(
    key uuid, run uuid, fingerprints bytea[], may_rerun boolean, lease interval, ttl interval,
    transactional boolean, OUT outcome smallint, OUT stored bytea
)
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    found_record aplomb.record;
    instant timestamptz;
BEGIN
    -- The handler's transaction completes the record. If the database crashes and loses the record,
    -- the transaction finds no record and is rolled back.
    IF transactional THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    -- A new round reads the record again, after another transaction has changed it.
    FOR round IN 1..20 LOOP
        SELECT * INTO found_record FROM aplomb.record AS record WHERE record.name = key;
        instant := aplomb.clock();
        IF found_record.aborted_until > instant AND run = ANY (found_record.aborted) THEN
            outcome := 5;
            RETURN;
        END IF;
        IF found_record.name IS NULL OR found_record.state = 0 OR found_record.expires_at <= instant THEN
            INSERT INTO aplomb.record AS record
                (name, token, lease_until, expires_at, reap_at, state, rerun, fingerprint)
            VALUES (
                key, run, instant + lease, instant + lease + ttl,
                instant + lease + ttl + interval '15 minutes', 1, may_rerun, fingerprints[1]
            )
            ON CONFLICT (name) DO UPDATE SET
                token = excluded.token,
                lease_until = aplomb.clock() + lease,
                expires_at = aplomb.clock() + lease + ttl,
                reap_at = greatest(record.reap_at, excluded.reap_at),
                state = 1,
                rerun = excluded.rerun,
                fingerprint = excluded.fingerprint,
                response = NULL
            -- `IS NOT TRUE`, because the comparison with NULL is NULL.
            WHERE (record.state = 0 OR record.expires_at <= aplomb.clock())
                AND (record.aborted_until > aplomb.clock() AND run = ANY (record.aborted)) IS NOT TRUE;
            IF FOUND THEN
                outcome := 0;
                RETURN;
            END IF;
            CONTINUE;
        END IF;
        IF found_record.state NOT IN (1, 2, 3) OR octet_length(found_record.fingerprint) <> 33 THEN
            outcome := 7;
            RETURN;
        END IF;
        IF found_record.fingerprint <> ALL (fingerprints) THEN
            outcome := 4;
            RETURN;
        END IF;
        IF found_record.state = 2 THEN
            outcome := 2;
            stored := found_record.response;
            RETURN;
        END IF;
        IF found_record.state = 3 THEN
            outcome := 3;
            RETURN;
        END IF;
        IF found_record.lease_until > instant THEN
            outcome := CASE WHEN found_record.token = run THEN 0 ELSE 1 END;
            RETURN;
        END IF;
        IF NOT found_record.rerun THEN
            outcome := 3;
            RETURN;
        END IF;
        UPDATE aplomb.record AS record SET
            token = run,
            lease_until = aplomb.clock() + lease,
            expires_at = aplomb.clock() + lease + ttl,
            reap_at = greatest(record.reap_at, aplomb.clock() + lease + ttl),
            rerun = may_rerun,
            fingerprint = fingerprints[1]
        WHERE record.name = key AND record.token = found_record.token
            AND record.state = 1 AND record.lease_until <= aplomb.clock()
            AND (record.aborted_until > aplomb.clock() AND run = ANY (record.aborted)) IS NOT TRUE;
        IF FOUND THEN
            outcome := 0;
            RETURN;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'too many concurrent changes of one record' USING ERRCODE = '40001';
END
$$;

CREATE FUNCTION aplomb.record_complete_v1(
    key uuid, run uuid, request bytea, new_state smallint, new_response bytea, ttl interval,
    OUT outcome smallint, OUT stored bytea
)
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    found_record aplomb.record;
    instant timestamptz;
BEGIN
    FOR round IN 1..20 LOOP
        UPDATE aplomb.record AS record SET
            state = new_state,
            rerun = false,
            response = new_response,
            lease_until = aplomb.clock(),
            expires_at = aplomb.clock() + ttl,
            reap_at = greatest(record.reap_at, aplomb.clock() + ttl)
        WHERE record.name = key AND record.token = run
            AND record.state IN (1, 3) AND record.expires_at > aplomb.clock();
        IF FOUND THEN
            outcome := 6;
            RETURN;
        END IF;
        SELECT * INTO found_record FROM aplomb.record AS record WHERE record.name = key;
        instant := aplomb.clock();
        -- The store has lost the record.
        IF found_record.name IS NULL OR found_record.state = 0 OR found_record.expires_at <= instant THEN
            INSERT INTO aplomb.record AS record
                (name, token, lease_until, expires_at, reap_at, state, rerun, fingerprint, response)
            VALUES (
                key, run, instant, instant + ttl, instant + ttl, new_state, false, request, new_response
            )
            ON CONFLICT (name) DO UPDATE SET
                token = excluded.token,
                lease_until = aplomb.clock(),
                expires_at = aplomb.clock() + ttl,
                reap_at = greatest(record.reap_at, aplomb.clock() + ttl),
                state = excluded.state,
                rerun = false,
                fingerprint = excluded.fingerprint,
                response = excluded.response
            WHERE record.state = 0 OR record.expires_at <= aplomb.clock();
            IF FOUND THEN
                outcome := 6;
                RETURN;
            END IF;
            CONTINUE;
        END IF;
        IF found_record.token = run THEN
            IF found_record.state = 2 THEN
                outcome := 6;
                RETURN;
            END IF;
            CONTINUE;
        END IF;
        IF found_record.state NOT IN (1, 2, 3) OR octet_length(found_record.fingerprint) <> 33 THEN
            outcome := 7;
        ELSIF found_record.fingerprint <> request THEN
            outcome := 4;
        ELSIF found_record.state = 2 THEN
            outcome := 2;
            stored := found_record.response;
        ELSIF found_record.state = 3 OR (found_record.lease_until <= instant AND NOT found_record.rerun) THEN
            outcome := 3;
        ELSE
            outcome := 1;
        END IF;
        RETURN;
    END LOOP;
    RAISE EXCEPTION 'too many concurrent changes of one record' USING ERRCODE = '40001';
END
$$;

-- Completes a record in the caller's transaction. Returns false if the run has lost its record.
CREATE FUNCTION aplomb.record_settle_v1(
    key uuid, run uuid, new_state smallint, new_response bytea, ttl interval
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    UPDATE aplomb.record AS record SET
        state = new_state,
        rerun = false,
        response = new_response,
        lease_until = aplomb.clock(),
        expires_at = aplomb.clock() + ttl,
        reap_at = greatest(record.reap_at, aplomb.clock() + ttl)
    WHERE record.name = key AND record.token = run
        AND record.state IN (1, 3) AND record.expires_at > aplomb.clock();
    RETURN FOUND;
END
$$;

-- Renews leases, and returns for each lease if it is held. A row that a handler's transaction has
-- locked is skipped, because the transaction completes it. An update of this row would wait.
CREATE FUNCTION aplomb.record_heartbeat_v1(keys uuid[], runs uuid[], lease interval)
RETURNS TABLE (held boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    instant timestamptz := aplomb.clock();
BEGIN
    -- A renewal that the database loses in a crash is repeated before the lease lapses.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE aplomb.record AS record SET
        lease_until = instant + lease,
        expires_at = record.expires_at + (instant + lease - record.lease_until),
        reap_at = greatest(record.reap_at, record.expires_at + (instant + lease - record.lease_until))
    WHERE record.ctid = ANY (ARRAY(
        SELECT candidate.ctid FROM aplomb.record AS candidate
        WHERE candidate.name = ANY (keys) AND candidate.token = runs[array_position(keys, candidate.name)]
            AND candidate.state = 1 AND candidate.lease_until > instant
        FOR NO KEY UPDATE SKIP LOCKED
    ));
    RETURN QUERY SELECT record.name IS NOT NULL
        FROM unnest(keys, runs) WITH ORDINALITY AS wanted (name, token, number)
        LEFT JOIN aplomb.record AS record ON record.name = wanted.name AND record.token = wanted.token
            AND record.state = 1 AND record.lease_until > instant
        ORDER BY wanted.number;
END
$$;
