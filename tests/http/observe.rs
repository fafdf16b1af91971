//! The request's id: on every response, and on every line that a request logs.

use core::convert::Infallible;

use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::testing::{ClientResponse, TestLog, eventually};
use aplomb::{RequestId, routes};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::app::{ALICE, App, Bench};

/// Writes to the log where it is taken.
struct Talkative;

impl<S: Sync> FromRequestParts<S> for Talkative {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        tracing::info!(target: "app", "an extractor");
        Ok(Self)
    }
}

impl LimitKey for Talkative {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        tracing::info!(target: "app", "a key");
        Some(value.to_owned())
    }
}

fn weigh(_: &Parts) -> u64 {
    tracing::info!(target: "app", "a cost");
    1
}

/// Says its id and writes to the log.
#[endpoint(get = "/plain/{id}", public)]
async fn plain(_: Talkative, id: RequestId) -> String {
    tokio::task::yield_now().await;
    tracing::warn!(target: "app", "a handler");
    id.to_string()
}

/// The same under a limit.
#[endpoint(get = "/limited", public, rate_limit("9/min", cost = weigh, by = header("x-tenant", Talkative)))]
async fn limited(_: Talkative, id: RequestId) -> String {
    tracing::warn!(target: "app", "a handler");
    id.to_string()
}

/// The same under a key, held by the test.
#[endpoint(post = "/keyed", idempotent)]
async fn keyed(State(app): State<App>, id: RequestId) -> String {
    tracing::info!(target: "app", "before");
    app.hold().await;
    tracing::info!(target: "app", "after");
    app.effect();
    id.to_string()
}

/// Fails and tells nobody but the log.
#[endpoint(get = "/broken", public)]
async fn broken() -> Result<()> {
    Err(Problem::internal("the disk is full"))
}

/// Answers nothing.
#[endpoint(get = "/empty", public)]
async fn empty() -> StatusCode {
    StatusCode::IM_A_TEAPOT
}

/// Says in the log that it is dropped.
struct Telling(App);

impl Drop for Telling {
    fn drop(&mut self) {
        tracing::warn!(target: "app", "dropped");
        self.0.effect();
    }
}

/// Is given up.
#[endpoint(get = "/given_up", public, timeout = "20ms")]
async fn given_up(State(app): State<App>) {
    let _telling = Telling(app);
    core::future::pending::<()>().await;
}

/// Is left alone.
#[endpoint(get = "/left", public)]
async fn left(State(app): State<App>) {
    let _telling = Telling(app.clone());
    tracing::info!(target: "app", "before");
    app.hold().await;
}

async fn bench() -> Bench {
    Bench::start(routes![
        plain, limited, keyed, broken, empty, given_up, left
    ])
    .await
}

fn id_of(reply: &ClientResponse) -> String {
    reply
        .header("x-request-id")
        .expect("every response has an id")
        .to_owned()
}

/// What was logged, and under which id.
fn said(log: &TestLog) -> Vec<(String, String)> {
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

fn by(id: &str, messages: &[&str]) -> Vec<(String, String)> {
    messages
        .iter()
        .map(|message| ((*message).to_owned(), id.to_owned()))
        .collect()
}

#[tokio::test]
async fn f03_every_response_has_its_own_request_id() {
    let bench = bench().await;
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
        let reply = bench.client.request(method, path).send().await;
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
    let trusting = |api: Api<App>| api.trusted_proxies("127.0.0.1");
    let bench = Bench::start_with(routes![plain, broken], trusting).await;
    for path in ["/plain/1", "/broken", "/nowhere"] {
        let reply = bench
            .client
            .get(path)
            .header("x-request-id", "abc-1")
            .send()
            .await;
        assert_eq!(id_of(&reply), "abc-1", "{path}");
    }
    let reply = bench
        .client
        .get("/broken")
        .header("x-request-id", "abc-1")
        .send()
        .await;
    assert_eq!(reply.problem(500, "INTERNAL")["request_id"], "abc-1");
    let reply = bench
        .client
        .get("/plain/1")
        .header("x-request-id", "a b")
        .send()
        .await;
    assert_eq!(id_of(&reply).len(), 26);
}

#[tokio::test]
async fn f03_the_request_id_of_an_untrusted_peer_is_ignored() {
    let strangers = |api: Api<App>| api.trusted_proxies("10.0.0.0/8");
    for bench in [
        bench().await,
        Bench::start_with(routes![plain], strangers).await,
    ] {
        for path in ["/plain/1", "/nowhere"] {
            let reply = bench
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
    let bench = bench().await;
    for call in [
        bench.client.get("/plain/1"),
        bench.client.get("/limited").header("x-tenant", "a"),
    ] {
        let reply = call.send().await;
        assert_eq!(reply.body, id_of(&reply));
    }
}

#[tokio::test]
async fn f02_every_log_line_of_a_request_has_its_id() {
    let bench = bench().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let plain = id_of(&bench.client.get("/plain/1").send().await);
    assert_eq!(said(&log), by(&plain, &["an extractor", "a handler"]));
    let span = |field| log.lines()[0].span_field(field).map(str::to_owned);
    assert_eq!(span("endpoint").as_deref(), Some("plain"));
    assert_eq!(span("route").as_deref(), Some("/plain/{id}"));
    assert_eq!(span("method").as_deref(), Some("GET"));
    let limited = id_of(
        &bench
            .client
            .get("/limited")
            .header("x-tenant", "a")
            .send()
            .await,
    );
    let (of_limited, messages) = (
        said(&log).split_off(2),
        ["a key", "a cost", "an extractor", "a handler"],
    );
    assert!(
        of_limited.iter().all(|(_, id)| *id == limited),
        "{of_limited:?}"
    );
    for message in messages {
        assert!(
            of_limited.iter().any(|(said, _)| said == message),
            "{message} in {of_limited:?}"
        );
    }
}

#[tokio::test]
async fn f02_the_cause_of_a_5xx_is_logged_with_the_request_id() {
    let bench = bench().await;
    let log = TestLog::of("pipeline::finalize");
    let _listening = log.listen();
    let id = id_of(&bench.client.get("/broken").send().await);
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
    let bench = bench().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let mut raw = bench.client.raw().await;
    raw.write(&format!(
        "POST /keyed HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: a\r\n\
         content-length: 0\r\n\r\n"
    ))
    .await;
    bench.app.held().await;
    drop(raw);
    bench.app.let_go();
    eventually("the handler runs", async || bench.app.effects() > 0).await;
    let said = said(&log);
    assert_eq!(said, by(&said[0].1, &["before", "after"]));
    assert_eq!(said[0].1.len(), 26);
}

#[tokio::test]
async fn f02_log_lines_of_a_dropped_handler_have_the_request_id() {
    let bench = bench().await;
    let log = TestLog::of("app");
    let _listening = log.listen();
    let late = bench.client.get("/given_up").send().await;
    late.problem(504, "DEADLINE_EXCEEDED");
    assert_eq!(said(&log), by(&id_of(&late), &["dropped"]));
    let mut raw = bench.client.raw().await;
    raw.write("GET /left HTTP/1.1\r\nhost: x\r\n\r\n").await;
    bench.app.held().await;
    drop(raw);
    eventually("the handler is dropped", async || bench.app.effects() == 2).await;
    let said = said(&log).split_off(1);
    assert_eq!(said, by(&said[0].1, &["before", "dropped"]));
    assert_eq!(said[0].1.len(), 26);
}
