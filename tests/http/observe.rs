//! Tests that every response and every log line of a request have the request id.

use core::convert::Infallible;

use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::testing::{ClientResponse, TestLog, eventually};
use aplomb::{RequestId, routes};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::app::{ALICE, App, TestService};

/// An extractor and a limit key that write a log line.
struct LoggingExtractor;

impl<S: Sync> FromRequestParts<S> for LoggingExtractor {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        tracing::info!(target: "app", "an extractor");
        Ok(Self)
    }
}

impl LimitKey for LoggingExtractor {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        tracing::info!(target: "app", "a key");
        Some(value.to_owned())
    }
}

fn cost_of(_: &Parts) -> u64 {
    tracing::info!(target: "app", "a cost");
    1
}

/// Returns its request id, and writes a log line.
#[endpoint(get = "/plain/{id}", public)]
async fn plain(_: LoggingExtractor, id: RequestId) -> String {
    tokio::task::yield_now().await;
    tracing::warn!(target: "app", "a handler");
    id.to_string()
}

/// Returns its request id. The cost function and the limit key write log lines too.
#[endpoint(get = "/limited", public, rate_limit("9/min", cost = cost_of, by = header("x-tenant", LoggingExtractor)))]
async fn limited(_: LoggingExtractor, id: RequestId) -> String {
    tracing::warn!(target: "app", "a handler");
    id.to_string()
}

/// Writes a log line, waits until the test releases it, and writes another one. Returns its request
/// id. Requires an idempotency key.
#[endpoint(post = "/keyed", idempotent)]
async fn keyed(State(app): State<App>, id: RequestId) -> String {
    tracing::info!(target: "app", "before");
    app.hold().await;
    tracing::info!(target: "app", "after");
    app.effect();
    id.to_string()
}

/// Fails with a cause that only the log contains.
#[endpoint(get = "/broken", public)]
async fn broken() -> aplomb::Result<()> {
    Err(Problem::internal("the disk is full"))
}

/// Returns an error without a body.
#[endpoint(get = "/empty", public)]
async fn empty() -> StatusCode {
    StatusCode::IM_A_TEAPOT
}

/// A value that writes a log line when it is dropped.
struct LogOnDrop(App);

impl Drop for LogOnDrop {
    fn drop(&mut self) {
        tracing::warn!(target: "app", "dropped");
        self.0.effect();
    }
}

/// Misses its deadline.
#[endpoint(get = "/missed_deadline", public, timeout = "20ms")]
async fn missed_deadline(State(app): State<App>) {
    let _guard = LogOnDrop(app);
    core::future::pending::<()>().await;
}

/// Is held until its client disconnects.
#[endpoint(get = "/disconnected", public)]
async fn disconnected(State(app): State<App>) {
    let _guard = LogOnDrop(app.clone());
    tracing::info!(target: "app", "before");
    app.hold().await;
}

async fn service() -> TestService {
    TestService::start(routes![
        plain,
        limited,
        keyed,
        broken,
        empty,
        missed_deadline,
        disconnected
    ])
    .await
}

fn id_of(reply: &ClientResponse) -> String {
    reply
        .header("x-request-id")
        .expect("every response has an id")
        .to_owned()
}

/// Returns the message and the request id of each log line.
fn lines_with_ids(log: &TestLog) -> Vec<(String, String)> {
    let text = |text: Option<&str>| text.unwrap_or("none").to_owned();
    log.lines()
        .iter()
        .map(|line| {
            (
                text(line.field("message")),
                text(line.span_field("request_id")),
            )
        })
        .collect()
}

fn lines_of(id: &str, messages: &[&str]) -> Vec<(String, String)> {
    messages
        .iter()
        .map(|message| ((*message).to_owned(), id.to_owned()))
        .collect()
}

#[tokio::test]
async fn f03_every_response_has_its_own_request_id() {
    let service = service().await;
    let mut ids = Vec::new();
    for (method, path, status) in [
        (Method::GET, "/plain/1", 200),
        (Method::HEAD, "/plain/1", 200),
        (Method::GET, "/limited", 200),
        (Method::POST, "/keyed", 401),
        (Method::GET, "/broken", 500),
        (Method::GET, "/empty", 418),
        (Method::PUT, "/empty", 405),
        (Method::GET, "/nowhere", 404),
    ] {
        let reply = service.client.request(method, path).send().await;
        assert_eq!(
            (reply.status.as_u16(), id_of(&reply).len()),
            (status, 26),
            "{path}"
        );
        ids.push(id_of(&reply));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[tokio::test]
async fn f03_the_request_id_of_a_trusted_peer_is_used() {
    let trust_peer = |api: Api<App>| api.trusted_proxies("127.0.0.1");
    let service = TestService::start_with(routes![plain, broken], trust_peer).await;
    for path in ["/plain/1", "/broken", "/nowhere"] {
        let reply = service
            .client
            .get(path)
            .header("x-request-id", "abc-1")
            .send()
            .await;
        assert_eq!(id_of(&reply), "abc-1", "{path}");
    }
    let reply = service
        .client
        .get("/broken")
        .header("x-request-id", "abc-1")
        .send()
        .await;
    assert_eq!(reply.problem(500, "INTERNAL")["request_id"], "abc-1");
    let reply = service
        .client
        .get("/plain/1")
        .header("x-request-id", "a b")
        .send()
        .await;
    assert_eq!(id_of(&reply).len(), 26);
}

#[tokio::test]
async fn f03_the_request_id_of_an_untrusted_peer_is_ignored() {
    let trust_others = |api: Api<App>| api.trusted_proxies("10.0.0.0/8");
    for service in [
        service().await,
        TestService::start_with(routes![plain], trust_others).await,
    ] {
        for path in ["/plain/1", "/nowhere"] {
            let reply = service
                .client
                .get(path)
                .header("x-request-id", "abc-1")
                .send()
                .await;
            assert_eq!(id_of(&reply).len(), 26, "{path}");
        }
    }
}

#[tokio::test]
async fn f03_a_handler_can_read_the_request_id() {
    let service = service().await;
    for call in [
        service.client.get("/plain/1"),
        service.client.get("/limited").header("x-tenant", "a"),
    ] {
        let reply = call.send().await;
        assert_eq!(reply.body, id_of(&reply));
    }
}

#[tokio::test]
async fn f02_every_log_line_of_a_request_has_its_id() {
    let service = service().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let plain = id_of(&service.client.get("/plain/1").send().await);
    assert_eq!(
        lines_with_ids(&log),
        lines_of(&plain, &["an extractor", "a handler"])
    );
    let span = |field| log.lines()[0].span_field(field).map(str::to_owned);
    assert_eq!(span("endpoint").as_deref(), Some("plain"));
    assert_eq!(span("route").as_deref(), Some("/plain/{id}"));
    assert_eq!(span("method").as_deref(), Some("GET"));
    let limited = id_of(
        &service
            .client
            .get("/limited")
            .header("x-tenant", "a")
            .send()
            .await,
    );
    let (lines, messages) = (
        lines_with_ids(&log).split_off(2),
        ["a key", "a cost", "an extractor", "a handler"],
    );
    assert!(lines.iter().all(|(_, id)| *id == limited), "{lines:?}");
    for message in messages {
        assert!(
            lines
                .iter()
                .any(|(lines_with_ids, _)| lines_with_ids == message),
            "{message} in {lines:?}"
        );
    }
}

#[tokio::test]
async fn f02_the_cause_of_a_5xx_is_logged_with_the_request_id() {
    let service = service().await;
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    let id = id_of(&service.client.get("/broken").send().await);
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    for (name, value) in [
        ("cause", "the disk is full"),
        ("code", "INTERNAL"),
        ("endpoint", "broken"),
    ] {
        assert_eq!(lines[0].field(name), Some(value));
    }
    assert_eq!(
        (
            lines[0].field("request_id"),
            lines[0].span_field("request_id")
        ),
        (Some(&*id), Some(&*id))
    );
}

#[tokio::test]
async fn f02_log_lines_of_a_run_after_its_client_disconnected_have_the_request_id() {
    let service = service().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "POST /keyed HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: a\r\n\
         content-length: 0\r\n\r\n"
    ))
    .await;
    service.app.until_held().await;
    drop(raw);
    service.app.release();
    eventually("the handler runs", async || service.app.effects() > 0).await;
    let lines_with_ids = lines_with_ids(&log);
    assert_eq!(
        lines_with_ids,
        lines_of(&lines_with_ids[0].1, &["before", "after"])
    );
    assert_eq!(lines_with_ids[0].1.len(), 26);
}

#[tokio::test]
async fn f02_log_lines_of_a_dropped_handler_have_the_request_id() {
    let service = service().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let late = service.client.get("/missed_deadline").send().await;
    late.problem(504, "DEADLINE_EXCEEDED");
    assert_eq!(lines_with_ids(&log), lines_of(&id_of(&late), &["dropped"]));
    let mut raw = service.client.raw().await;
    raw.write("GET /disconnected HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    service.app.until_held().await;
    drop(raw);
    eventually("the handler is dropped", async || {
        service.app.effects() == 2
    })
    .await;
    let lines_with_ids = lines_with_ids(&log).split_off(1);
    assert_eq!(
        lines_with_ids,
        lines_of(&lines_with_ids[0].1, &["before", "dropped"])
    );
    assert_eq!(lines_with_ids[0].1.len(), 26);
}
