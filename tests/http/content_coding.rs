//! Content codings of request bodies, over HTTP/1.1 and HTTP/2.

use aplomb::prelude::*;
use aplomb::routes;
use axum::body::Body;
use axum::extract::{Multipart, Request};
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use serde_json::Value;

use crate::app::{ALICE, App, TestService};
use crate::http2::Http2;

/// Reads JSON.
#[endpoint(put = "/documents", public)]
async fn document(State(app): State<App>, Json(_): Json<Value>) {
    app.effect();
}

/// Reads bytes.
#[endpoint(put = "/bytes", public, body_limit = "16MiB")]
async fn file(State(app): State<App>, _: Bytes) {
    app.effect();
}

/// Reads a form.
#[endpoint(put = "/forms", public)]
async fn form(State(app): State<App>, _: Multipart) {
    app.effect();
}

/// Reads its body before the limit is checked.
#[endpoint(put = "/limited", public, rate_limit("1000/min", by = ip))]
async fn limited(State(app): State<App>, _: Bytes) {
    app.effect();
}

/// Reads its body before the record of its key begins.
#[endpoint(post = "/payments", idempotent)]
async fn pay(State(app): State<App>, Json(_): Json<Value>) {
    app.effect();
}

/// Takes the request as it arrived.
#[endpoint(put = "/requests", public, body_limit = "16MiB")]
async fn request(request: Request) -> String {
    let coding = request.headers().get(CONTENT_ENCODING);
    let coding = coding.and_then(|coding| coding.to_str().ok());
    coding.unwrap_or_default().to_owned()
}

/// Takes the body as it arrived.
#[endpoint(put = "/raw", public)]
async fn raw(State(app): State<App>, _: Body) {
    app.effect();
}

/// Takes the request as it arrived, under a key.
#[endpoint(post = "/imports", idempotent)]
async fn import(State(app): State<App>, _: Request) {
    app.effect();
}

/// Reads no body.
#[endpoint(put = "/switch", public)]
async fn switch(State(app): State<App>) {
    app.effect();
}

async fn service() -> TestService {
    let routes = routes![
        document, file, form, limited, pay, request, raw, import, switch
    ];
    TestService::start(routes).await
}

/// The values of the `Content-Encoding` lines of a request whose body is coded.
const CODED: [&[&str]; 5] = [
    &["gzip"],
    &["identity, gzip"],
    &["GZIP,identity"],
    &["identity", "br"],
    &["unknown"],
];

/// The values of the `Content-Encoding` lines of a request whose body is not coded.
const PLAIN: [&[&str]; 4] = [
    &["identity"],
    &[""],
    &["Identity, IDENTITY"],
    &["", "identity"],
];

const DECODING: [&str; 4] = ["/documents", "/bytes", "/forms", "/limited"];

#[tokio::test]
async fn a_coded_body_is_a_415_that_names_the_accepted_coding() {
    let service = service().await;
    let mut http2 = Http2::connect(&service.server.url("")).await;
    for path in DECODING.into_iter().chain(["/payments"]) {
        for lines in CODED {
            let (mut first, mut second) = (
                service.client.request(method(path), path),
                http::Request::builder()
                    .method(method(path))
                    .uri(format!("http://x{path}"))
                    .header("content-type", media(path))
                    .header("authorization", format!("Bearer {ALICE}"))
                    .header("idempotency-key", "k"),
            );
            for line in lines {
                first = first.header("content-encoding", line);
                second = second.header("content-encoding", *line);
            }
            let first = first.bearer(ALICE).idempotency_key("k");
            let first = first.header("content-type", media(path));
            let response = first.body("{}").send().await;
            let problem = response.problem(415, "UNSUPPORTED_MEDIA_TYPE");
            assert_eq!(problem["retryable"], false, "{path} {lines:?}");
            assert_eq!(response.header("accept-encoding"), Some("identity"));
            let response = http2.send(second, b"{}").await;
            assert_eq!(response.status(), 415, "{path} {lines:?}");
            assert_eq!(response.headers()["accept-encoding"], "identity");
            let problem: Value = serde_json::from_slice(response.body()).expect("a document");
            assert_eq!(problem["code"], "UNSUPPORTED_MEDIA_TYPE");
        }
    }
    http2.close().await;
    assert_eq!(service.app.effects(), 0);
    // The refused requests began no record.
    let pay = service.client.post("/payments").bearer(ALICE);
    assert_eq!(pay.idempotency_key("k").json("1").send().await.status, 200);
}

fn method(path: &str) -> http::Method {
    if path == "/payments" {
        http::Method::POST
    } else {
        http::Method::PUT
    }
}

fn media(path: &str) -> &'static str {
    if path == "/forms" {
        "multipart/form-data; boundary=x"
    } else {
        "application/json"
    }
}

#[tokio::test]
async fn a_body_with_the_coding_identity_is_accepted() {
    let service = service().await;
    for path in DECODING {
        for lines in PLAIN {
            let mut put = service.client.request(http::Method::PUT, path);
            for line in lines {
                put = put.header("content-encoding", line);
            }
            let response = put
                .header("content-type", media(path))
                .body("{}")
                .send()
                .await;
            assert_eq!(response.status, 200, "{path} {lines:?}: {response:?}");
        }
    }
    assert_eq!(service.app.effects(), DECODING.len() * PLAIN.len());
}

#[tokio::test]
async fn a_coding_is_ignored_if_the_endpoint_decodes_nothing_or_if_there_is_no_body() {
    let service = service().await;
    let put = |path: &str| {
        service
            .client
            .request(http::Method::PUT, path)
            .header("content-encoding", "gzip")
    };
    let response = put("/requests").body("coded").send().await;
    assert_eq!((response.status.as_u16(), response.text()), (200, "gzip"));
    for path in ["/raw", "/switch"] {
        assert_eq!(put(path).body("coded").send().await.status, 200, "{path}");
    }
    for path in ["/bytes", "/limited"] {
        assert_eq!(put(path).send().await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a05_a_retry_with_another_content_coding_is_refused() {
    let service = service().await;
    let import = |coding: &str| {
        let post = service.client.post("/imports").bearer(ALICE);
        let post = post.idempotency_key("k").header("content-encoding", coding);
        post.body("coded").send()
    };
    assert_eq!(import("gzip").await.status, 200);
    assert!(import("GZIP").await.replayed());
    import("br").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a_coded_body_is_drained_so_that_the_connection_can_be_reused() {
    const SIZE: usize = 8_000_000;
    let service = service().await;
    let mut raw = service.client.raw().await;
    let body = "x".repeat(SIZE);
    for _ in 0..2 {
        raw.write(&format!(
            "PUT /bytes HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: {SIZE}\r\n\r\n"
        ))
        .await;
        raw.write(&body).await;
        let response = raw.response().await;
        assert!(response.starts_with("HTTP/1.1 415"), "{response}");
    }
    let mut http2 = Http2::connect(&service.server.url("")).await;
    let head = http::Request::put("http://x/bytes").header("content-encoding", "gzip");
    let response = http2.send(head, body.as_bytes()).await;
    assert_eq!(response.status(), 415);
    http2.close().await;
}

#[tokio::test]
async fn a_client_that_waits_for_continue_does_not_send_a_coded_body() {
    let service = service().await;
    let mut raw = service.client.raw().await;
    raw.write(
        "PUT /bytes HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-encoding: gzip\r\n\
         content-length: 9\r\n\r\n",
    )
    .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 415"), "{response}");
}
