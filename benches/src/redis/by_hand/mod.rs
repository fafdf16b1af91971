//! The endpoint as an experienced developer would write it with axum and Redis: a script for the
//! bucket, `SET NX GET` to create the record, and `SET` to store the response.

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
use self::record::{BeginOutcome, StoredResponse};
use crate::Failure;
use crate::payment::{API_KEY, CALLER, NewPayment, Payment};

#[derive(Clone)]
struct App {
    connection: MultiplexedConnection,
    /// Callers by the SHA-256 of their API keys.
    callers: Arc<HashMap<[u8; 32], String>>,
    bucket: Arc<Bucket>,
}

/// An error response.
#[derive(Debug)]
pub(crate) struct Rejection {
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
) -> Result<Response, Rejection> {
    let callers = Arc::clone(&app.callers);
    let caller = caller(&callers, &headers)?;
    let key = idempotency_key(&headers)?;
    let new = serde_json::from_slice(&body)
        .map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let reply = app.bucket.take(&mut app.connection, caller).await?;
    let result = if reply.allowed {
        pay_once(&mut app.connection, (caller, key), &body, new).await
    } else {
        Err(Rejection::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests",
        ))
    };
    let mut response = result.into_response();
    reply.write(response.headers_mut());
    Ok(response)
}

/// Makes one payment for each idempotency key.
async fn pay_once(
    connection: &mut MultiplexedConnection,
    key: (&str, &str),
    body: &[u8],
    new: NewPayment,
) -> Result<Response, Rejection> {
    match record::begin(connection, key, body).await? {
        BeginOutcome::Done(response) => response.replay(),
        BeginOutcome::Started(run) => {
            let response = pay(&new)?;
            record::complete(connection, run, response)
                .await?
                .into_axum()
        }
    }
}

fn pay(new: &NewPayment) -> Result<StoredResponse, Rejection> {
    let payment = Payment::make(new);
    let location = format!("/v1/payments/{}", payment.id);
    Ok(StoredResponse {
        status: 201,
        location,
        body: serde_json::to_string(&payment)?,
    })
}

fn caller<'a>(
    callers: &'a HashMap<[u8; 32], String>,
    headers: &HeaderMap,
) -> Result<&'a str, Rejection> {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| value.strip_prefix("Bearer "));
    let digest: Option<[u8; 32]> = key.map(|key| Sha256::digest(key).into());
    let caller = digest.and_then(|digest| callers.get(&digest));
    caller
        .map(String::as_str)
        .ok_or_else(|| Rejection::new(StatusCode::UNAUTHORIZED, "no such API key"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, Rejection> {
    let key = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    key.filter(|key| (1..=255).contains(&key.len()))
        .ok_or_else(|| {
            Rejection::new(
                StatusCode::BAD_REQUEST,
                "the request has no Idempotency-Key of 1 to 255 characters",
            )
        })
}

impl Rejection {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

/// Converts an error of Redis, or of a record that cannot be parsed.
impl<E: Error> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        (self.status, self.detail).into_response()
    }
}
