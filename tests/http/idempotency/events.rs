//! Tests the events that change a record while its request runs (the tables in
//! `docs/guide/idempotency.md`, "How the handler's outcome changes the record" and "Failures").

use std::sync::Arc;

use aplomb::store::{MemoryLimits, MemoryRecords};
use aplomb::testing::{FaultyRecords, eventually};

use super::*;

/// Counts an effect when it is cancelled.
#[endpoint(post = "/cancelled", version = 1, idempotent(optional))]
async fn cancelled(State(app): State<App>) {
    struct Cancelled(App);

    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.effect();
        }
    }

    let _cancelled = Cancelled(app.clone());
    app.hold().await;
}

#[tokio::test]
async fn a11_a_client_that_disconnects_does_not_cancel_the_handler() {
    let service = TestService::start(aplomb::routes![place_order, cancelled]).await;
    let mut connections = Vec::new();
    for (path, key) in [("orders", "idempotency-key: k\r\n"), ("cancelled", "")] {
        let mut raw = service.client.raw().await;
        let head = format!(
            "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n{key}"
        );
        let body = format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n{HELD}",
            HELD.len()
        );
        raw.write(&(head + &body)).await;
        service.app.until_held().await;
        connections.push(raw);
    }
    // The server handles disconnects in order. When the effect of the cancelled handler is visible,
    // the server has also handled the earlier disconnect of the client of the run.
    connections.into_iter().for_each(drop);
    eventually("the cancelled handler is dropped", async || {
        service.app.effects() > 0
    })
    .await;
    service.app.release();
    let reply = retry_until_settled(&service, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
    assert_eq!(
        service.app.effects(),
        2,
        "one effect of the cancelled handler and one of the run"
    );
}

#[tokio::test]
async fn a12_a_run_over_its_maximum_duration_is_unknown_and_never_rerun() {
    // The thread of the lease renewer uses the system clock, so this test needs short durations.
    let service = TestService::start_with(aplomb::routes![put_order], |api| {
        let (lease, max_handler_duration) =
            (Duration::from_millis(300), Duration::from_millis(400));
        api.store(Store::memory())
            .lease(lease)
            .max_handler_duration(max_handler_duration)
    });
    let service = service.await;
    let first = spawn_held_put(&service.client);
    service.app.until_held().await;
    retry_put_until_settled(&service.client)
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    service.app.release();
    assert_eq!(first.await.expect("a response").status, 201);
    assert!(
        held_put_request(&service.client).send().await.replayed(),
        "the run has completed its record"
    );
    assert_eq!(
        service.app.effects(),
        1,
        "a rerun would have a second effect"
    );
}

#[tokio::test]
async fn a16_a_2xx_is_stored_with_status_fields_and_body() {
    let service = service().await;
    let first = order(&service.client, "k", VALID_ORDER).send().await;
    let second = order(&service.client, "k", VALID_ORDER).send().await;
    assert!(first.status == 201 && !first.replayed() && second.replayed());
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.header("location"), Some("/orders/0"));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(second.header("cache-control"), Some("no-store"));
    assert_ne!(second.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a16_a_4xx_of_the_handler_is_stored() {
    let (service, first, second) = two_with_status(404).await;
    assert!(!first.replayed() && second.replayed());
    assert_eq!(
        (second.status.as_u16(), &second.body[..]),
        (404, &b"as requested"[..])
    );
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a16_408_425_and_429_of_the_handler_free_the_key() {
    for code in [408, 425, 429] {
        let (service, first, second) = two_with_status(code).await;
        assert!(first.status == code && second.status == code && !second.replayed());
        assert_eq!(service.app.effects(), 2);
    }
}

#[tokio::test]
async fn a16_any_other_5xx_leaves_the_outcome_unknown() {
    let (service, first, second) = two_with_status(503).await;
    assert_eq!(first.status, 503);
    second.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a16_a_panic_leaves_the_outcome_unknown() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "panic"}"#;
    order(&service.client, "k", body)
        .send()
        .await
        .problem(500, "INTERNAL");
    order(&service.client, "k", body)
        .send()
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a16_a_response_body_that_breaks_off_leaves_the_outcome_unknown() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "breaks_off"}"#;
    order(&service.client, "k", body)
        .send()
        .await
        .problem(500, "INTERNAL");
    order(&service.client, "k", body)
        .send()
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a16_an_error_without_effects_frees_the_key() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "no_effects"}"#;
    for _ in 0..2 {
        let reply = order(&service.client, "k", body).send().await;
        let problem = reply.problem(503, "SUPPLIER");
        assert_eq!(
            (
                problem["retryable"].as_bool(),
                reply.header_number("retry-after")
            ),
            (Some(true), 2)
        );
    }
    assert_eq!(
        order(&service.client, "k", VALID_ORDER).send().await.status,
        201,
        "the key is free for another request"
    );
}

#[tokio::test]
async fn a16_a_rejection_before_the_handler_frees_the_key() {
    let service = service().await;
    order(&service.client, "k", r#"{"item": 7}"#)
        .send()
        .await
        .problem(422, "VALIDATION_FAILED");
    order(&service.client, "k", "{")
        .send()
        .await
        .problem(400, "MALFORMED_JSON");
    assert_eq!(
        order(&service.client, "k", VALID_ORDER).send().await.status,
        201
    );
}

#[tokio::test]
async fn a17_the_client_gets_its_response_if_the_completion_cannot_be_written() {
    let service = service().await;
    service
        .records
        .fail_next(StoreOperation::Complete, Fault::Lost);
    service
        .records
        .fail_next(StoreOperation::Complete, Fault::Lost);
    let first = order(&service.client, "k", VALID_ORDER).send().await;
    assert_eq!(first.status, 201);
    let second = retry_until_settled(&service, "k", VALID_ORDER).await;
    assert!(second.replayed() && second.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a17_a_completion_with_a_lost_confirmation_is_written_only_once() {
    let service = service().await;
    service
        .records
        .fail_next(StoreOperation::Complete, Fault::ReplyLost);
    let first = order(&service.client, "k", VALID_ORDER).send().await;
    let second = retry_until_settled(&service, "k", VALID_ORDER).await;
    assert!(second.replayed() && second.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a18_after_the_deadline_the_handler_continues_and_its_response_is_stored() {
    let service = service().await;
    let reply = order(&service.client, "k", HELD).send().await;
    assert_eq!(reply.problem(504, "DEADLINE_EXCEEDED")["retryable"], true);
    order(&service.client, "k", HELD)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    service.app.release();
    let reply = retry_until_settled(&service, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a18_a_panic_after_the_deadline_leaves_the_outcome_unknown() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "held_then_panic"}"#;
    order(&service.client, "k", body)
        .send()
        .await
        .problem(504, "DEADLINE_EXCEEDED");
    service.app.release();
    retry_until_settled(&service, "k", body)
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn a12_lease_renewals_keep_a_long_run_in_flight() {
    // The thread of the lease renewer uses the system clock, so this test sleeps for three leases.
    let service = TestService::start_with(aplomb::routes![put_order], |api| {
        api.store(Store::memory()).lease(Duration::from_millis(300))
    });
    let service = service.await;
    let client = service.client.clone();
    let first = {
        let client = client.clone();
        tokio::spawn(async move { held_put_request(&client).send().await })
    };
    service.app.until_held().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    held_put_request(&client)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    service.app.release();
    assert_eq!(first.await.expect("a response").status, 201);
    assert_eq!(service.app.effects(), 1);
}

/// Starts a service with `on_crash = rerun` and leases of 600 ms. The leases use the system clock,
/// like the thread of the lease renewer. Returns the service and its records.
async fn service_with_short_lease() -> (TestService, FaultyRecords<Arc<MemoryRecords>>) {
    let records = FaultyRecords::new(Arc::new(MemoryRecords::new()));
    let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(records.clone()));
    let service = TestService::start_with(aplomb::routes![put_order], |api| {
        api.store(store).lease(Duration::from_millis(600))
    });
    (service.await, records)
}

async fn put_order_once(client: &Client) -> ClientResponse {
    client
        .request(http::Method::PUT, "/v1/orders/1")
        .bearer(ALICE)
        .idempotency_key("k")
        .json(VALID_ORDER)
        .send()
        .await
}

#[tokio::test]
async fn a12_the_lease_is_renewed_until_the_response_is_written() {
    let (service, records) = service_with_short_lease().await;
    (0..1000).for_each(|_| records.fail_next(StoreOperation::Complete, Fault::Lost));
    assert_eq!(put_order_once(&service.client).await.status, 201);
    // The sleep takes two leases.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    put_order_once(&service.client)
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    assert_eq!(
        service.app.effects(),
        1,
        "a lapsed lease would start another run"
    );
}

#[tokio::test]
async fn a17_a_response_is_stored_after_an_outage_of_several_leases() {
    let (service, records) = service_with_short_lease().await;
    // The completion is repeated every 150 ms, so twelve failures last for three leases.
    (0..12).for_each(|_| records.fail_next(StoreOperation::Complete, Fault::Lost));
    let first = put_order_once(&service.client).await;
    assert_eq!(first.status, 201);
    let retry = until_settled(async || put_order_once(&service.client).await).await;
    assert!(retry.replayed() && retry.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_a_handler_that_blocks_its_thread_does_not_stop_the_renewals() {
    /// Blocks its thread, which no handler should do.
    #[endpoint(put = "/orders/{id}", version = 1, idempotent)]
    async fn block_thread(State(app): State<App>, Path(_): Path<u64>) {
        app.effect();
        // The handler blocks for three leases.
        std::thread::sleep(Duration::from_millis(900));
    }
    let service = TestService::start_with(aplomb::routes![block_thread], |api| {
        api.store(Store::memory()).lease(Duration::from_millis(300))
    });
    let service = service.await;
    let first = spawn_held_put(&service.client);
    eventually("the handler runs", async || service.app.effects() > 0).await;
    // 500 ms are longer than a lease of 300 ms, and shorter than the run of the handler.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let retry = held_put_request(&service.client).send().await;
    assert!(
        retry.status == 409 || retry.replayed(),
        "expected a 409 or a replay: {}",
        retry.status
    );
    assert_eq!(first.await.expect("a response").status, 200);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a17_a_completion_that_is_never_written_leaves_the_outcome_unknown() {
    let service = service().await;
    (0..1000).for_each(|_| {
        service
            .records
            .fail_next(StoreOperation::Complete, Fault::Lost);
    });
    assert_eq!(
        order(&service.client, "k", VALID_ORDER).send().await.status,
        201,
        "the client gets the response"
    );
    order(&service.client, "k", VALID_ORDER)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    service.clock.advance(Duration::from_secs(31));
    let other = other_instance(&service).await;
    order(&other.client(), "k", VALID_ORDER)
        .send()
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    order(&service.client, "k", VALID_ORDER)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    assert_eq!(service.app.effects(), 1);
}
