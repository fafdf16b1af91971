//! Tests of idempotency. Each request selects the behaviour of the handler. `states` tests the
//! response for each state of a record, and `events` tests the events that change a record.

mod encrypted;
mod events;
mod keys;
mod on_databases;
mod quota;
mod retryable;
mod run_bounds;
mod states;
mod step_keys;
mod stored;

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::testing::{
    Client, ClientRequest, ClientResponse, Fault, StoreOperation, TestServer, eventually,
};
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::StatusCode;
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};

use crate::app::{ALICE, App, BOB, TestService};

#[derive(Deserialize)]
struct Order {
    item: String,
    /// The behaviour of the handler.
    #[serde(default)]
    how: How,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Well,
    Held,
    FirstHeld,
    HeldThenPanic,
    Status(u16),
    Panic,
    NoEffects,
    Large,
    LargeWithoutLocation,
    Largest,
    OfUnknownLength,
    BreaksOff,
    Described,
    Cookie,
}

#[derive(Serialize)]
struct Placed {
    number: usize,
    item: String,
}

#[derive(Debug, thiserror::Error, ApiError)]
enum OrderError {
    #[error("the supplier does not answer")]
    #[problem(dependency, retry_after = "2s", effects = none)]
    Supplier,
}

async fn place(app: &App, order: Order) -> Result<Response, OrderError> {
    match order.how {
        How::NoEffects => return Err(OrderError::Supplier),
        How::Held => app.hold().await,
        How::FirstHeld if app.is_first_call() => app.hold().await,
        How::HeldThenPanic => {
            app.hold().await;
            panic!("after the wait");
        }
        _ => {}
    }
    let number = app.effect();
    let location = format!("/orders/{number}");
    Ok(match order.how {
        How::Status(status) => (
            StatusCode::from_u16(status).expect("a status"),
            "as requested",
        )
            .into_response(),
        How::Panic => panic!("as requested"),
        How::Large => (
            StatusCode::CREATED,
            [("location", location)],
            "x".repeat((1 << 20) + 1),
        )
            .into_response(),
        How::LargeWithoutLocation => {
            (StatusCode::CREATED, "x".repeat((1 << 20) + 1)).into_response()
        }
        How::Largest => (StatusCode::CREATED, "x".repeat(1 << 20)).into_response(),
        How::OfUnknownLength => {
            let unsized_body = Full::from("tea").map_frame(|frame| frame);
            (StatusCode::CREATED, axum::body::Body::new(unsized_body)).into_response()
        }
        How::BreaksOff => {
            let broken = Limited::new(Full::from("tea"), 1);
            (StatusCode::CREATED, axum::body::Body::new(broken)).into_response()
        }
        How::Described => {
            let links = AppendHeaders([("link", "</a>; rel=up"), ("link", "</b>; rel=next")]);
            (
                StatusCode::CREATED,
                [("cache-control", "max-age=60")],
                links,
                Json(number),
            )
                .into_response()
        }
        How::Cookie => ([("set-cookie", "a=b")], Json(number)).into_response(),
        _ => (
            StatusCode::CREATED,
            [("location", location)],
            Json(Placed {
                number,
                item: order.item,
            }),
        )
            .into_response(),
    })
}

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent, timeout = "300ms")]
async fn place_order(
    State(app): State<App>,
    Json(order): Json<Order>,
) -> Result<Response, OrderError> {
    place(&app, order).await
}

/// Places an order. A rerun is harmless.
#[endpoint(put = "/orders/{id}", version = 1, idempotent(on_crash = rerun, ttl = "2h"))]
async fn put_order(
    State(app): State<App>,
    Path(_): Path<u64>,
    Json(order): Json<Order>,
) -> Result<Response, OrderError> {
    place(&app, order).await
}

/// Pays an order. The request has no body.
#[endpoint(post = "/orders/{id}/pay", version = 1, idempotent(optional))]
async fn pay_order(State(app): State<App>, Path(id): Path<u64>) -> Json<(u64, usize)> {
    Json((id, app.effect()))
}

/// Places an order for an anonymous caller.
#[endpoint(post = "/guest-orders", version = 1, public, idempotent(anonymous))]
async fn guest_order(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

/// Accepts idempotency keys only from authenticated callers.
#[endpoint(post = "/notes", version = 1, public, idempotent(optional))]
async fn note(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

fn routes() -> Routes<App> {
    aplomb::routes![
        place_order,
        put_order,
        pay_order,
        guest_order,
        note,
        step_keys::show_step_keys,
        step_keys::has_step_keys
    ]
}

async fn service() -> TestService {
    TestService::start(routes()).await
}

/// Starts another instance with the same store. A run whose lease has lapsed is UNKNOWN there, or is
/// run again. At its own instance, the run is in flight until it ends.
async fn other_instance(service: &TestService) -> TestServer {
    let api = service.configure(Api::new("test", routes()));
    TestServer::start(api, service.app.clone())
        .await
        .expect("a valid API")
}

const VALID_ORDER: &str = r#"{"item": "tea"}"#;
const HELD: &str = r#"{"item": "tea", "how": "held"}"#;
const UUID: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

fn order(client: &Client, key: &str, body: &str) -> ClientRequest {
    client
        .post("/v1/orders")
        .bearer(ALICE)
        .idempotency_key(key)
        .json(body)
}

async fn two_with_status(status: u16) -> (TestService, ClientResponse, ClientResponse) {
    let service = service().await;
    let body = format!(r#"{{"item": "tea", "how": {{"status": {status}}}}}"#);
    let first = order(&service.client, "k", &body).send().await;
    let second = order(&service.client, "k", &body).send().await;
    (service, first, second)
}

fn held_put_request(client: &Client) -> ClientRequest {
    client
        .request(http::Method::PUT, "/v1/orders/1")
        .bearer(ALICE)
        .idempotency_key("k")
        .json(HELD)
}

/// Sends an order whose handler is held. The task returns the response after the handler
/// is released.
fn spawn_held_order(
    service: &TestService,
    key: &'static str,
    body: &'static str,
) -> tokio::task::JoinHandle<ClientResponse> {
    let client = service.client.clone();
    tokio::spawn(async move { order(&client, key, body).send().await })
}

fn spawn_held_put(client: &Client) -> tokio::task::JoinHandle<ClientResponse> {
    let client = client.clone();
    tokio::spawn(async move { held_put_request(&client).send().await })
}

/// Repeats an order until the run of its key is not in flight any more.
async fn retry_until_settled(service: &TestService, key: &str, body: &str) -> ClientResponse {
    until_settled(async || order(&service.client, key, body).send().await).await
}

/// Repeats a held PUT until its record is not in flight any more. The lease is renewed only until
/// the maximum duration of the run has passed, so it lapses soon after.
async fn retry_put_until_settled(client: &Client) -> ClientResponse {
    until_settled(async || held_put_request(client).send().await).await
}

/// Repeats a request until the run of its key is not in flight any more.
async fn until_settled(send: impl AsyncFn() -> ClientResponse) -> ClientResponse {
    let mut response = None;
    let settled = async || response.insert(send().await).status != StatusCode::CONFLICT;
    eventually("the record is not in flight any more", settled).await;
    response.expect("the last response")
}
