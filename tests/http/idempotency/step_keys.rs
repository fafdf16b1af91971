//! Step keys of a handler, and header fields that a retry must repeat.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use aplomb::prelude::*;
use aplomb::testing::{Client, ClientRequest, ClientResponse, TestServer};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::service;
use crate::app::{ALICE, App, BOB, TestService};

/// Returns its step keys. The first response is a 429, which frees the key.
#[endpoint(post = "/operations", version = 1, idempotent(headers("X-Region")))]
pub(super) async fn show_step_keys(State(app): State<App>, keys: StepKeys) -> Response {
    let status = if app.effect() == 0 {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::OK
    };
    (
        status,
        [
            ("x-operation", keys.id().to_owned()),
            ("x-step", keys.step("charge")),
        ],
    )
        .into_response()
}

/// Returns whether the request has step keys.
#[endpoint(post = "/may-operate", version = 1, idempotent(optional))]
pub(super) async fn has_step_keys(keys: Option<StepKeys>) -> Json<bool> {
    Json(keys.is_some())
}

/// Charges an account at a partner. A rerun is harmless, because the partner recognizes the step
/// key of a repeated charge.
#[endpoint(post = "/charges", version = 1, idempotent(on_crash = rerun))]
async fn charge(State(app): State<App>, keys: StepKeys) -> NoContent {
    CHARGE_KEYS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(keys.step("charge"));
    if app.is_first_call() {
        app.hold().await;
    }
    app.effect();
    NoContent
}

static CHARGE_KEYS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn keyed_request(client: &Client, bearer: &str, key: &str) -> ClientRequest {
    client
        .post("/v1/operations")
        .bearer(bearer)
        .idempotency_key(key)
}

fn shown_keys(reply: &ClientResponse) -> (&str, &str) {
    (
        reply.header("x-operation").expect("the step keys"),
        reply.header("x-step").expect("a step"),
    )
}

#[tokio::test]
async fn step_keys_are_the_same_in_every_run_under_a_key() {
    let service = service().await;
    let busy = keyed_request(&service.client, ALICE, "k").send().await;
    let done = keyed_request(&service.client, ALICE, "k").send().await;
    assert_eq!(
        (busy.status.as_u16(), done.status.as_u16(), done.replayed()),
        (429, 200, false)
    );
    assert_eq!(shown_keys(&busy), shown_keys(&done));
    for (caller, key) in [(ALICE, "l"), (BOB, "k")] {
        let other = keyed_request(&service.client, caller, key).send().await;
        assert_ne!(shown_keys(&other).0, shown_keys(&done).0);
        assert_ne!(shown_keys(&other).1, shown_keys(&done).1);
    }
}

#[tokio::test]
async fn a14_step_keys_are_the_same_in_a_rerun_with_another_secret() {
    let service = TestService::start(aplomb::routes![charge]).await;
    let call = async |client: Client| {
        client
            .post("/v1/charges")
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
            .await
    };
    let first = tokio::spawn(call(service.client.clone()));
    service.app.until_held().await;
    service.clock.advance(Duration::from_secs(31));
    let secret = |byte: u8| aplomb::Secret::new([byte; 32]).expect("long enough");
    // `TestService` uses a secret in which each byte is 7.
    let api = service
        .configure(Api::new("test", aplomb::routes![charge]))
        .secret(secret(8));
    let server = TestServer::start(api, service.app.clone())
        .await
        .expect("a valid API");
    assert_eq!(call(Client::new(server.address())).await.status, 204);
    service.app.release();
    assert!(first.await.expect("a response").replayed());
    let steps = CHARGE_KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(steps.len() == 2 && steps[0] == steps[1], "{steps:?}");
}

#[tokio::test]
async fn a_request_without_its_optional_key_has_no_step_keys() {
    let service = service().await;
    let call = || service.client.post("/v1/may-operate").bearer(ALICE);
    assert_eq!(call().send().await.json(), false);
    assert_eq!(call().idempotency_key("k").send().await.json(), true);
}

#[tokio::test]
async fn a05_a_request_with_another_value_of_a_listed_field_is_a_422() {
    let service = service().await;
    let call = |region: Option<&str>| {
        let call = keyed_request(&service.client, ALICE, "k").header("x-other", "any");
        region
            .into_iter()
            .fold(call, |call, region| call.header("x-region", region))
    };
    call(Some("eu")).send().await;
    assert_eq!(call(Some("eu")).send().await.status, 200);
    for other in [Some("us"), None] {
        call(other)
            .send()
            .await
            .problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert!(
        call(Some("eu"))
            .header("x-other", "another")
            .send()
            .await
            .replayed()
    );
}
