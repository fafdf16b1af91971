-- The buckets of rate limits. Times are microseconds since 1970.
--
-- The tables are not in the write-ahead log, so no request waits for the disk. After a crash of the server they are
-- empty, and each limit admits its burst again.
CREATE UNLOGGED TABLE aplomb.bucket (
    -- A hash of the namespace, the subject and the limit.
    id uuid NOT NULL PRIMARY KEY,
    -- For a token or leaky bucket, the time at which the bucket is full. For a fixed window, the end of the window, plus
    -- 1 for each taken token. For a sliding window, the time of the last token.
    word bigint NOT NULL,
    -- For a sliding window, the number of all taken tokens, and the number of those whose rows were removed.
    taken bigint NOT NULL,
    removed bigint NOT NULL,
    -- The bucket is full from this time on at the latest, and its row can be removed.
    reap_at bigint NOT NULL
) WITH (
    -- The free space of each page is for the new versions of its rows, so that an update changes no index.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000
);
CREATE INDEX bucket_reap_at ON aplomb.bucket (reap_at);

-- The tokens of sliding windows: one row for each request that took tokens. With 10,000 tokens, rows are three times as
-- fast as an array in the row of the bucket. With 10 tokens, they are a tenth slower.
CREATE UNLOGGED TABLE aplomb.bucket_log (
    bucket uuid NOT NULL,
    taken_at bigint NOT NULL,
    -- The number of all tokens of the bucket up to these. It grows from row to row.
    taken bigint NOT NULL,
    PRIMARY KEY (bucket, taken_at, taken)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000
);

-- Takes the tokens of all limit requests, or none. Shadow limits do not decide. Each shadow limit takes its tokens if it
-- has enough.
--
-- The arrays have one element for each request:
--   ids: the buckets in ascending order. Their rows are locked in this order, so that calls do not deadlock
--   kinds: 0 token or leaky bucket, 1 fixed window, 2 sliding window; plus 3 for a shadow
--   costs: the tokens that the request takes
--   max_used: the largest number of used tokens with which the request still fits
--   windows: the time in which the bucket refills
-- costs and max_used are in microseconds for token and leaky buckets, and in tokens for windows.
--
-- states is a list with the state of each bucket before the request:
--   of a token or leaky bucket the time until it is full
--   of a fixed window its taken tokens, and the time until it ends
--   of a sliding window its taken tokens, the time until the last of them leaves the window, and the time until the
--   request fits
-- If a bucket cannot be read, nothing changes, and unreadable is its position in ids. A shadow that cannot be read counts
-- as exhausted.
CREATE FUNCTION aplomb.bucket_acquire_v1(
    ids uuid[], kinds smallint[], costs bigint[], max_used bigint[], windows bigint[],
    OUT states bigint[], OUT unreadable int
)
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    -- A row is kept for up to this time after its bucket is full. So reap_at, which has an index, changes at most once in
    -- this time.
    slack CONSTANT bigint := 60000000;
    -- Larger numbers are later than the longest window ends, so no call writes them.
    largest CONSTANT bigint := 9007199254740991;
    buckets aplomb.bucket[];
    bucket aplomb.bucket;
    instant bigint;
    cutoff bigint;
    is_readable bool;
    used bigint;
    remaining bigint;
    room bigint;
    latest bigint;
    fits bool;
    takes bool[];
    is_admitted bool := true;
BEGIN
    FOR i IN 1..cardinality(ids) LOOP
        LOOP
            SELECT candidate.* INTO bucket FROM aplomb.bucket AS candidate WHERE candidate.id = ids[i] FOR NO KEY UPDATE;
            EXIT WHEN FOUND;
            bucket := (ids[i], 0, 0, 0, 0);
            -- A request without cost needs no row.
            EXIT WHEN costs[i] = 0;
            bucket.reap_at := (extract(epoch FROM aplomb.clock()) * 1000000)::bigint + windows[i] + slack;
            INSERT INTO aplomb.bucket SELECT bucket.* ON CONFLICT DO NOTHING;
            -- Otherwise another call has just inserted the row.
            EXIT WHEN FOUND;
        END LOOP;
        buckets[i] := bucket;
    END LOOP;
    -- The time is read after all rows are locked, so a call that waited for another call has a later time.
    instant := (extract(epoch FROM aplomb.clock()) * 1000000)::bigint;

    FOR i IN 1..cardinality(ids) LOOP
        bucket := buckets[i];
        is_readable := bucket.word BETWEEN 0 AND largest AND bucket.removed BETWEEN 0 AND bucket.taken
            AND bucket.taken <= largest;
        IF NOT is_readable AND kinds[i] < 3 THEN
            states := NULL;
            unreadable := i;
            RETURN;
        END IF;
        -- An unreadable shadow has no tokens left, so it takes none, except if the request has no cost.
        used := max_used[i] + costs[i];
        CASE kinds[i] % 3
            WHEN 0 THEN
                used := CASE WHEN is_readable THEN least(greatest(bucket.word - instant, 0), windows[i])
                    ELSE windows[i] END;
                remaining := 0;
                latest := instant + windows[i];
                states := states || used;
            WHEN 1 THEN
                remaining := windows[i] - instant % windows[i];
                IF is_readable THEN
                    used := least(greatest(bucket.word - instant - remaining, 0), used);
                END IF;
                -- After the limit was lowered, a word with more tokens than the limit is valid. It expires with the
                -- window.
                latest := instant + remaining + windows[i];
                states := states || ARRAY[used, remaining];
            ELSE
                cutoff := instant - windows[i];
                remaining := windows[i];
                room := windows[i];
                IF is_readable THEN
                    IF bucket.word > instant THEN
                        -- The clock stepped back, so future times are replaced by the current time.
                        UPDATE aplomb.bucket_log AS log SET taken_at = instant
                        WHERE log.bucket = ids[i] AND log.taken_at > instant;
                        UPDATE aplomb.bucket AS changed SET word = instant WHERE changed.id = ids[i];
                        bucket.word := instant;
                    END IF;
                    -- The last tokens that have left the window.
                    SELECT log.taken INTO used FROM aplomb.bucket_log AS log
                    WHERE log.bucket = ids[i] AND log.taken_at <= cutoff
                    ORDER BY log.taken_at DESC, log.taken DESC LIMIT 1;
                    bucket.removed := least(greatest(used, bucket.removed), bucket.taken);
                    used := bucket.taken - bucket.removed;
                    remaining := CASE WHEN used > 0 THEN greatest(bucket.word - cutoff, 0) ELSE 0 END;
                    room := 0;
                    IF used > max_used[i] THEN
                        SELECT log.taken_at INTO room FROM aplomb.bucket_log AS log
                        WHERE log.bucket = ids[i] AND log.taken_at > cutoff
                            AND log.taken >= bucket.taken - max_used[i]
                        ORDER BY log.taken_at, log.taken LIMIT 1;
                        room := least(room, instant) - cutoff;
                    END IF;
                END IF;
                latest := largest;
                states := states || ARRAY[used, remaining, room];
        END CASE;
        fits := used <= max_used[i];
        IF is_readable AND bucket.word > latest THEN
            -- The word is too far in the future, because the clock stepped back or the limit was lowered. It would reject
            -- requests until the clock has reached it.
            UPDATE aplomb.bucket AS changed SET word = instant + remaining + used WHERE changed.id = ids[i];
        END IF;
        IF kinds[i] % 3 < 2 THEN
            bucket.word := instant + remaining + used + costs[i];
        END IF;
        buckets[i] := bucket;
        takes[i] := fits AND costs[i] > 0;
        is_admitted := is_admitted AND (fits OR kinds[i] >= 3);
    END LOOP;

    -- All buckets are decided before the first one takes tokens, so that a rejection takes none.
    IF NOT is_admitted THEN
        RETURN;
    END IF;
    FOR i IN 1..cardinality(ids) LOOP
        CONTINUE WHEN NOT takes[i];
        bucket := buckets[i];
        IF kinds[i] % 3 = 2 THEN
            bucket.word := instant;
            bucket.taken := bucket.taken + costs[i];
            DELETE FROM aplomb.bucket_log AS log
            WHERE log.bucket = ids[i] AND log.taken_at <= instant - windows[i];
            INSERT INTO aplomb.bucket_log (bucket, taken_at, taken) VALUES (ids[i], instant, bucket.taken);
        END IF;
        IF bucket.reap_at NOT BETWEEN instant + windows[i] AND instant + windows[i] + slack THEN
            bucket.reap_at := instant + windows[i] + slack;
        END IF;
        UPDATE aplomb.bucket AS changed
        SET word = bucket.word, taken = bucket.taken, removed = bucket.removed, reap_at = bucket.reap_at
        WHERE changed.id = ids[i];
    END LOOP;
END
$$;

-- Removes up to this number of buckets that are full, and returns their number. Rows that another transaction has locked
-- are skipped, so that the removal never waits.
CREATE FUNCTION aplomb.bucket_remove_v1(most bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    instant bigint := (extract(epoch FROM aplomb.clock()) * 1000000)::bigint;
    ids uuid[];
BEGIN
    ids := ARRAY(
        SELECT full_bucket.id FROM aplomb.bucket AS full_bucket WHERE full_bucket.reap_at <= instant
        ORDER BY full_bucket.reap_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    DELETE FROM aplomb.bucket_log AS log WHERE log.bucket = ANY (ids);
    DELETE FROM aplomb.bucket AS full_bucket WHERE full_bucket.id = ANY (ids);
    RETURN cardinality(ids);
END
$$;
