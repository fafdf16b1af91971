//! Tests that the running program sends the responses that the README shows.

use aplomb::testing::{ClientResponse, Process, Program};
use serde_json::json;

fn start() -> Process {
    Program::new(env!("CARGO_BIN_EXE_hello")).start()
}

#[tokio::test]
async fn a_greeting_has_the_remaining_requests_of_the_limit() {
    let service = start();
    let response = service.client().get("/v1/hello/Ada").send().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-ratelimit-remaining"), Some("59"));
    assert_eq!(
        response.header("ratelimit-policy"),
        Some(r#""default";q=60;w=60"#)
    );
    assert_eq!(response.json(), json!({ "text": "Hello, Ada!" }));
}

async fn visit(service: &Process, key: &str) -> ClientResponse {
    service
        .client()
        .post("/v1/visits")
        .idempotency_key(key)
        .send()
        .await
}

#[tokio::test]
async fn a_visit_is_counted_once_for_each_key() {
    let service = start();
    let first = visit(&service, "8e03978e-40d5-43dd-bc93-6894a57f9324").await;
    let retry = visit(&service, "8e03978e-40d5-43dd-bc93-6894a57f9324").await;
    let other = visit(&service, "0b2ac1c8-9b4f-4b0c-8f1e-6a1f5d3c2b10").await;
    assert!(retry.replayed());
    for (response, number) in [(first, 1), (retry, 1), (other, 2)] {
        assert_eq!(
            (response.status.as_u16(), response.json()),
            (201, json!({ "number": number }))
        );
    }
}

#[tokio::test]
async fn a_visit_without_a_key_is_a_400() {
    let service = start();
    let problem = service
        .client()
        .post("/v1/visits")
        .send()
        .await
        .problem(400, "IDEMPOTENCY_KEY_MISSING");
    assert_eq!(
        problem["type"],
        "urn:aplomb:problem:IDEMPOTENCY_KEY_MISSING"
    );
}
