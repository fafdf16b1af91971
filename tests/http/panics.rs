//! Panics in each kind of user code. The client gets a problem document, the log has a line, and
//! the service responds to the next request.

use core::convert::Infallible;
use core::future;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use aplomb::auth::{Authenticate, Authentication};
use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{Client, TestLog, TestServer};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::request::Parts;
use serde::{Serialize, Serializer};

use crate::app::{ALICE, TestService};

/// A type that panics in every trait method.
struct Panics;

impl<S: Sync> FromRequestParts<S> for Panics {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        panic!("secret of an extractor")
    }
}

impl IntoResponse for Panics {
    fn into_response(self) -> Response {
        panic!("secret of a response")
    }
}

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("secret of a body")
    }
}

impl LimitKey for Panics {
    fn verify(_: &str, _: Option<&Caller>) -> Option<String> {
        panic!("secret of a key")
    }
}

fn costs(_: &Parts) -> u64 {
    panic!("secret of a cost")
}

#[derive(Debug, ApiError)]
#[problem(conflict, code = "PANICS")]
struct ErrorThatPanics;

impl core::fmt::Display for ErrorThatPanics {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        panic!("secret of an error")
    }
}

impl core::error::Error for ErrorThatPanics {}

/// Panics in an extractor.
#[endpoint(get = "/extractor", public)]
async fn extractor(_: Panics) {}

/// Panics in the handler, immediately.
#[endpoint(get = "/handler", public)]
async fn handler() {
    panic!("secret of a handler")
}

/// Panics in the handler, after it has yielded.
#[endpoint(get = "/later", public)]
async fn later() {
    tokio::task::yield_now().await;
    panic!("secret of a later handler")
}

/// Panics in the conversion to a response.
#[endpoint(get = "/response", public)]
async fn response() -> Panics {
    Panics
}

/// Panics in the serialization of the body.
#[endpoint(get = "/body", public)]
async fn body() -> Json<Panics> {
    Json(Panics)
}

/// Panics in the `Display` of an error.
#[endpoint(get = "/error", public)]
async fn error() -> Result<(), ErrorThatPanics> {
    Err(ErrorThatPanics)
}

/// Panics in a cost function.
#[endpoint(get = "/cost", public, rate_limit("9/min", by = ip, cost = costs))]
async fn cost() {}

/// Panics in the verification of a limit key.
#[endpoint(get = "/key", public, rate_limit("9/min", by = header("x-key", Panics)))]
async fn key() {}

/// Panics in the handler of an idempotent endpoint.
#[endpoint(post = "/keyed", idempotent)]
async fn keyed() {
    panic!("secret of a keyed handler")
}

/// A value that panics when it is dropped.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("secret of a drop");
    }
}

/// Panics at the end of the handler, when it drops a value.
#[endpoint(get = "/dropped", public)]
async fn dropped() {
    let _fragile = PanicsOnDrop;
}

/// Panics when the handler is cancelled at its deadline.
#[endpoint(get = "/missed_deadline", public, timeout = "20ms")]
async fn missed_deadline() {
    let _fragile = PanicsOnDrop;
    future::pending::<()>().await;
}

/// Panics when the handler of an endpoint with a stage is cancelled at its deadline.
#[endpoint(
    get = "/missed_deadline_with_stage",
    public,
    timeout = "20ms",
    deprecated = "2026-01-01"
)]
async fn missed_deadline_with_stage() {
    let _fragile = PanicsOnDrop;
    future::pending::<()>().await;
}

/// Does not panic.
#[endpoint(get = "/well", public)]
async fn well() -> &'static str {
    "well"
}

#[tokio::test]
async fn f01_a_panic_is_a_problem_document_and_is_logged() {
    let service = TestService::start(routes![
        extractor, handler, later, response, body, error, cost, key, keyed, well
    ])
    .await;
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    for (path, message) in [
        ("/extractor", "secret of an extractor"),
        ("/handler", "secret of a handler"),
        ("/later", "secret of a later handler"),
        ("/response", "secret of a response"),
        ("/body", "secret of a body"),
        ("/error", "secret of an error"),
        ("/cost", "secret of a cost"),
        ("/key", "secret of a key"),
    ] {
        let reply = service.client.get(path).header("x-key", "a").send().await;
        reply.problem(500, "INTERNAL");
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("secret"),
            "{path}"
        );
        assert_logged(&log, message);
        assert_eq!(service.client.get("/well").send().await.body, "well");
    }
    let reply = service
        .client
        .post("/keyed")
        .bearer(ALICE)
        .idempotency_key("a")
        .send()
        .await;
    reply.problem(500, "INTERNAL");
    assert_logged(&log, "secret of a keyed handler");
}

#[tokio::test]
async fn f01_a_panic_while_a_handler_is_dropped_is_a_problem_document() {
    let service = TestService::start(routes![
        dropped,
        missed_deadline,
        missed_deadline_with_stage,
        well
    ])
    .await;
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    for path in [
        "/dropped",
        "/missed_deadline",
        "/missed_deadline_with_stage",
    ] {
        service
            .client
            .get(path)
            .send()
            .await
            .problem(500, "INTERNAL");
        assert_logged(&log, "secret of a drop");
        assert_eq!(service.client.get("/well").send().await.body, "well");
    }
}

/// Asserts that the last log line reports this panic. The line has no source location, because only
/// `serve` installs the panic hook that records it.
fn assert_logged(log: &TestLog, message: &str) {
    let lines = log.lines();
    let cause = lines
        .last()
        .and_then(|line| line.field("cause"))
        .expect("a cause")
        .to_owned();
    assert!(cause.ends_with(&format!(" panicked: {message}")), "{cause}");
}

/// Authentication that panics if the request has credentials.
#[derive(Debug)]
struct AuthThatPanics;

impl Authenticate for AuthThatPanics {
    async fn authenticate(&self, head: &Parts) -> Authentication {
        assert!(
            !head.headers.contains_key("authorization"),
            "secret of authentication"
        );
        Authentication::Missing
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}

/// Needs a caller.
#[endpoint(get = "/guarded")]
async fn guarded(_: Caller) {}

#[tokio::test]
async fn f01_a_panic_in_authentication_is_a_problem_document_and_is_logged() {
    let service =
        TestService::start_with(routes![guarded, well], |api| api.auth(AuthThatPanics)).await;
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    service
        .client
        .get("/guarded")
        .bearer(ALICE)
        .send()
        .await
        .problem(500, "INTERNAL");
    assert_logged(&log, "secret of authentication");
    assert_eq!(service.client.get("/well").send().await.body, "well");
}

/// A state whose `clone` panics after the test has set the flag.
#[derive(Default)]
struct StateThatPanics(Arc<AtomicBool>);

impl Clone for StateThatPanics {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Ordering::SeqCst), "secret of a state");
        Self(Arc::clone(&self.0))
    }
}

/// Has a stage.
#[endpoint(get = "/staged", public, deprecated = "2026-01-01")]
async fn staged() {}

/// Has no stages.
#[endpoint(get = "/bare", public)]
async fn bare() {}

#[tokio::test]
async fn f01_a_panic_in_the_clone_of_the_state_is_a_problem_document() {
    let state = StateThatPanics::default();
    let keys = ApiKeys::parse(&format!("alice:{ALICE}")).expect("valid keys");
    let api = Api::new("test", routes![staged, bare]).auth(keys);
    let server = TestServer::start(api, state.clone())
        .await
        .expect("a valid API");
    let client = Client::new(server.address());
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    state.0.store(true, Ordering::SeqCst);
    for path in ["/staged", "/bare"] {
        client.get(path).send().await.problem(500, "INTERNAL");
        assert_logged(&log, "secret of a state");
    }
}
