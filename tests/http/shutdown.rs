//! Graceful shutdown.

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{Client, Fault, StoreOperation, TestServer};

use crate::app::{ALICE, App, TestService};

/// Waits until the test releases it.
#[endpoint(get = "/held")]
async fn held(State(app): State<App>) -> &'static str {
    app.hold().await;
    app.effect();
    "done"
}

/// Requires an idempotency key. Waits beyond its deadline until the test releases it.
#[endpoint(post = "/held", idempotent, timeout = "20ms")]
async fn held_keyed(State(app): State<App>) -> &'static str {
    app.hold().await;
    app.effect();
    "done"
}

#[tokio::test]
async fn shutdown_completes_a_running_request_and_accepts_no_new_one() {
    let service = TestService::start(routes![held, held_keyed]).await;
    let client = service.client.clone();
    let running = tokio::spawn(async move { client.get("/held").bearer(ALICE).send().await });
    service.app.until_held().await;
    let stopping = tokio::spawn(service.server.stop());
    service.client.until_refused().await;
    service.app.release();
    assert_eq!(running.await.expect("a response").body, "done");
    assert!(
        stopping.await.expect("no panic"),
        "no connection was cut off"
    );
}

#[tokio::test]
async fn a11_shutdown_waits_for_runs_with_an_idempotency_key() {
    let service = TestService::start(routes![held, held_keyed]).await;
    let reply = service
        .client
        .post("/held")
        .bearer(ALICE)
        .idempotency_key("k")
        .send()
        .await;
    reply.problem(504, "DEADLINE_EXCEEDED");
    let stopping = tokio::spawn(service.server.stop());
    service.client.until_refused().await;
    assert!(!stopping.is_finished() && service.app.effects() == 0);
    service.app.release();
    assert!(
        stopping.await.expect("no panic"),
        "no connection was cut off"
    );
    assert_eq!(service.app.effects(), 1);
}

/// Requires an idempotency key. Responds immediately.
#[endpoint(post = "/keyed", idempotent)]
async fn keyed(State(app): State<App>) {
    app.effect();
}

#[tokio::test]
async fn a17_shutdown_waits_until_a_response_is_stored() {
    let service = TestService::start(routes![keyed]).await;
    (0..4).for_each(|_| {
        service
            .records
            .fail_next(StoreOperation::Complete, Fault::Lost);
    });
    assert_eq!(
        service
            .client
            .post("/keyed")
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
            .await
            .status,
        200
    );
    let next = service.configure(Api::new("test", routes![keyed]));
    let next = TestServer::start(next, service.app.clone())
        .await
        .expect("a valid API");
    assert!(service.server.stop().await, "no connection was cut off");
    let retry = Client::new(next.address())
        .post("/keyed")
        .bearer(ALICE)
        .idempotency_key("k")
        .send()
        .await;
    assert!(retry.status == 200 && retry.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a17_shutdown_does_not_wait_for_a_store_that_is_down() {
    // Shutdown waits for half a lease, so a short lease keeps this test short.
    let service =
        TestService::start_with(routes![keyed], |api| api.lease(Duration::from_millis(600))).await;
    (0..1000).for_each(|_| {
        service
            .records
            .fail_next(StoreOperation::Complete, Fault::Lost);
    });
    assert_eq!(
        service
            .client
            .post("/keyed")
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
            .await
            .status,
        200
    );
    assert!(
        service.server.stop().await,
        "shutdown stops waiting after half a lease"
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_connections() {
    let service = TestService::start(routes![held]).await;
    service.client.get("/nowhere").send().await;
    let _silent = service.client.raw().await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), service.server.stop()).await;
    assert!(stopped.expect("the service stops within 5 s"));
}

#[tokio::test]
async fn shutdown_closes_connections_without_a_complete_request_head() {
    let service = TestService::start(routes![held]).await;
    let mut connections = Vec::new();
    for bytes in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /held HT",
        "GET /held HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut raw = service.client.raw().await;
        raw.write(bytes).await;
        connections.push((bytes, raw));
    }
    for (bytes, mut raw) in connections {
        assert!(raw.is_closed().await, "{bytes:?}");
    }
}

/// Returns a body that is larger than the socket buffers.
#[endpoint(get = "/large", public)]
async fn large() -> String {
    "x".repeat(LARGE)
}

const LARGE: usize = 32 << 20;

#[tokio::test]
async fn shutdown_completes_a_response_that_is_read_slowly() {
    let service = TestService::start(routes![large]).await;
    let mut raw = service.client.raw().await;
    raw.write("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    raw.read_some().await;
    let stopping = tokio::spawn(service.server.stop());
    // 2.5 s is longer than shutdown waits for connections without a request.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(raw.response().await.len() > LARGE);
    assert!(
        stopping.await.expect("no panic"),
        "no connection was cut off"
    );
}

#[tokio::test]
async fn a_request_head_completed_during_shutdown_gets_a_response() {
    let service = TestService::start(routes![held]).await;
    let mut raw = service.client.raw().await;
    raw.write("GET /held HTTP/1.1\r\nhost: x\r\n").await;
    service.client.get("/nowhere").send().await;
    let stopping = tokio::spawn(service.server.stop());
    service.client.until_refused().await;
    raw.write(&format!("authorization: Bearer {ALICE}\r\n\r\n"))
        .await;
    service.app.until_held().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    service.app.release();
    assert!(raw.response().await.ends_with("done"));
    assert!(
        stopping.await.expect("no panic"),
        "no connection was cut off"
    );
}
