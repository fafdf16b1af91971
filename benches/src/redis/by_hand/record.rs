//! The idempotency record. A call before the handler creates the record or returns the existing
//! one. A call after the handler stores the response.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, ExistenceCheck, SetExpiry, SetOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Rejection;

/// The record of a key: the fingerprint of the request, and its response after the run.
#[derive(Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    response: Option<StoredResponse>,
}

/// A stored response.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredResponse {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) body: String,
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

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

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
        return Err(Rejection::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the key was used for another request",
        ));
    }
    let in_flight = Rejection::new(StatusCode::CONFLICT, "the first request is still running");
    found.response.map(BeginOutcome::Done).ok_or(in_flight)
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

impl StoredResponse {
    /// Returns the response, marked as a replay.
    pub(super) fn replay(self) -> Result<Response, Rejection> {
        let mut response = self.into_axum()?;
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }

    /// Converts the stored response to a response of axum.
    pub(super) fn into_axum(self) -> Result<Response, Rejection> {
        let mut response = Body::from(self.body).into_response();
        *response.status_mut() = StatusCode::from_u16(self.status)?;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(LOCATION, HeaderValue::try_from(self.location)?);
        Ok(response)
    }
}

fn fingerprint(body: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(body))
}
