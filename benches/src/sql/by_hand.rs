//! The endpoint written by hand with axum and sqlx, without promises and with an idempotency table.

use std::sync::Arc;

use aplomb_benches::hand_written::{
    Callers, Rejection, StoredResponse, fingerprint, idempotency_key,
};
use aplomb_benches::payment::{NewPayment, Payment};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use http::{HeaderMap, StatusCode};

use crate::bucket::Buckets;
use crate::database::Database;

#[derive(Clone)]
struct App {
    database: Database,
    callers: Arc<Callers>,
    buckets: Arc<Buckets>,
}

/// The endpoint without a key and without a limit: one transaction inserts the payment.
pub(crate) fn plain(database: Database) -> Router {
    router(routing::post(create_payment), database)
}

/// The endpoint with an idempotency table and a limit. Three commits: the key, the payment, and the
/// response.
pub(crate) fn with_table(database: Database) -> Router {
    router(routing::post(create_payment_once), database)
}

fn router(create: routing::MethodRouter<App>, database: Database) -> Router {
    let app = App {
        database,
        callers: Arc::new(Callers::of_benchmark()),
        buckets: Arc::default(),
    };
    Router::new().route("/v1/payments", create).with_state(app)
}

async fn create_payment(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Rejection> {
    app.callers.authenticate(&headers)?;
    pay(&app.database, &parse(&body)?).await?.into_axum()
}

async fn create_payment_once(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Rejection> {
    let caller = app.callers.authenticate(&headers)?;
    let key = idempotency_key(&headers)?;
    let new = parse(&body)?;
    let reply = app.buckets.take(caller);
    let result = if reply.allowed {
        pay_once(&app.database, (caller, key), &body, &new).await
    } else {
        Err(Rejection::too_many_requests())
    };
    let mut response = result.into_response();
    reply.write(response.headers_mut());
    Ok(response)
}

/// Makes one payment for each idempotency key. If the process dies before the response is stored,
/// the key stays in flight.
async fn pay_once(
    database: &Database,
    key: (&str, &str),
    body: &[u8],
    new: &NewPayment,
) -> Result<Response, Rejection> {
    let fingerprint = fingerprint(body);
    if !database.insert_key(key, &fingerprint).await? {
        return replay(database, key, &fingerprint).await;
    }
    match pay(database, new).await {
        Ok(response) => {
            database.store_response(key, &response).await?;
            response.into_axum()
        }
        Err(rejection) => {
            database.delete_key(key).await?;
            Err(rejection)
        }
    }
}

async fn replay(
    database: &Database,
    key: (&str, &str),
    fingerprint: &str,
) -> Result<Response, Rejection> {
    // The row is missing if the first request has failed in the meantime.
    let found = database.find_key(key).await?;
    let found = found.ok_or_else(Rejection::in_flight)?;
    if found.fingerprint != fingerprint {
        return Err(Rejection::mismatch());
    }
    found.response.ok_or_else(Rejection::in_flight)?.replay()
}

async fn pay(database: &Database, new: &NewPayment) -> Result<StoredResponse, Rejection> {
    let payment = Payment::make(new);
    database.insert_payment(&payment).await?;
    StoredResponse::created(&payment)
}

fn parse(body: &[u8]) -> Result<NewPayment, Rejection> {
    serde_json::from_slice(body)
        .map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.to_string()))
}
