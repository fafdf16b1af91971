//! The idempotency record. A call before the handler creates the record or returns the existing
//! one. A call after the handler stores the response.

use aplomb_benches::hand_written::{Rejection, StoredResponse, fingerprint};
use http::StatusCode;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, ExistenceCheck, SetExpiry, SetOptions};
use serde::{Deserialize, Serialize};

/// The record of a key: the fingerprint of the request, and its response after the run.
#[derive(Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    response: Option<StoredResponse>,
}

/// The run that this request has begun.
pub(super) struct Run {
    key: String,
    fingerprint: String,
}

pub(super) enum BeginOutcome {
    Started(Run),
    Done(StoredResponse),
}

/// The milliseconds until a record without a response expires.
const RUN_TTL_MS: u64 = 60_000;
/// The milliseconds until a record with a response expires.
const RESPONSE_TTL_MS: u64 = 86_400_000;

/// Creates the record of a key, or returns the stored response.
pub(super) async fn begin(
    connection: &mut MultiplexedConnection,
    (caller, key): (&str, &str),
    body: &[u8],
) -> Result<BeginOutcome, Rejection> {
    let key = format!("idempotency:{caller}:{key}");
    let record = Record {
        fingerprint: fingerprint(body),
        response: None,
    };
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .get(true);
    let options = options.with_expiration(SetExpiry::PX(RUN_TTL_MS));
    let found: Option<Vec<u8>> = connection
        .set_options(&key, serde_json::to_vec(&record)?, options)
        .await?;
    let Some(found) = found else {
        return Ok(BeginOutcome::Started(Run {
            key,
            fingerprint: record.fingerprint,
        }));
    };
    let found: Record = serde_json::from_slice(&found)?;
    if found.fingerprint != record.fingerprint {
        return Err(Rejection::mismatch());
    }
    let done = found.response.map(BeginOutcome::Done);
    done.ok_or_else(Rejection::in_flight)
}

/// Stores the response.
pub(super) async fn complete(
    connection: &mut MultiplexedConnection,
    run: Run,
    response: StoredResponse,
) -> Result<StoredResponse, Rejection> {
    let record = Record {
        fingerprint: run.fingerprint,
        response: Some(response),
    };
    let options = SetOptions::default().with_expiration(SetExpiry::PX(RESPONSE_TTL_MS));
    let () = connection
        .set_options(&run.key, serde_json::to_vec(&record)?, options)
        .await?;
    record.response.ok_or_else(|| {
        Rejection::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the record has no response",
        )
    })
}
