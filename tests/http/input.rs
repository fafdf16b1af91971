//! Tests of invalid input: the status, the code, and that the connection stays usable.

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientResponse, RawConnection};
use serde::{Deserialize, Serialize};

use crate::app::{ALICE, App, TestService};

#[derive(Serialize, Deserialize)]
struct Thing {
    name: String,
}

/// Creates a thing.
#[endpoint(
    post = "/things",
    idempotent,
    rate_limit = "1000/min",
    body_limit = "1MB"
)]
async fn make(State(app): State<App>, Json(thing): Json<Thing>) -> Created<Thing> {
    app.effect();
    Created::new(thing)
}

/// Accepts up to 100 bytes, and has no policies.
#[endpoint(
    post = "/small",
    public,
    not_idempotent = "nothing is stored",
    body_limit = "100B"
)]
async fn small(body: axum::body::Bytes) -> String {
    body.len().to_string()
}

/// Reads no body.
#[endpoint(get = "/plain", public)]
async fn plain() -> &'static str {
    "plain"
}

/// Has a short deadline.
#[endpoint(post = "/hasty", public, idempotent(optional), timeout = "100ms")]
async fn hasty(_: axum::body::Bytes) {}

/// Has a short deadline, and no idempotency keys.
#[endpoint(
    post = "/hasty-chunks",
    public,
    not_idempotent = "nothing is stored",
    timeout = "100ms"
)]
async fn hasty_chunks(_: axum::body::Bytes) {}

async fn service() -> TestService {
    TestService::start(routes![make, small, plain, hasty, hasty_chunks]).await
}

async fn send(
    service: &TestService,
    key: &str,
    media: &str,
    body: impl Into<bytes::Bytes>,
) -> ClientResponse {
    let call = service
        .client
        .post("/things")
        .bearer(ALICE)
        .idempotency_key(key)
        .header("content-type", media);
    call.body(body.into()).send().await
}

/// Checks that a valid request on the same connection gets its response.
async fn assert_usable(raw: &mut RawConnection, key: &str) {
    let body = r#"{"name":"x"}"#;
    raw.write(&format!(
        "{}content-length: {}\r\n\r\n{body}",
        head(key),
        body.len()
    ))
    .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}

fn head(key: &str) -> String {
    format!(
        "POST /things HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\n"
    )
}

#[tokio::test]
async fn invalid_bodies_are_rejected_and_free_the_key() {
    let service = service().await;
    let json = "application/json";
    send(&service, "a", json, "{\"name\":")
        .await
        .problem(400, "MALFORMED_JSON");
    send(&service, "b", json, "")
        .await
        .problem(400, "MALFORMED_JSON");
    send(&service, "c", json, &b"\xff\xfe{}"[..])
        .await
        .problem(400, "MALFORMED_JSON");
    send(&service, "d", json, "[".repeat(100_000))
        .await
        .problem(400, "MALFORMED_JSON");
    send(
        &service,
        "e",
        json,
        format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)),
    )
    .await
    .problem(422, "VALIDATION_FAILED");
    send(&service, "f", json, r#"{"name": 7}"#)
        .await
        .problem(422, "VALIDATION_FAILED");
    send(&service, "g", json, "null")
        .await
        .problem(422, "VALIDATION_FAILED");
    send(&service, "h", "text/plain", r#"{"name": "x"}"#)
        .await
        .problem(415, "UNSUPPORTED_MEDIA_TYPE");
    send(&service, "i", "application/x-www-form-urlencoded", "name=x")
        .await
        .problem(415, "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(service.app.effects(), 0);
    for key in "abcdefghi".chars() {
        assert_eq!(
            send(&service, &key.to_string(), json, r#"{"name":"x"}"#)
                .await
                .status,
            201,
            "the key is free"
        );
    }
}

#[tokio::test]
async fn a_body_of_10_mb_is_a_413_and_the_connection_stays_usable() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "{}content-length: 10000000\r\n\r\n{}",
        head("a"),
        "x".repeat(10_000_000)
    ))
    .await;
    let response = raw.response().await;
    assert!(
        response.starts_with("HTTP/1.1 413") && response.contains("BODY_TOO_LARGE"),
        "{response}"
    );
    assert_usable(&mut raw, "a").await;
}

#[tokio::test]
async fn a_chunked_body_that_grows_too_large_is_a_413() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(&format!("{}transfer-encoding: chunked\r\n\r\n", head("a")))
        .await;
    let chunk = format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000));
    for _ in 0..100 {
        raw.write(&chunk).await;
    }
    raw.write("0\r\n\r\n").await;
    let response = raw.response().await;
    assert!(
        response.starts_with("HTTP/1.1 413") && response.contains("BODY_TOO_LARGE"),
        "{response}"
    );
    assert_usable(&mut raw, "a").await;
}

#[tokio::test]
async fn an_unread_body_leaves_the_connection_usable() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    let body = "x".repeat(10_000_000);
    for (line, status) in [
        ("POST /nowhere", "404"),
        ("PUT /things", "405"),
        ("GET /plain", "200"),
    ] {
        raw.write(&format!(
            "{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let response = raw.response().await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
    }
    assert_usable(&mut raw, "a").await;
}

#[tokio::test]
async fn a_body_that_misses_the_deadline_is_a_408() {
    let service = service().await;
    for head in ["POST /hasty", "POST /hasty-chunks"] {
        let mut raw = service.client.raw().await;
        let framing = if head.ends_with("chunks") {
            "transfer-encoding: chunked"
        } else {
            "content-length: 100"
        };
        raw.write(&format!("{head} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n"))
            .await;
        let response = raw.response().await;
        assert!(
            response.starts_with("HTTP/1.1 408") && response.contains("REQUEST_TIMEOUT"),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_problem_that_quotes_a_long_input_is_short() {
    let service = service().await;
    let long = format!(r#"{{"name": {{"{}": 1}}}}"#, "x".repeat(60_000));
    let reply = send(&service, "a", "application/json", long).await;
    reply.problem(422, "VALIDATION_FAILED");
    assert!(reply.body.len() < 2_000, "{} bytes", reply.body.len());
}

#[tokio::test]
async fn body_limits_apply_to_endpoints_without_policies() {
    let service = service().await;
    let long = service
        .client
        .post("/small")
        .body(vec![b'x'; 101])
        .send()
        .await;
    long.problem(413, "BODY_TOO_LARGE");
    assert_eq!(
        service
            .client
            .post("/small")
            .body(vec![b'x'; 100])
            .send()
            .await
            .body,
        "100"
    );
    let mut raw = service.client.raw().await;
    raw.write("POST /small HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    raw.write(&format!("{:x}\r\n{}\r\n0\r\n\r\n", 101, "x".repeat(101)))
        .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
}

#[tokio::test]
async fn a_body_that_stops_halfway_is_a_408() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "{}content-length: 100\r\n\r\n{{\"name\"",
        head("a")
    ))
    .await;
    let response = raw.response().await;
    assert!(
        response.starts_with("HTTP/1.1 408") && response.contains("REQUEST_TIMEOUT"),
        "{response}"
    );
    assert!(
        raw.is_closed().await,
        "the rest of the body would be parsed as a request"
    );
    let mut raw = service.client.raw().await;
    assert_usable(&mut raw, "a").await;
}

#[tokio::test]
async fn a_disconnect_in_the_middle_of_a_body_leaves_no_record() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "{}content-length: 100\r\n\r\n{{\"name\"",
        head("a")
    ))
    .await;
    drop(raw);
    let mut raw = service.client.raw().await;
    assert_usable(&mut raw, "a").await;
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a_rejection_before_the_body_is_read_leaves_the_connection_usable() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    let body = "x".repeat(200_000);
    let head_without_key = head("a").replace("idempotency-key: a\r\n", "");
    raw.write(&format!(
        "{head_without_key}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let response = raw.response().await;
    assert!(response.contains("IDEMPOTENCY_KEY_MISSING"), "{response}");
    let unauthenticated = head("a").replace(ALICE, "sk_test_wrong");
    raw.write(&format!(
        "{unauthenticated}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    assert_usable(&mut raw, "b").await;
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_the_413_before_it_sends_the_body() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "{}expect: 100-continue\r\ncontent-length: 10000000\r\n\r\n",
        head("a")
    ))
    .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
}

#[tokio::test]
async fn invalid_request_targets_get_a_problem() {
    let service = service().await;
    for path in ["/%ff", "/things/../x", "//", "/?%", "/things%00"] {
        let reply = service.client.get(path).bearer(ALICE).send().await;
        assert!(reply.status.is_client_error(), "{path}: {}", reply.status);
        reply.problem(
            reply.status.as_u16(),
            reply.json()["code"].as_str().expect("a code"),
        );
    }
}
