//! Limits by a verified header or path parameter.

use aplomb::policies::rate_limit::LimitKey;
use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::{ClientRequest, ClientResponse};

use super::{get, has_limit_fields};
use crate::app::{ALICE, App, BOB, TestService};

/// A limit key that verifies tenants. Alice works for two tenants, and Bob works for one of these
/// two.
struct Tenant;

impl LimitKey for Tenant {
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
        assert_ne!(value, "nobody", "this value panics");
        let works = matches!(
            (caller?.id(), value),
            ("alice" | "bob", "acme") | ("alice", "globex")
        );
        works.then(|| value.to_owned())
    }
}

/// A limit key that verifies a value without a caller.
struct Plan;

impl LimitKey for Plan {
    fn verify(value: &str, _: Option<&Caller>) -> Option<String> {
        (value == "gold, signed").then(|| String::from("gold"))
    }
}

/// Counts requests by the tenant in a header.
#[endpoint(get = "/reports", rate_limit("60/min", burst = 3, by = header("X-Tenant", Tenant)))]
async fn reports(State(app): State<App>) {
    app.effect();
}

/// Counts requests by the tenant in the path.
#[endpoint(
    get = "/tenants/{tenant_id}/reports/{id}",
    version = 1,
    rate_limit("60/min", burst = 3, by = param("tenant_id", Tenant))
)]
async fn report() {}

/// Shares its limit by tenant with `shared_b`.
#[endpoint(get = "/shared-a", rate_limit("60/min", burst = 3, by = header("x-tenant", Tenant), name = "shared"))]
async fn shared_a() {}

/// Shares its limit by tenant with `shared_a`.
#[endpoint(get = "/shared-b", rate_limit("60/min", burst = 3, by = header("x-tenant", Tenant), name = "shared"))]
async fn shared_b() {}

/// Counts anonymous requests by plan.
#[endpoint(get = "/public", public, rate_limit("60/min", burst = 2, by = header("x-plan", Plan)))]
async fn public() {}

/// Requires an idempotency key, and counts requests by tenant.
#[endpoint(post = "/imports", idempotent, rate_limit("60/min", burst = 3, by = header("x-tenant", Tenant)))]
async fn import(_: String) {}

async fn service() -> TestService {
    TestService::start(routes![reports, report, shared_a, shared_b, public, import]).await
}

fn tenant_request(service: &TestService, key: &str, tenant: &str) -> ClientRequest {
    service
        .client
        .get("/reports")
        .bearer(key)
        .header("x-tenant", tenant)
}

/// Returns the status and the remaining tokens of a response.
fn remaining(reply: &ClientResponse) -> (u16, u64) {
    (
        reply.status.as_u16(),
        reply.header_number("x-ratelimit-remaining"),
    )
}

#[tokio::test]
async fn b09_callers_of_one_tenant_share_a_bucket_and_two_tenants_do_not() {
    let service = service().await;
    assert_eq!(
        remaining(&tenant_request(&service, ALICE, "acme").send().await),
        (200, 2)
    );
    assert_eq!(
        remaining(&tenant_request(&service, BOB, "acme").send().await),
        (200, 1)
    );
    assert_eq!(
        remaining(&tenant_request(&service, ALICE, "acme").send().await),
        (200, 0)
    );
    assert_eq!(
        remaining(&tenant_request(&service, BOB, "acme").send().await),
        (429, 0)
    );
    assert_eq!(
        remaining(&tenant_request(&service, ALICE, "globex").send().await),
        (200, 2)
    );
}

#[tokio::test]
async fn b09_requests_with_unverified_values_count_by_caller() {
    let service = service().await;
    for (tenant, counted) in [
        ("made-up-1", (200, 2)),
        ("made-up-2", (200, 1)),
        ("globex", (200, 0)),
    ] {
        assert_eq!(
            remaining(&tenant_request(&service, BOB, tenant).send().await),
            counted,
            "{tenant}"
        );
    }
    assert_eq!(
        remaining(&tenant_request(&service, BOB, "made-up-3").send().await),
        (429, 0)
    );
    assert_eq!(
        remaining(&get(&service, "/reports", BOB).await),
        (429, 0),
        "without the header"
    );
    let twice = tenant_request(&service, BOB, "acme").header("x-tenant", "acme");
    assert_eq!(
        remaining(&twice.send().await),
        (429, 0),
        "the header appears twice"
    );
    assert_eq!(
        remaining(&get(&service, "/reports", ALICE).await),
        (200, 2),
        "another caller"
    );
    assert_eq!(
        remaining(&tenant_request(&service, ALICE, "globex").send().await),
        (200, 2),
        "the bucket of the tenant is full"
    );
    assert_eq!(
        remaining(&tenant_request(&service, BOB, "acme").send().await),
        (200, 2)
    );
}

#[tokio::test]
async fn b09_a_path_parameter_is_decoded_before_it_is_verified() {
    let service = service().await;
    let report = async |key, path: &str| {
        remaining(&get(&service, &format!("/v1/tenants/{path}"), key).await)
    };
    assert_eq!(report(ALICE, "acme/reports/1").await, (200, 2));
    assert_eq!(report(BOB, "%61cme/reports/2").await, (200, 1));
    assert_eq!(report(ALICE, "globex/reports/acme").await, (200, 2));
    for (path, counted) in [
        ("globex/reports/1", 2),
        ("made-up/reports/1", 1),
        ("%ff/reports/acme", 0),
    ] {
        assert_eq!(report(BOB, path).await, (200, counted), "{path}");
    }
    assert_eq!(report(BOB, "acme/reports/3").await, (200, 0));
}

#[tokio::test]
async fn b09_endpoints_with_the_same_named_limit_share_the_buckets_of_tenants() {
    let service = service().await;
    let send = async |path, key| {
        remaining(
            &service
                .client
                .get(path)
                .bearer(key)
                .header("x-tenant", "acme")
                .send()
                .await,
        )
    };
    assert_eq!(send("/shared-a", ALICE).await, (200, 2));
    assert_eq!(send("/shared-b", BOB).await, (200, 1));
}

#[tokio::test]
async fn b09_anonymous_requests_with_unverified_values_count_by_address() {
    let service = service().await;
    let send = async |plan: &str| {
        remaining(
            &service
                .client
                .get("/public")
                .header("x-plan", plan)
                .send()
                .await,
        )
    };
    assert_eq!(send("gold").await, (200, 1));
    assert_eq!(send("platinum").await, (200, 0));
    assert_eq!(send("silver").await, (429, 0));
    assert_eq!(send("gold, signed").await, (200, 1));
}

#[tokio::test]
async fn b09_a_request_with_an_idempotency_key_counts_by_its_tenant() {
    let service = service().await;
    let import = async |caller, key: &str, length| {
        let call = service
            .client
            .post("/imports")
            .bearer(caller)
            .idempotency_key(key)
            .header("x-tenant", "acme");
        remaining(&call.body("x".repeat(length)).send().await)
    };
    assert_eq!(import(ALICE, "a", 1).await, (200, 2));
    assert_eq!(import(BOB, "b", 70_000).await, (200, 1));
    let missing = service
        .client
        .post("/imports")
        .bearer(BOB)
        .header("x-tenant", "acme")
        .send()
        .await;
    missing.problem(400, "IDEMPOTENCY_KEY_MISSING");
    assert_eq!(
        missing.header("x-ratelimit-remaining"),
        None,
        "the limits were not checked"
    );
    assert_eq!(import(ALICE, "c", 1).await, (200, 0));
}

#[tokio::test]
async fn b09_local_decisions_count_by_tenant() {
    let service = service().await;
    service.limits.set_broken(true);
    for (key, status) in [(ALICE, 200), (BOB, 200), (ALICE, 200), (BOB, 429)] {
        let reply = tenant_request(&service, key, "acme").send().await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (status, false)
        );
    }
    assert_eq!(
        tenant_request(&service, ALICE, "globex")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn b09_a_limit_key_that_panics_is_a_500_and_takes_no_tokens() {
    let service = service().await;
    tenant_request(&service, ALICE, "nobody")
        .send()
        .await
        .problem(500, "INTERNAL");
    assert_eq!(service.app.effects(), 0);
    assert_eq!(remaining(&get(&service, "/reports", ALICE).await), (200, 2));
}
