//! The endpoint as an experienced developer would write it with axum and Redis: a script for the
//! bucket, `SET NX GET` to create the record, and `SET` to store the response.

mod bucket;
mod record;

use std::sync::Arc;

use aplomb_benches::Failure;
use aplomb_benches::hand_written::{Callers, Rejection, StoredResponse, idempotency_key};
use aplomb_benches::payment::{NewPayment, Payment};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing;
use http::{HeaderMap, StatusCode};
use redis::aio::MultiplexedConnection;

use self::bucket::Bucket;
use self::record::BeginOutcome;

#[derive(Clone)]
struct App {
    connection: MultiplexedConnection,
    callers: Arc<Callers>,
    bucket: Arc<Bucket>,
}

pub(crate) async fn router(url: &str) -> Result<Router, Failure> {
    let connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let app = App {
        connection,
        callers: Arc::new(Callers::of_benchmark()),
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
    let caller = callers.authenticate(&headers)?;
    let key = idempotency_key(&headers)?;
    let new = serde_json::from_slice(&body)
        .map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let reply = app.bucket.take(&mut app.connection, caller).await?;
    let result = if reply.allowed {
        pay_once(&mut app.connection, (caller, key), &body, new).await
    } else {
        Err(Rejection::too_many_requests())
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
            let response = StoredResponse::created(&Payment::make(&new))?;
            record::complete(connection, run, response)
                .await?
                .into_axum()
        }
    }
}
