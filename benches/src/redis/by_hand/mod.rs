//! The endpoint as a developer writes it who knows axum and Redis: a script for the bucket, `SET NX
//! GET` to take the key, `SET` to keep the answer.

mod bucket;
mod record;

use core::error::Error;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use redis::aio::MultiplexedConnection;
use sha2::{Digest, Sha256};

use self::bucket::Bucket;
use self::record::{Answer, BeginOutcome};
use crate::Failure;
use crate::payment::{API_KEY, CALLER, NewPayment, Payment};

#[derive(Clone)]
struct App {
    connection: MultiplexedConnection,
    /// Callers by the SHA-256 of their API keys.
    callers: Arc<HashMap<[u8; 32], String>>,
    bucket: Arc<Bucket>,
}

/// A request that gets no payment.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    detail: String,
}

pub(crate) async fn router(url: &str) -> Result<Router, Failure> {
    let connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let callers = HashMap::from([(Sha256::digest(API_KEY).into(), CALLER.to_owned())]);
    let app = App {
        connection,
        callers: Arc::new(callers),
        bucket: Arc::new(Bucket::new()),
    };
    Ok(Router::new()
        .route("/v1/payments", routing::post(create_payment))
        .with_state(app))
}

async fn create_payment(
    State(mut app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let callers = Arc::clone(&app.callers);
    let caller = caller(&callers, &headers)?;
    let key = idempotency_key(&headers)?;
    let new = serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let taken = app.bucket.take(&mut app.connection, caller).await?;
    let answered = if taken.allowed {
        once(&mut app.connection, (caller, key), &body, new).await
    } else {
        Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests",
        ))
    };
    let mut response = answered.into_response();
    taken.write(response.headers_mut());
    Ok(response)
}

/// Pays once for a key.
async fn once(
    connection: &mut MultiplexedConnection,
    key: (&str, &str),
    body: &[u8],
    new: NewPayment,
) -> Result<Response, Refusal> {
    match record::begin(connection, key, body).await? {
        BeginOutcome::Done(answer) => answer.replay(),
        BeginOutcome::Started(taken) => {
            let answer = pay(&new)?;
            record::complete(connection, taken, answer).await?.send()
        }
    }
}

fn pay(new: &NewPayment) -> Result<Answer, Refusal> {
    let payment = Payment::make(new);
    let location = format!("/v1/payments/{}", payment.id);
    Ok(Answer {
        status: 201,
        location,
        body: serde_json::to_string(&payment)?,
    })
}

fn caller<'a>(
    callers: &'a HashMap<[u8; 32], String>,
    headers: &HeaderMap,
) -> Result<&'a str, Refusal> {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| value.strip_prefix("Bearer "));
    let digest: Option<[u8; 32]> = key.map(|key| Sha256::digest(key).into());
    let caller = digest.and_then(|digest| callers.get(&digest));
    caller
        .map(String::as_str)
        .ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "no such API key"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let key = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    key.filter(|key| (1..=255).contains(&key.len()))
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "an Idempotency-Key is needed"))
}

impl Refusal {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

/// Redis, or a record that is not one.
impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.detail).into_response()
    }
}
