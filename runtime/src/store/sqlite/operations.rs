//! The operations on records. Those that write run inside of a transaction that holds the write
//! lock, so that reading a record and then writing it is one atomic step.

use core::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Row as _, SqlitePool};

use super::not_executed;
use super::row::{DONE, RUNNING, Record, State, UNKNOWN, fingerprint_bytes, micros, token_bytes};
use super::writer::Failure;
use crate::clock::Timestamp;
use crate::facet::StoreError;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, Outcome,
    RecordKey, RecordState, StoredResponse, Token,
};

/// The maximum number of expired rows of each table that one transaction removes.
const MAX_REMOVED: u32 = 500;

/// Returns the outcome of a `begin` if no write is needed. Returns `None` if the writer decides.
pub(super) async fn look_up(
    readers: &SqlitePool,
    begin: &Begin,
    now: Timestamp,
) -> Result<Option<BeginOutcome>, StoreError> {
    let row = sqlx::query(
        "SELECT token, fingerprint, state, rerun, lease_until, response, \
         EXISTS (SELECT 1 FROM aplomb_aborted WHERE token = ?3 AND until > ?2) AS aborted \
         FROM aplomb_record WHERE name = ?1 AND expires_at > ?2",
    )
    .bind(begin.key.name().to_vec())
    .bind(micros(now))
    .bind(token_bytes(begin.token))
    .fetch_optional(readers)
    .await
    .map_err(|error| not_executed(&error))?;
    let Some(row) = row else { return Ok(None) };
    let is_aborted: bool = row
        .try_get("aborted")
        .map_err(|error| not_executed(&error))?;
    if is_aborted {
        return Ok(Some(BeginOutcome::Aborted));
    }
    Ok(outcome_of(&Record::read(&row, begin.key)?, begin, now))
}

/// Returns the outcome of a `begin` that finds this record; `None` if the request may run.
fn outcome_of(record: &Record, begin: &Begin, now: Timestamp) -> Option<BeginOutcome> {
    if !begin.is_same(&record.fingerprint) {
        return Some(BeginOutcome::Mismatch);
    }
    match record.begin_outcome(now) {
        Some(BeginOutcome::InFlight) if record.token == begin.token => Some(BeginOutcome::Started),
        found => found,
    }
}

/// Returns the record, if it has not expired.
async fn get(
    connection: &mut SqliteConnection,
    key: RecordKey,
    now: Timestamp,
) -> Result<Option<Record>, Failure> {
    let row = sqlx::query(
        "SELECT token, fingerprint, state, rerun, lease_until, response \
         FROM aplomb_record WHERE name = ?1 AND expires_at > ?2",
    )
    .bind(key.name().to_vec())
    .bind(micros(now))
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Record::read(&row, key)).transpose()?)
}

pub(super) async fn begin(
    connection: &mut SqliteConnection,
    begin: &Begin,
    now: Timestamp,
) -> Result<BeginOutcome, Failure> {
    let aborted = "SELECT EXISTS (SELECT 1 FROM aplomb_aborted WHERE token = ?1 AND until > ?2)";
    let is_aborted: bool = sqlx::query_scalar(aborted)
        .bind(token_bytes(begin.token))
        .bind(micros(now))
        .fetch_one(&mut *connection)
        .await?;
    if is_aborted {
        return Ok(BeginOutcome::Aborted);
    }
    let found = get(&mut *connection, begin.key, now).await?;
    if let Some(outcome) = found.and_then(|record| outcome_of(&record, begin, now)) {
        return Ok(outcome);
    }
    let lease_until = now.after(begin.lease);
    let record = NewRecord {
        key: begin.key,
        token: begin.token,
        fingerprint: &begin.fingerprint,
        state: RUNNING,
        rerun: begin.on_crash == OnCrash::Rerun,
        lease_until,
        expires_at: lease_until.after(begin.ttl),
        response: None,
    };
    record.write(connection).await?;
    Ok(BeginOutcome::Started)
}

pub(super) async fn complete(
    connection: &mut SqliteConnection,
    complete: &Complete,
    now: Timestamp,
) -> Result<CompleteOutcome, Failure> {
    let lease = complete.lease;
    if let Some(record) = get(&mut *connection, lease.key, now).await? {
        if record.token != lease.token {
            let found = if record.fingerprint == complete.fingerprint {
                record.begin_outcome(now)
            } else {
                Some(BeginOutcome::Mismatch)
            };
            let found = found.unwrap_or(BeginOutcome::InFlight);
            return Ok(CompleteOutcome::Lost(found));
        }
        if matches!(record.state, State::Done(_)) {
            return Ok(CompleteOutcome::Written);
        }
    }
    let response = match &complete.outcome {
        Outcome::Response(response) => Some(response.to_bytes()),
        Outcome::Unknown => None,
    };
    let record = NewRecord {
        key: lease.key,
        token: lease.token,
        fingerprint: &complete.fingerprint,
        state: if response.is_some() { DONE } else { UNKNOWN },
        rerun: false,
        lease_until: now,
        expires_at: now.after(complete.ttl),
        response,
    };
    record.write(connection).await?;
    Ok(CompleteOutcome::Written)
}

/// Completes a record in the transaction of a handler. Returns `false` and writes nothing if no
/// RUNNING or UNKNOWN record has the token.
pub(super) async fn complete_held(
    connection: &mut SqliteConnection,
    complete: &Complete,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let response = match &complete.outcome {
        Outcome::Response(response) => Some(response.to_bytes()),
        Outcome::Unknown => None,
    };
    let done = sqlx::query(
        "UPDATE aplomb_record SET state = ?3, response = ?4, rerun = 0, lease_until = ?5, \
         expires_at = ?6 WHERE name = ?1 AND token = ?2 AND state <> ?7 AND expires_at > ?5",
    )
    .bind(complete.lease.key.name().to_vec())
    .bind(token_bytes(complete.lease.token))
    .bind(if response.is_some() { DONE } else { UNKNOWN })
    .bind(response)
    .bind(micros(now))
    .bind(micros(now.after(complete.ttl)))
    .bind(DONE)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A record to write. It replaces the record of its key.
struct NewRecord<'a> {
    key: RecordKey,
    token: Token,
    fingerprint: &'a Fingerprint,
    state: i64,
    rerun: bool,
    lease_until: Timestamp,
    expires_at: Timestamp,
    response: Option<Vec<u8>>,
}

impl NewRecord<'_> {
    async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT OR REPLACE INTO aplomb_record \
             (name, token, fingerprint, state, rerun, lease_until, expires_at, response) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(self.key.name().to_vec())
        .bind(token_bytes(self.token))
        .bind(fingerprint_bytes(self.fingerprint))
        .bind(self.state)
        .bind(self.rerun)
        .bind(micros(self.lease_until))
        .bind(micros(self.expires_at))
        .bind(self.response)
        .execute(connection)
        .await?;
        Ok(())
    }
}

pub(super) async fn heartbeat(
    connection: &mut SqliteConnection,
    leases: &[Lease],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<bool>, Failure> {
    let mut renewed = Vec::with_capacity(leases.len());
    for held in leases {
        let done = sqlx::query(
            "UPDATE aplomb_record SET expires_at = expires_at + (?3 - lease_until), \
             lease_until = ?3 WHERE name = ?1 AND token = ?2 AND state = ?4 AND lease_until > ?5",
        )
        .bind(held.key.name().to_vec())
        .bind(token_bytes(held.token))
        .bind(micros(now.after(lease)))
        .bind(RUNNING)
        .bind(micros(now))
        .execute(&mut *connection)
        .await?;
        renewed.push(done.rows_affected() == 1);
    }
    Ok(renewed)
}

pub(super) async fn abort(
    connection: &mut SqliteConnection,
    lease: Lease,
    marker: Duration,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query("DELETE FROM aplomb_record WHERE name = ?1 AND token = ?2 AND state <> ?3")
        .bind(lease.key.name().to_vec())
        .bind(token_bytes(lease.token))
        .bind(DONE)
        .execute(&mut *connection)
        .await?;
    if !marker.is_zero() {
        sqlx::query(
            "INSERT INTO aplomb_aborted (token, until) VALUES (?1, ?2) \
             ON CONFLICT (token) DO UPDATE SET until = max(until, excluded.until)",
        )
        .bind(token_bytes(lease.token))
        .bind(micros(now.after(marker)))
        .execute(connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn mark_unknown(
    connection: &mut SqliteConnection,
    lease: Lease,
    ttl: Duration,
    now: Timestamp,
) -> Result<bool, Failure> {
    let done = sqlx::query(
        "UPDATE aplomb_record SET state = ?3, lease_until = ?4, expires_at = ?5 \
         WHERE name = ?1 AND token = ?2 AND state = ?6 AND expires_at > ?4",
    )
    .bind(lease.key.name().to_vec())
    .bind(token_bytes(lease.token))
    .bind(UNKNOWN)
    .bind(micros(now))
    .bind(micros(now.after(ttl)))
    .bind(RUNNING)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn find(
    readers: &SqlitePool,
    key: RecordKey,
    now: Timestamp,
) -> Result<Option<RecordState>, StoreError> {
    let connection = readers.acquire().await;
    let mut connection = connection.map_err(|error| not_executed(&error))?;
    let found = get(&mut connection, key, now).await;
    let found = found.map_err(Failure::into_store_error)?;
    Ok(found.map(|record| record.into_state(now)))
}

pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    key: RecordKey,
    response: Option<StoredResponse>,
    ttl: Duration,
    now: Timestamp,
) -> Result<bool, Failure> {
    let Some(found) = get(&mut *connection, key, now).await? else {
        return Ok(false);
    };
    if found.begin_outcome(now) != Some(BeginOutcome::Unknown) {
        return Ok(false);
    }
    match response {
        None => {
            sqlx::query("DELETE FROM aplomb_record WHERE name = ?1")
                .bind(key.name().to_vec())
                .execute(connection)
                .await?;
        }
        Some(response) => {
            let record = NewRecord {
                key,
                token: found.token,
                fingerprint: &found.fingerprint,
                state: DONE,
                rerun: false,
                lease_until: now,
                expires_at: now.after(ttl),
                response: Some(response.to_bytes()),
            };
            record.write(connection).await?;
        }
    }
    Ok(true)
}

/// Removes expired rows. Returns `true` if there may be more.
pub(super) async fn remove_expired(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let mut more = false;
    for statement in [
        "DELETE FROM aplomb_record WHERE name IN \
         (SELECT name FROM aplomb_record WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        "DELETE FROM aplomb_aborted WHERE token IN \
         (SELECT token FROM aplomb_aborted WHERE until <= ?1 ORDER BY until LIMIT ?2)",
    ] {
        let removed = sqlx::query(statement)
            .bind(micros(now))
            .bind(MAX_REMOVED)
            .execute(&mut *connection)
            .await?;
        more |= removed.rows_affected() == u64::from(MAX_REMOVED);
    }
    Ok(more)
}
