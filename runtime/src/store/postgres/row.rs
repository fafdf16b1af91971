//! The values of statements: their arguments, and the rows that they return.

use core::time::Duration;

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::{Oid, PgInterval};
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, Postgres};
use sqlx::types::Type;

use crate::facet::StoreError;
use crate::policies::idempotency::{
    BeginOutcome, CompleteOutcome, Fingerprint, RecordKey, RecordState, StoredResponse, Token,
};

pub(super) const RUNNING: i16 = 1;
pub(super) const DONE: i16 = 2;
pub(super) const UNKNOWN: i16 = 3;

/// The longest time that is stored: 1,000 years.
const LONGEST: Duration = Duration::from_hours(1_000 * 365 * 24);

/// An argument of the type `uuid`: the name of a record, or a token.
#[derive(Clone, Copy)]
pub(super) struct Uuid([u8; 16]);

impl From<RecordKey> for Uuid {
    fn from(key: RecordKey) -> Self {
        Self(*key.name())
    }
}

impl From<Token> for Uuid {
    fn from(token: Token) -> Self {
        Self(token.as_u128().to_be_bytes())
    }
}

// The numbers of the types are fixed (`pg_type.dat` of PostgreSQL).
impl Type<Postgres> for Uuid {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl PgHasArrayType for Uuid {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2951))
    }
}

impl Encode<'_, Postgres> for Uuid {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

pub(super) fn interval(time: Duration) -> PgInterval {
    let microseconds = time.min(LONGEST).as_micros();
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(microseconds).expect("1,000 years in microseconds"),
    }
}

/// Returns the version of the comparison rule, followed by the hash.
pub(super) fn fingerprint_bytes(fingerprint: &Fingerprint) -> Vec<u8> {
    let mut bytes = vec![fingerprint.version()];
    bytes.extend_from_slice(fingerprint.digest());
    bytes
}

/// The result of the functions `record_begin` and `record_complete`.
struct Found {
    outcome: i16,
    response: Option<Vec<u8>>,
}

impl Found {
    fn read(row: &PgRow) -> Option<Self> {
        let (outcome, response) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
        Some(Self { outcome, response })
    }
}

/// Reads the result of `record_begin`.
pub(super) fn begin_outcome(row: &PgRow, key: RecordKey) -> Result<BeginOutcome, StoreError> {
    let found = Found::read(row).ok_or_else(|| malformed(key, "not an outcome"))?;
    match found.outcome {
        0 => Ok(BeginOutcome::Started),
        5 => Ok(BeginOutcome::Aborted),
        _ => found_outcome(found, key),
    }
}

/// Reads the result of `record_complete`.
pub(super) fn complete_outcome(row: &PgRow, key: RecordKey) -> Result<CompleteOutcome, StoreError> {
    let found = Found::read(row).ok_or_else(|| malformed(key, "not an outcome"))?;
    match found.outcome {
        6 => Ok(CompleteOutcome::Written),
        _ => found_outcome(found, key).map(CompleteOutcome::Lost),
    }
}

/// Returns the outcome for a record of another run.
fn found_outcome(found: Found, key: RecordKey) -> Result<BeginOutcome, StoreError> {
    match found.outcome {
        1 => Ok(BeginOutcome::InFlight),
        2 => stored_response(found.response, key).map(BeginOutcome::Done),
        3 => Ok(BeginOutcome::Unknown),
        4 => Ok(BeginOutcome::Mismatch),
        _ => Err(malformed(key, "not a state, or not a fingerprint")),
    }
}

/// Reads the columns `state`, `rerun`, "the lease is held" and `response`.
pub(super) fn record_state(row: &PgRow, key: RecordKey) -> Result<RecordState, StoreError> {
    let columns = || -> Result<_, sqlx::Error> {
        let (state, rerun, held) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let response: Option<Vec<u8>> = row.try_get(3)?;
        Ok((state, rerun, held, response))
    };
    let columns: (i16, bool, bool, _) = columns().map_err(|_| malformed(key, "not a record"))?;
    match columns {
        (RUNNING, _, true, _) => Ok(RecordState::Running),
        (RUNNING, true, false, _) => Ok(RecordState::Lapsed),
        (RUNNING, false, false, _) | (UNKNOWN, ..) => Ok(RecordState::Unknown),
        (DONE, _, _, response) => stored_response(response, key).map(RecordState::Done),
        _ => Err(malformed(key, "not a state")),
    }
}

fn stored_response(bytes: Option<Vec<u8>>, key: RecordKey) -> Result<StoredResponse, StoreError> {
    let response = bytes.and_then(|bytes| StoredResponse::from_bytes(Bytes::from(bytes)));
    response.ok_or_else(|| malformed(key, "not a response"))
}

fn malformed(key: RecordKey, why: &str) -> StoreError {
    StoreError::Malformed {
        key: key.to_string(),
        why: why.to_owned(),
    }
}

/// Reads the only column of a row of `record_heartbeat`.
pub(super) fn flag(row: &PgRow) -> Result<bool, sqlx::Error> {
    row.try_get(0)
}

/// Reads a column with a number.
pub(super) fn number(row: &PgRow) -> Option<i64> {
    row.try_get(0).ok()
}
