//! The memory for request bodies: a large body that does not fit is a 503, and small bodies pass.

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientRequest, RawConnection, eventually};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Multipart, Request};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::app::{ALICE, App, TestService};
use crate::http2::{Http2, Sending};

/// The memory for bodies.
const MEMORY: u64 = 500_000;
/// The number of bytes of each body that are not counted.
const FREE: usize = 16 << 10;
/// A body that fits into the memory twice, but not three times.
const LARGE: usize = 250_000;

/// Reads bytes.
#[endpoint(put = "/bytes", public)]
async fn file(State(app): State<App>, _: Bytes) {
    app.effect();
}

/// Reads JSON.
#[endpoint(put = "/documents", public)]
async fn document(State(app): State<App>, Json(_): Json<String>) {
    app.effect();
}

/// Reads JSON with the extractor of axum.
#[endpoint(put = "/axum", public)]
async fn axum_document(State(app): State<App>, axum::Json(_): axum::Json<String>) {
    app.effect();
}

/// Reads text.
#[endpoint(put = "/texts", public)]
async fn text(State(app): State<App>, _: String) {
    app.effect();
}

/// Passes on the rejection of the extractor.
#[endpoint(put = "/fallible", public)]
async fn fallible(
    State(app): State<App>,
    body: Result<Bytes, BytesRejection>,
) -> aplomb::Result<()> {
    body?;
    app.effect();
    Ok(())
}

/// Reads its body before the limit is checked.
#[endpoint(put = "/limited", public, rate_limit("1000/min", by = ip))]
async fn limited(State(app): State<App>, _: Bytes) {
    app.effect();
}

/// Reads its body before the record of its key begins.
#[endpoint(post = "/payments", idempotent)]
async fn pay(State(app): State<App>, Json(_): Json<String>) {
    app.effect();
}

/// Reads its body and waits until the test releases it.
#[endpoint(put = "/held", public)]
async fn held(State(app): State<App>, _: Bytes) {
    app.hold().await;
}

/// Drops its body and waits until the test releases it.
#[endpoint(post = "/dropped", idempotent)]
async fn drop_body(State(app): State<App>, body: Bytes) {
    drop(body);
    app.hold().await;
}

/// Reads its body part by part.
#[endpoint(put = "/streams", public)]
async fn stream(request: Request) -> String {
    let (mut body, mut size) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        size += frame.expect("a part").data_ref().map_or(0, Bytes::len);
    }
    size.to_string()
}

/// Reads a form.
#[endpoint(put = "/forms", public)]
async fn form(mut form: Multipart) -> aplomb::Result<String> {
    let mut size = 0;
    while let Some(mut field) = form.next_field().await? {
        while let Some(part) = field.chunk().await? {
            size += part.len();
        }
    }
    Ok(size.to_string())
}

async fn service() -> TestService {
    let routes = routes![
        file,
        document,
        axum_document,
        text,
        fallible,
        limited,
        pay,
        held,
        drop_body,
        stream,
        form
    ];
    let api = |api: Api<App>| api.body_limit(400_000).body_memory(MEMORY);
    TestService::start_with(routes, api).await
}

const BUFFERING: [&str; 7] = [
    "/bytes",
    "/documents",
    "/axum",
    "/texts",
    "/fallible",
    "/limited",
    "/payments",
];

fn method(path: &str) -> Method {
    match path {
        "/payments" | "/dropped" => Method::POST,
        _ => Method::PUT,
    }
}

/// Returns a JSON string with a length of `size` bytes.
fn json(size: usize) -> String {
    format!("\"{}\"", "x".repeat(size - 2))
}

impl TestService {
    fn with_body(&self, path: &str, size: usize) -> ClientRequest {
        self.with_key(path, size, "k")
    }

    fn with_key(&self, path: &str, size: usize, key: &str) -> ClientRequest {
        let request = self.client.request(method(path), path).bearer(ALICE);
        request.idempotency_key(key).json(json(size))
    }

    /// Starts two requests that use up the memory until the test releases them.
    async fn use_up(&self) -> Vec<tokio::task::JoinHandle<()>> {
        let mut requests = Vec::new();
        for _ in 0..2 {
            let request = self.with_body("/held", LARGE);
            requests.push(tokio::spawn(async move {
                assert_eq!(request.send().await.status, 200);
            }));
            self.app.until_held().await;
        }
        requests
    }

    async fn release(&self, requests: Vec<tokio::task::JoinHandle<()>>) {
        for request in requests {
            self.app.release();
            request.await.expect("a response");
        }
    }

    /// Waits until a large body passes.
    async fn until_free(&self) {
        eventually("the memory is free", async || {
            self.with_body("/bytes", 400_000).send().await.status == 200
        })
        .await;
    }
}

#[track_caller]
fn assert_overloaded(problem: &Value, retry_after: Option<&str>) {
    assert_eq!(problem["code"], "OVERLOADED", "{problem}");
    assert_eq!(problem["retryable"], true, "{problem}");
    let seconds = retry_after.and_then(|seconds| seconds.parse().ok());
    assert!(seconds.is_some_and(|seconds| (1..=3).contains(&seconds)));
}

#[tokio::test]
async fn a_large_body_is_a_503_while_the_memory_is_used_up_and_small_bodies_pass() {
    let service = service().await;
    let held = service.use_up().await;
    for path in BUFFERING {
        let response = service.with_body(path, LARGE).send().await;
        let problem = response.problem(503, "OVERLOADED");
        assert_overloaded(&problem, response.header("retry-after"));
    }
    assert_eq!(service.app.effects(), 0);
    for path in BUFFERING {
        let small = service.with_key(path, FREE, "small");
        assert_eq!(small.send().await.status, 200, "{path}");
    }
    service.release(held).await;
    service.until_free().await;
    for path in BUFFERING {
        // The refused request with this key began no record.
        let response = service.with_body(path, LARGE).send().await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        assert!(!response.replayed());
    }
}

#[tokio::test]
async fn an_http2_client_gets_the_same_responses() {
    let service = service().await;
    let held = service.use_up().await;
    let mut http2 = Http2::connect(&service.server.url("")).await;
    let request = |path: &str| {
        http::Request::builder()
            .method(method(path))
            .uri(format!("http://x{path}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {ALICE}"))
            .header("idempotency-key", "k")
    };
    for path in BUFFERING {
        let response = http2.send(request(path), json(LARGE).as_bytes()).await;
        assert_eq!(response.status(), 503, "{path}");
        let problem = serde_json::from_slice(response.body()).expect("a document");
        let retry_after = response.headers().get("retry-after");
        assert_overloaded(&problem, retry_after.and_then(|value| value.to_str().ok()));
    }
    let response = http2.send(request("/bytes"), json(FREE).as_bytes()).await;
    assert_eq!(response.status(), 200);
    service.release(held).await;
    service.until_free().await;
    for path in BUFFERING {
        let response = http2.send(request(path), json(LARGE).as_bytes()).await;
        assert_eq!(response.status(), 200, "{path}");
    }
    http2.close().await;
}

#[tokio::test]
async fn a_refused_body_is_drained_so_that_the_connection_can_be_reused() {
    let service = service().await;
    let held = service.use_up().await;
    let mut raw = service.client.raw().await;
    for _ in 0..2 {
        raw.write(&head("/bytes", 400_000)).await;
        raw.write(&"x".repeat(400_000)).await;
        let response = raw.response().await;
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    }
    service.release(held).await;
}

/// Returns the head of an HTTP/1.1 request.
fn head(path: &str, length: usize) -> String {
    let method = method(path);
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\
         idempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The size of an incomplete body that leaves no memory for a large one.
const INCOMPLETE: usize = 350_000;

/// Returns `true` as soon as the memory is used up by an incomplete body. Returns `false` if the
/// incomplete body itself seems to have been refused.
async fn is_used_up(service: &TestService) -> bool {
    for _ in 0..100 {
        if service.with_body("/bytes", LARGE).send().await.status == 503 {
            return true;
        }
    }
    false
}

/// Opens a connection that has sent an incomplete body, which is in the memory.
async fn send_incomplete(service: &TestService, path: &str) -> RawConnection {
    for _ in 0..20 {
        let mut raw = service.client.raw().await;
        raw.write(&head(path, INCOMPLETE + 1)).await;
        raw.write(&"x".repeat(INCOMPLETE)).await;
        if is_used_up(service).await {
            return raw;
        }
    }
    panic!("the incomplete body was refused 20 times")
}

/// Opens a stream that has sent an incomplete body, which is in the memory.
async fn stream_incomplete(service: &TestService, http2: &mut Http2, path: &str) -> Sending {
    for _ in 0..20 {
        let head = http::Request::builder()
            .method(method(path))
            .uri(format!("http://x{path}"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {ALICE}"))
            .header("idempotency-key", "k");
        let mut sending = http2.begin(head).await;
        sending
            .write("x".repeat(INCOMPLETE).as_bytes(), false)
            .await;
        if is_used_up(service).await {
            return sending;
        }
    }
    panic!("the incomplete body was refused 20 times")
}

#[tokio::test]
async fn a_client_that_hangs_up_gives_its_memory_back() {
    let service = service().await;
    for path in ["/bytes", "/documents", "/payments"] {
        drop(send_incomplete(&service, path).await);
        service.until_free().await;
        let mut http2 = Http2::connect(&service.server.url("")).await;
        stream_incomplete(&service, &mut http2, path).await.reset();
        service.until_free().await;
        let sending = stream_incomplete(&service, &mut http2, path).await;
        drop(sending);
        http2.close().await;
        service.until_free().await;
    }
}

#[tokio::test]
async fn a_body_in_tiny_parts_takes_more_memory_than_its_bytes() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    let chunks = "1\r\nx\r\n".repeat(30_000);
    raw.write("PUT /bytes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let response = raw.exchange(format!("{chunks}0\r\n\r\n").as_bytes()).await;
    let response = String::from_utf8_lossy(&response);
    assert!(response.contains("\"code\":\"OVERLOADED\""), "{response}");
}

#[tokio::test]
async fn an_announced_length_takes_no_memory() {
    let service = service().await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        let mut raw = service.client.raw().await;
        raw.write(&head("/bytes", 400_000)).await;
        raw.write(&"x".repeat(FREE)).await;
        silent.push(raw);
    }
    let response = service.with_body("/bytes", 400_000).send().await;
    assert_eq!(response.status, 200);
    drop(silent);
}

#[tokio::test]
async fn the_body_of_a_request_with_a_key_takes_memory_until_the_request_ends() {
    let service = service().await;
    let mut waiting = Vec::new();
    for key in ["c", "d"] {
        let request = service.with_key("/dropped", LARGE, key);
        waiting.push(tokio::spawn(async move {
            assert_eq!(request.send().await.status, 200);
        }));
        service.app.until_held().await;
    }
    let response = service.with_body("/bytes", LARGE).send().await;
    response.problem(503, "OVERLOADED");
    service.release(waiting).await;
}

#[tokio::test]
async fn a_handler_that_reads_its_body_part_by_part_takes_no_memory() {
    let service = service().await;
    let held = service.use_up().await;
    let response = service.with_body("/streams", 400_000).send().await;
    assert_eq!((response.status.as_u16(), response.text()), (200, "400000"));
    let part = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n";
    let form = format!("{part}{}\r\n--x--\r\n", "1".repeat(300_000));
    let response = service
        .client
        .request(Method::PUT, "/forms")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(form)
        .send()
        .await;
    assert_eq!((response.status.as_u16(), response.text()), (200, "300000"));
    service.release(held).await;
}
