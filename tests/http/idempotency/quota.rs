//! Tests the quota of a caller in a memory store that is almost full (A27).

use std::sync::Arc;

use aplomb::store::{MemoryLimits, MemoryRecords, Store};
use aplomb::testing::TestClock;

use super::*;

const MAX_RECORDS: usize = 20;

/// Starts the service with a store of [`MAX_RECORDS`] records. The peer is a trusted proxy.
async fn small_service() -> TestService {
    let clock = TestClock::new();
    let records = MemoryRecords::with_bounds(MAX_RECORDS, 1 << 20, Arc::new(clock));
    let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(records));
    TestService::start_with(routes(), |api| {
        api.store(store).trusted_proxies("127.0.0.1")
    })
    .await
}

/// Sends requests with new keys until one is refused. Returns the number of accepted requests and
/// the refusal.
async fn fill(send: impl AsyncFn(usize) -> ClientResponse) -> (usize, ClientResponse) {
    for number in 0..=MAX_RECORDS {
        let response = send(number).await;
        if response.status.is_client_error() {
            return (number, response);
        }
        assert!(response.status.is_success(), "{response:?}");
    }
    panic!("the store accepts more records than its limit");
}

fn order_of(service: &TestService, caller: &str, key: usize) -> ClientRequest {
    let request = service.client.post("/v1/orders").bearer(caller);
    request
        .idempotency_key(&format!("key-{key}"))
        .json(VALID_ORDER)
}

fn guest_order_from(service: &TestService, address: &str, key: usize) -> ClientRequest {
    let request = service.client.post("/v1/guest-orders");
    request
        .header("x-forwarded-for", address)
        .idempotency_key(&format!("{UUID}-{address}-{key}"))
}

#[tokio::test]
async fn a27_a_caller_who_fills_the_memory_store_gets_a_429_and_another_caller_still_runs() {
    let service = small_service().await;
    let send = async |key| order_of(&service, ALICE, key).send().await;
    let (accepted, refused) = fill(send).await;
    assert_eq!(accepted, MAX_RECORDS / 4 * 3 + 1);
    let problem = refused.problem(429, "IDEMPOTENCY_QUOTA_EXCEEDED");
    assert_eq!(problem["retryable"], true);
    // The clock of the store does not advance, and responses are stored for 24 hours.
    assert_eq!(refused.header_number("retry-after"), 24 * 3600);

    let other = order_of(&service, BOB, 0).send().await;
    assert_eq!(other.status, 201);
    let anonymous = guest_order_from(&service, "192.0.2.1", 0).send().await;
    assert_eq!(anonymous.status, 200);
    assert_eq!(service.app.effects(), accepted + 2);

    let replay = order_of(&service, ALICE, 0).send().await;
    assert!(replay.replayed(), "{replay:?}");
    let changed = order_of(&service, ALICE, 0).json(r#"{"item": "salt"}"#);
    changed.send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let again = order_of(&service, ALICE, accepted).send().await;
    again.problem(429, "IDEMPOTENCY_QUOTA_EXCEEDED");
    assert_eq!(service.app.effects(), accepted + 2);
}

#[tokio::test]
async fn a27_anonymous_callers_who_fill_the_memory_store_are_counted_by_address() {
    for (greedy, same_network, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ] {
        let service = small_service().await;
        let send = async |key| guest_order_from(&service, greedy, key).send().await;
        let (accepted, refused) = fill(send).await;
        assert_eq!(accepted, MAX_RECORDS / 4 * 3 + 1, "{greedy}");
        refused.problem(429, "IDEMPOTENCY_QUOTA_EXCEEDED");
        let neighbour = guest_order_from(&service, same_network, 100).send().await;
        neighbour.problem(429, "IDEMPOTENCY_QUOTA_EXCEEDED");

        let stranger = guest_order_from(&service, other, 0).send().await;
        assert_eq!(stranger.status, 200, "{other}");
        let caller = order_of(&service, ALICE, 0).send().await;
        assert_eq!(caller.status, 201);
        assert_eq!(service.app.effects(), accepted + 2);

        let replay = guest_order_from(&service, greedy, 0).send().await;
        assert!(replay.replayed(), "{replay:?}");
    }
}
