//! Limits with `on_error = deny`: if the store does not decide the limit, the request gets a 503.

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientResponse, eventually};

use super::{get, has_limit_fields};
use crate::app::{ALICE, App, TestService};

/// Rejects a request if the store does not decide the limit.
#[endpoint(get = "/strict", rate_limit("4/day", on_error = deny))]
async fn strict(State(app): State<App>) {
    app.effect();
}

/// Requires an idempotency key. Rejects a request if the store does not decide the limit.
#[endpoint(post = "/strict", idempotent, rate_limit("4/day", on_error = deny), type_name = strict_post)]
async fn post_strict(State(app): State<App>, _: String) {
    app.effect();
}

/// Has a limit that an instance may decide locally, and a limit that only the store decides.
#[endpoint(get = "/mixed", rate_limit("9/day"), rate_limit("4/day", on_error = deny, name = "strict"))]
async fn mixed(State(app): State<App>) {
    app.effect();
}

/// Has a limit that the instance decides while the store is down, and a shadow limit.
#[endpoint(get = "/lax", rate_limit("4/day", on_error = local), rate_limit("2/day", shadow))]
async fn lax(State(app): State<App>) {
    app.effect();
}

async fn service() -> TestService {
    TestService::start(routes![strict, strict_post, mixed, lax]).await
}

fn assert_denied(reply: &ClientResponse) {
    let problem = reply.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(
        (
            problem["retryable"].as_bool(),
            reply.header_number("retry-after")
        ),
        (Some(true), 1)
    );
    assert!(!has_limit_fields(reply), "{:?}", reply.headers);
}

#[tokio::test]
async fn b15_with_on_error_deny_requests_are_a_503_while_the_store_is_down() {
    let service = service().await;
    assert_eq!(
        get(&service, "/strict", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        3
    );
    service.limits.set_broken(true);
    // The first three calls fail in the store. Then the breaker is open, and the other calls do not
    // reach the store.
    for _ in 0..6 {
        assert_denied(&get(&service, "/strict", ALICE).await);
    }
    assert_denied(&get(&service, "/mixed", ALICE).await);
    assert_eq!(get(&service, "/lax", ALICE).await.status, 200);
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn b15_with_on_error_deny_requests_are_a_503_while_the_store_is_slow() {
    let service = service().await;
    service.limits.hang(true);
    for _ in 0..4 {
        assert_denied(&get(&service, "/mixed", ALICE).await);
    }
    service.limits.hang(false);
    assert_denied(&get(&service, "/strict", ALICE).await);
    assert_eq!(service.app.effects(), 0);
}

#[tokio::test]
async fn b15_with_on_error_deny_one_failed_call_rejects_one_request() {
    let service = service().await;
    service.limits.set_broken(true);
    assert_denied(&get(&service, "/strict", ALICE).await);
    service.limits.set_broken(false);
    assert_eq!(
        get(&service, "/strict", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        3,
        "the failed call took no tokens"
    );
}

#[tokio::test]
async fn b15_a_denied_request_with_an_idempotency_key_leaves_no_record() {
    let service = service().await;
    let post = async |key: &str, length| {
        service
            .client
            .post("/strict")
            .bearer(ALICE)
            .idempotency_key(key)
            .body("x".repeat(length))
            .send()
            .await
    };
    service.limits.set_broken(true);
    // A small body is read before the limits decide. A large body is read after they have decided.
    // Two failed calls do not open the breaker, but a third one would.
    for (key, length) in [("a", 1), ("b", 70_000)] {
        assert_denied(&post(key, length).await);
    }
    service.limits.set_broken(false);
    for key in ["a", "b"] {
        let other = post(key, 2).await;
        assert!(
            other.status == 200 && !other.replayed(),
            "the key is free: {:?}",
            other.body
        );
    }
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn b15_with_on_error_deny_the_store_decides_again_after_an_outage() {
    let service = service().await;
    service.limits.set_broken(true);
    for _ in 0..4 {
        assert_denied(&get(&service, "/strict", ALICE).await);
    }
    service.limits.set_broken(false);
    eventually("the store decides", async || {
        get(&service, "/strict", ALICE).await.status == 200
    })
    .await;
    assert_eq!(
        get(&service, "/strict", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
}
