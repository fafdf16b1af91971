//! The idempotency key: a trip before the handler, which takes the key or shows what is there, and
//! one after it.

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

use super::Refusal;

/// What stands under a key: which request it was, and its answer once there is one.
#[derive(Serialize, Deserialize)]
struct Record {
    fingerprint: String,
    answer: Option<Answer>,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) body: String,
}

/// A key that this request has taken.
pub(super) struct Taken {
    key: String,
    fingerprint: String,
}

pub(super) enum BeginOutcome {
    Started(Taken),
    Done(Answer),
}

/// How long a request may run, and how long its answer is kept, in milliseconds.
const RUNNING: u64 = 60_000;
const KEPT: u64 = 86_400_000;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Takes the key, or says what is there.
pub(super) async fn begin(
    connection: &mut MultiplexedConnection,
    (caller, key): (&str, &str),
    body: &[u8],
) -> Result<BeginOutcome, Refusal> {
    let key = format!("idempotency:{caller}:{key}");
    let record = Record {
        fingerprint: fingerprint(body),
        answer: None,
    };
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .get(true);
    let options = options.with_expiration(SetExpiry::PX(RUNNING));
    let found: Option<Vec<u8>> = connection
        .set_options(&key, serde_json::to_vec(&record)?, options)
        .await?;
    let Some(found) = found else {
        return Ok(BeginOutcome::Started(Taken {
            key,
            fingerprint: record.fingerprint,
        }));
    };
    let found: Record = serde_json::from_slice(&found)?;
    if found.fingerprint != record.fingerprint {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the key was used for another request",
        ));
    }
    let in_flight = Refusal::new(StatusCode::CONFLICT, "the first request is still running");
    found.answer.map(BeginOutcome::Done).ok_or(in_flight)
}

/// Keeps the answer.
pub(super) async fn complete(
    connection: &mut MultiplexedConnection,
    taken: Taken,
    answer: Answer,
) -> Result<Answer, Refusal> {
    let record = Record {
        fingerprint: taken.fingerprint,
        answer: Some(answer),
    };
    let options = SetOptions::default().with_expiration(SetExpiry::PX(KEPT));
    let () = connection
        .set_options(&taken.key, serde_json::to_vec(&record)?, options)
        .await?;
    record
        .answer
        .ok_or_else(|| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no answer"))
}

impl Answer {
    /// The first answer once more.
    pub(super) fn replay(self) -> Result<Response, Refusal> {
        let mut response = self.send()?;
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }

    /// The response.
    pub(super) fn send(self) -> Result<Response, Refusal> {
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
