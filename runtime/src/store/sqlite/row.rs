//! A row of the table of records.

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::facet::StoreError;
use crate::policies::idempotency::{
    BeginOutcome, Fingerprint, LeaseState, OnCrash, RecordKey, RecordState, StoredResponse, Token,
    lease_state,
};

pub(super) const RUNNING: i64 = 1;
pub(super) const DONE: i64 = 2;
pub(super) const UNKNOWN: i64 = 3;

/// A record that has not expired.
pub(super) struct Record {
    pub(super) token: Token,
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
}

pub(super) enum State {
    Running { until: Timestamp, on_crash: OnCrash },
    Done(StoredResponse),
    Unknown,
}

impl Record {
    /// Reads a row.
    ///
    /// # Errors
    ///
    /// Fails if a value is damaged, or if another version wrote it.
    pub(super) fn read(row: &SqliteRow, key: RecordKey) -> Result<Self, StoreError> {
        Self::try_read(row).map_err(|why| StoreError::Malformed {
            key: key.to_string(),
            why: why.to_owned(),
        })
    }

    fn try_read(row: &SqliteRow) -> Result<Self, &'static str> {
        let blob = |column: &str| row.try_get::<&[u8], _>(column).map_err(|_| "not a blob");
        let number = |column: &str| row.try_get::<i64, _>(column).map_err(|_| "not a number");
        let token = blob("token")?.try_into().map_err(|_| "not a token")?;
        let state = match number("state")? {
            RUNNING => State::Running {
                until: timestamp(number("lease_until")?),
                on_crash: match number("rerun")? {
                    0 => OnCrash::Unknown,
                    _ => OnCrash::Rerun,
                },
            },
            DONE => {
                let response = Bytes::copy_from_slice(blob("response")?);
                State::Done(StoredResponse::from_bytes(response).ok_or("not a response")?)
            }
            UNKNOWN => State::Unknown,
            _ => return Err("not a state"),
        };
        Ok(Self {
            token: Token::from_u128(u128::from_be_bytes(token)),
            fingerprint: read_fingerprint(blob("fingerprint")?).ok_or("not a fingerprint")?,
            state,
        })
    }

    /// Returns the outcome of a `begin` with the same request; `None` if the request may run.
    pub(super) fn begin_outcome(&self, now: Timestamp) -> Option<BeginOutcome> {
        match &self.state {
            State::Running { until, on_crash } => match lease_state(*until, *on_crash, now) {
                LeaseState::Held => Some(BeginOutcome::InFlight),
                LeaseState::LapsedUnknown => Some(BeginOutcome::Unknown),
                LeaseState::LapsedRerun => None,
            },
            State::Done(response) => Some(BeginOutcome::Done(response.clone())),
            State::Unknown => Some(BeginOutcome::Unknown),
        }
    }

    /// Returns the state for operators.
    pub(super) fn into_state(self, now: Timestamp) -> RecordState {
        match self.state {
            State::Running { until, on_crash } => match lease_state(until, on_crash, now) {
                LeaseState::Held => RecordState::Running,
                LeaseState::LapsedUnknown => RecordState::Unknown,
                LeaseState::LapsedRerun => RecordState::Lapsed,
            },
            State::Done(response) => RecordState::Done(response),
            State::Unknown => RecordState::Unknown,
        }
    }
}

/// Returns a time as SQLite stores it.
pub(super) fn micros(time: Timestamp) -> i64 {
    // A later time than the year 290,000 is stored as that year.
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(micros).unwrap_or_default())
}

pub(super) fn token_bytes(token: Token) -> Vec<u8> {
    token.as_u128().to_be_bytes().to_vec()
}

/// Returns the version of the comparison rule, followed by the hash.
pub(super) fn fingerprint_bytes(fingerprint: &Fingerprint) -> Vec<u8> {
    let mut bytes = vec![fingerprint.version()];
    bytes.extend_from_slice(fingerprint.digest());
    bytes
}

fn read_fingerprint(bytes: &[u8]) -> Option<Fingerprint> {
    let (version, digest) = bytes.split_first()?;
    Some(Fingerprint::new(*version, digest.try_into().ok()?))
}
