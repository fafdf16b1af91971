//! Request costs that a function determines.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::ClientResponse;
use http::request::Parts;

use super::{get, has_limit_fields};
use crate::app::{ALICE, App, TestService};

/// Returns the number of rows in the query.
fn rows(head: &Parts) -> u64 {
    let rows = head
        .uri
        .query()
        .and_then(|query| query.strip_prefix("rows="));
    assert_ne!(rows, Some("none"), "the cost of this request is secret");
    rows.and_then(|rows| rows.parse().ok()).unwrap_or(1)
}

/// Takes a token for each row.
#[endpoint(get = "/export", rate_limit("60/min", burst = 10, cost = rows))]
async fn export(State(app): State<App>) {
    app.effect();
}

/// Has a limit that counts rows, and a limit that counts requests.
#[endpoint(
    get = "/export-both",
    rate_limit("60/min", burst = 10, cost = rows, name = "rows"),
    rate_limit("60/min", burst = 4, name = "requests")
)]
async fn export_both() {}

/// Has a shadow limit that counts rows.
#[endpoint(
    get = "/export-shadow",
    rate_limit("60/min", burst = 2, cost = rows, shadow),
    rate_limit("60/min", burst = 3)
)]
async fn export_shadow() {}

static COST_CALLS: AtomicUsize = AtomicUsize::new(0);

fn count_calls(_: &Parts) -> u64 {
    COST_CALLS.fetch_add(1, Ordering::SeqCst);
    2
}

/// Requires an idempotency key, and counts the calls of its cost function.
#[endpoint(post = "/import", idempotent, rate_limit("60/min", burst = 10, cost = count_calls))]
async fn import(State(app): State<App>, _: String) {
    app.effect();
}

async fn service() -> TestService {
    TestService::start(routes![export, export_both, export_shadow, import]).await
}

/// Exports rows. Returns the status and the remaining tokens.
async fn export_rows(service: &TestService, rows: impl core::fmt::Display) -> (u16, u64) {
    let reply = get(service, &format!("/export?rows={rows}"), ALICE).await;
    (
        reply.status.as_u16(),
        reply.header_number("x-ratelimit-remaining"),
    )
}

#[tokio::test]
async fn b08_a_function_determines_the_cost_of_each_request() {
    let service = service().await;
    assert_eq!(export_rows(&service, 3).await, (200, 7));
    assert_eq!(export_rows(&service, 5).await, (200, 2));
    let rejected = get(&service, "/export?rows=4", ALICE).await;
    rejected.problem(429, "RATE_LIMITED");
    assert_eq!(
        (
            rejected.header_number("retry-after"),
            rejected.header_number("x-ratelimit-remaining")
        ),
        (2, 2)
    );
    assert_eq!(export_rows(&service, 2).await, (200, 0));
    assert_eq!(service.app.effects(), 3);
}

#[tokio::test]
async fn b08_a_cost_of_zero_takes_no_tokens_and_is_admitted() {
    let service = service().await;
    assert_eq!(export_rows(&service, 0).await, (200, 10));
    assert_eq!(export_rows(&service, 10).await, (200, 0));
    assert_eq!(export_rows(&service, 1).await.0, 429);
    assert_eq!(export_rows(&service, 0).await, (200, 0));
}

#[tokio::test]
async fn b08_a_cost_above_the_burst_waits_for_a_full_bucket_and_takes_all_its_tokens() {
    let service = service().await;
    assert_eq!(export_rows(&service, 2).await, (200, 8));
    for rows in [11, u64::MAX] {
        let rejected = get(&service, &format!("/export?rows={rows}"), ALICE).await;
        rejected.problem(429, "RATE_LIMITED");
        assert_eq!(
            (
                rejected.header_number("retry-after"),
                rejected.header_number("x-ratelimit-remaining")
            ),
            (2, 8)
        );
    }
    service.clock.advance(Duration::from_secs(2));
    assert_eq!(export_rows(&service, u64::MAX).await, (200, 0));
}

#[tokio::test]
async fn b08_a_cost_function_that_panics_is_a_500_and_takes_no_tokens() {
    let service = service().await;
    let reply = get(&service, "/export?rows=none", ALICE).await;
    reply.problem(500, "INTERNAL");
    assert!(
        !reply.body.windows(6).any(|text| text == b"secret"),
        "the panic message is only in the log"
    );
    assert_eq!(
        (export_rows(&service, 0).await, service.app.effects()),
        ((200, 10), 1)
    );
}

#[tokio::test]
async fn b08_each_of_several_limits_has_its_own_cost() {
    let service = service().await;
    let remaining =
        |reply: &ClientResponse| reply.header("ratelimit").expect("the field").to_owned();
    let reply = get(&service, "/export-both?rows=6", ALICE).await;
    assert_eq!(remaining(&reply), "\"rows\";r=4;t=6, \"requests\";r=3;t=1");
    let rejected = get(&service, "/export-both?rows=6", ALICE).await;
    assert_eq!(
        rejected.problem(429, "RATE_LIMITED")["violated-policies"][0]["name"],
        "rows"
    );
    assert!(
        remaining(&rejected).contains("\"requests\";r=3"),
        "a rejection takes no tokens of either limit"
    );
}

#[tokio::test]
async fn b17_a_shadow_limit_with_a_cost_function_rejects_no_request() {
    let service = service().await;
    for remaining in (0..3).rev() {
        let reply = get(&service, "/export-shadow?rows=50", ALICE).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header_number("x-ratelimit-remaining")
            ),
            (200, remaining)
        );
    }
}

#[tokio::test]
async fn b08_the_cost_of_a_request_with_an_idempotency_key_is_computed_only_once() {
    let service = service().await;
    // A small body is read before the limits decide. A large body is read after they have decided.
    for (key, length, remaining) in [("a", 1, 8), ("a", 1, 6), ("b", 70_000, 4)] {
        let before = COST_CALLS.load(Ordering::SeqCst);
        let call = service
            .client
            .post("/import")
            .bearer(ALICE)
            .idempotency_key(key)
            .body("x".repeat(length));
        let reply = call.send().await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header_number("x-ratelimit-remaining")
            ),
            (200, remaining)
        );
        assert_eq!(COST_CALLS.load(Ordering::SeqCst) - before, 1);
    }
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn b08_local_decisions_use_the_cost_function() {
    let service = service().await;
    service.limits.set_broken(true);
    for (rows, status) in [(6, 200), (6, 429), (0, 200), (4, 200), (1, 429)] {
        let reply = get(&service, &format!("/export?rows={rows}"), ALICE).await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (status, false),
            "{rows} rows"
        );
    }
}
