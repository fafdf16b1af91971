//! The statements of the operations on records. Each operation is one statement.

use core::time::Duration;

use sqlx::Arguments as _;
use sqlx::encode::Encode;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::types::Type;

use super::PostgresRecords;
use super::connect::{CallLimits, Connections, Fetched, Statement, TIMEOUT, WhenRefused};
use super::row::{
    self, DONE, UNKNOWN, Uuid, begin_outcome, complete_outcome, fingerprint_bytes, interval,
};
use crate::facet::StoreError;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Lease, OnCrash, Outcome, RecordKey,
    RecordState, StoredResponse,
};

/// The maximum number of leases that one statement renews.
const HEARTBEAT_BATCH: usize = 256;

/// The maximum number of expired rows that one statement removes. A batch takes a few milliseconds.
const REMOVAL_BATCH: i64 = 1_000;

/// The life of the marker that stops a late duplicate of a `begin`. A statement that was sent over a
/// broken connection is executed within this time, or not.
const LATE_BEGIN_MARKER: Duration = Duration::from_secs(30);

const BEGIN: &str =
    "SELECT outcome, stored FROM aplomb.record_begin_v1($1, $2, $3, $4, $5, $6, $7)";

const COMPLETE: &str =
    "SELECT outcome, stored FROM aplomb.record_complete_v1($1, $2, $3, $4, $5, $6)";

/// The setting is the mark of the transaction. It has another value if the transaction has ended.
const SETTLE: &str = "\
SELECT CASE WHEN current_setting('aplomb.run', true) = $6 \
    THEN aplomb.record_settle_v1($1, $2, $3, $4, $5) ELSE false END";

const HEARTBEAT: &str = "SELECT held FROM aplomb.record_heartbeat_v1($1, $2, $3)";

/// The row stays, because it may have markers of other runs. An expired row is removed later.
const ABORT: &str = "\
UPDATE aplomb.record SET state = 0, response = NULL, \
    reap_at = greatest(aborted_until, aplomb.clock()) \
WHERE name = $1 AND token = $2 AND state IN (1, 3)";

const ABORT_WITH_MARKER: &str = include_str!("abort_with_marker.sql");

const MARK_UNKNOWN: &str = "\
UPDATE aplomb.record SET state = 3, lease_until = instant, expires_at = instant + $3, \
    reap_at = greatest(reap_at, instant + $3) \
FROM (SELECT aplomb.clock() AS instant) AS clock \
WHERE name = $1 AND token = $2 AND state = 1 AND expires_at > instant RETURNING 1";

const FIND: &str = "\
SELECT state, rerun, lease_until > aplomb.clock(), response FROM aplomb.record \
WHERE name = $1 AND state <> 0 AND expires_at > aplomb.clock()";

const RESOLVE: &str = include_str!("resolve.sql");

/// Rows that another transaction has locked are skipped, so that the removal never waits.
const REMOVE_EXPIRED: &str = "\
WITH removed AS (DELETE FROM aplomb.record WHERE ctid = ANY (ARRAY( \
    SELECT ctid FROM aplomb.record WHERE reap_at <= (SELECT aplomb.clock()) \
    ORDER BY reap_at LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1) \
SELECT count(*) FROM removed";

impl PostgresRecords {
    pub(super) async fn begin_record(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let fingerprints = core::iter::once(&begin.fingerprint).chain(&begin.earlier);
        let fingerprints: Vec<_> = fingerprints.map(fingerprint_bytes).collect();
        let mut arguments = PgArguments::default();
        bind(&mut arguments, Uuid::from(begin.key));
        bind(&mut arguments, Uuid::from(begin.token));
        bind(&mut arguments, fingerprints);
        bind(&mut arguments, begin.on_crash == OnCrash::Rerun);
        bind(&mut arguments, interval(begin.lease));
        bind(&mut arguments, interval(begin.ttl));
        bind(&mut arguments, begin.transactional);
        let fetched = self.fetch(BEGIN, arguments, NEW_REQUEST).await?;
        let outcome = begin_outcome(only_row(&fetched)?, begin.key)?;
        if fetched.is_resent && outcome == BeginOutcome::Started {
            self.shared.resent.insert(begin.token);
        }
        Ok(outcome)
    }

    pub(super) async fn complete_record(
        &self,
        complete: &Complete,
    ) -> Result<CompleteOutcome, StoreError> {
        let (state, response) = state_of(&complete.outcome);
        let mut arguments = PgArguments::default();
        bind(&mut arguments, Uuid::from(complete.lease.key));
        bind(&mut arguments, Uuid::from(complete.lease.token));
        bind(&mut arguments, fingerprint_bytes(&complete.fingerprint));
        bind(&mut arguments, state);
        bind(&mut arguments, response);
        bind(&mut arguments, interval(complete.ttl));
        let fetched = self.fetch(COMPLETE, arguments, FINISHED_RUN).await?;
        self.shared.resent.remove(complete.lease.token);
        complete_outcome(only_row(&fetched)?, complete.lease.key)
    }

    /// Renews leases in batches, so that no statement locks many rows.
    pub(super) async fn renew(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let mut held = Vec::with_capacity(leases.len());
        for batch in leases.chunks(HEARTBEAT_BATCH) {
            held.extend(self.renew_batch(batch, lease).await?);
        }
        Ok(held)
    }

    async fn renew_batch(
        &self,
        leases: &[Lease],
        lease: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<_> = leases.iter().map(|lease| Uuid::from(lease.key)).collect();
        let tokens: Vec<_> = leases.iter().map(|lease| Uuid::from(lease.token)).collect();
        let mut arguments = PgArguments::default();
        bind(&mut arguments, keys);
        bind(&mut arguments, tokens);
        bind(&mut arguments, interval(lease));
        // The next renewal is due after a third of the lease, so a longer wait would only delay the
        // next renewal.
        let limits = CallLimits {
            timeout: TIMEOUT.min(lease / 3),
            ..FINISHED_RUN
        };
        let fetched = self.fetch(HEARTBEAT, arguments, limits).await?;
        let held: Result<Vec<bool>, _> = fetched.rows.iter().map(row::flag).collect();
        held.ok()
            .filter(|held| held.len() == leases.len())
            .ok_or_else(unexpected)
    }

    pub(super) async fn abort_record(
        &self,
        lease: Lease,
        marker: Duration,
    ) -> Result<(), StoreError> {
        // A `begin` that was sent twice may still be executed a second time.
        let marker = if self.shared.resent.contains(lease.token) {
            marker.max(LATE_BEGIN_MARKER)
        } else {
            marker
        };
        let mut arguments = lease_arguments(lease);
        let statement = if marker.is_zero() {
            ABORT
        } else {
            bind(&mut arguments, interval(marker));
            ABORT_WITH_MARKER
        };
        self.fetch(statement, arguments, FINISHED_RUN).await?;
        self.shared.resent.remove(lease.token);
        Ok(())
    }

    pub(super) async fn mark_record_unknown(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut arguments = lease_arguments(lease);
        bind(&mut arguments, interval(ttl));
        let fetched = self.fetch(MARK_UNKNOWN, arguments, NEW_REQUEST).await?;
        has_changed(&fetched)
    }

    pub(super) async fn find_record(
        &self,
        key: RecordKey,
    ) -> Result<Option<RecordState>, StoreError> {
        let mut arguments = PgArguments::default();
        bind(&mut arguments, Uuid::from(key));
        let fetched = self.fetch(FIND, arguments, NEW_REQUEST).await?;
        let row = fetched.rows.first();
        row.map(|row| row::record_state(row, key)).transpose()
    }

    pub(super) async fn resolve_record(
        &self,
        key: RecordKey,
        response: Option<&StoredResponse>,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let mut arguments = PgArguments::default();
        bind(&mut arguments, Uuid::from(key));
        bind(&mut arguments, response.map(StoredResponse::to_bytes));
        bind(&mut arguments, interval(ttl));
        let fetched = self.fetch(RESOLVE, arguments, NEW_REQUEST).await?;
        has_changed(&fetched)
    }

    async fn fetch(
        &self,
        sql: &'static str,
        arguments: PgArguments,
        limits: CallLimits,
    ) -> Result<Fetched, StoreError> {
        let statement = Statement { sql, arguments };
        self.connections.fetch(&statement, limits).await
    }
}

/// Removes one batch of expired rows. Returns `true` if there may be more.
pub(super) async fn remove_expired(connections: &Connections) -> Result<bool, StoreError> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, REMOVAL_BATCH);
    let statement = Statement {
        sql: REMOVE_EXPIRED,
        arguments,
    };
    let fetched = connections.fetch(&statement, NEW_REQUEST).await?;
    Ok(row::number(only_row(&fetched)?) == Some(REMOVAL_BATCH))
}

/// Completes a record in the transaction of the connection. Returns `false` if no RUNNING or
/// UNKNOWN record has the token, or if the transaction does not have the mark: the transaction must
/// then be rolled back.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    complete: &Complete,
    mark: &str,
    is_pgbouncer: bool,
) -> Result<bool, sqlx::Error> {
    let (state, response) = state_of(&complete.outcome);
    let mut arguments = lease_arguments(complete.lease);
    bind(&mut arguments, state);
    bind(&mut arguments, response);
    bind(&mut arguments, interval(complete.ttl));
    bind(&mut arguments, mark);
    sqlx::query_scalar_with(SETTLE, arguments)
        .persistent(!is_pgbouncer)
        .fetch_one(connection)
        .await
}

/// The limits of a call for a new request. Its client can retry.
const NEW_REQUEST: CallLimits = CallLimits {
    timeout: TIMEOUT,
    when_refused: WhenRefused::Fail,
};

/// The limits of a call for a finished run. The client may send a retry as soon as it has its
/// response. That retry should find the record settled.
const FINISHED_RUN: CallLimits = CallLimits {
    timeout: TIMEOUT,
    when_refused: WhenRefused::WaitUntilDeadline,
};

fn state_of(outcome: &Outcome) -> (i16, Option<Vec<u8>>) {
    match outcome {
        Outcome::Response(response) => (DONE, Some(response.to_bytes())),
        Outcome::Unknown => (UNKNOWN, None),
    }
}

fn lease_arguments(lease: Lease) -> PgArguments {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, Uuid::from(lease.key));
    bind(&mut arguments, Uuid::from(lease.token));
    arguments
}

fn bind<'q, T: Encode<'q, Postgres> + Type<Postgres>>(arguments: &mut PgArguments, value: T) {
    arguments
        .add(value)
        .expect("a value that is shorter than the limit of 2 GB");
}

fn only_row(fetched: &Fetched) -> Result<&PgRow, StoreError> {
    fetched.rows.first().ok_or_else(unexpected)
}

/// Returns `true` if the statement has changed a record. If it was sent twice, the first copy may
/// have changed the record that the second copy looked for.
fn has_changed(fetched: &Fetched) -> Result<bool, StoreError> {
    let has_changed = !fetched.rows.is_empty();
    if !has_changed && fetched.is_resent {
        let error = "the connection broke, and the record may have been changed before";
        return Err(StoreError::Unavailable(String::from(error)));
    }
    Ok(has_changed)
}

fn unexpected() -> StoreError {
    StoreError::Failed(String::from(
        "the database returned an unexpected number of rows",
    ))
}
