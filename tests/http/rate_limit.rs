//! Rate limits: the fields of every response, and the 429.

mod costs;
mod deny;
mod keys;

use core::time::Duration;
use std::sync::Arc;

use aplomb::policies::rate_limit::{Acquired, LimitRequest, LimitStore};
use aplomb::prelude::*;
use aplomb::routes;
use aplomb::store::{MemoryRecords, StoreError, StoreFuture};
use aplomb::testing::{ClientResponse, LogLine, TestLog, eventually};
use http::StatusCode;

use crate::app::{ALICE, App, BOB, TestService};

/// Has a burst of three, and one token per second.
#[endpoint(get = "/slow", rate_limit("60/min", burst = 3))]
async fn slow() -> &'static str {
    "slow"
}

/// Takes four tokens for each request.
#[endpoint(get = "/expensive", rate_limit("60/min", burst = 10, cost = 4))]
async fn expensive() -> &'static str {
    "expensive"
}

/// Has two limits.
#[endpoint(
    get = "/two",
    rate_limit("60/min", burst = 5),
    rate_limit("60/hour", burst = 2, name = "hourly")
)]
async fn two() -> &'static str {
    "two"
}

/// Shares its limit with `shared_b`.
#[endpoint(get = "/shared-a", rate_limit("60/min", burst = 2, name = "shared"))]
async fn shared_a() {}

/// Shares its limit with `shared_a`.
#[endpoint(get = "/shared-b", rate_limit("60/min", burst = 2, name = "shared"))]
async fn shared_b() {}

/// Counts requests by client address.
#[endpoint(get = "/public", public, rate_limit("60/min", burst = 2, by = ip))]
async fn public() {}

/// Counts the requests of all callers together.
#[endpoint(get = "/everybody", rate_limit("60/min", burst = 2, by = route))]
async fn everybody() {}

/// Returns an error.
#[endpoint(get = "/fails", rate_limit = "60/min")]
async fn fails() -> StatusCode {
    StatusCode::IM_A_TEAPOT
}

/// Requires an idempotency key, and has a limit.
#[endpoint(post = "/both", idempotent, rate_limit("60/min", burst = 2))]
async fn both(State(app): State<App>, Json(number): Json<u64>) -> Json<u64> {
    app.effect();
    Json(number)
}

async fn service() -> TestService {
    TestService::start(routes![
        slow, expensive, two, shared_a, shared_b, public, everybody, fails, both
    ])
    .await
}

async fn get(service: &TestService, path: &str, key: &str) -> ClientResponse {
    service.client.get(path).bearer(key).send().await
}

#[tokio::test]
async fn b06_every_response_has_the_remaining_tokens() {
    let service = service().await;
    let reply = get(&service, "/slow", ALICE).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        (
            reply.header_number("x-ratelimit-limit"),
            reply.header_number("x-ratelimit-remaining")
        ),
        (3, 2)
    );
    assert_eq!(
        reply.header("ratelimit-policy"),
        Some("\"default\";q=3;w=3")
    );
    assert_eq!(reply.header("ratelimit"), Some("\"default\";r=2;t=1"));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    assert!(
        reply.header_number("x-ratelimit-reset").abs_diff(now) <= 10,
        "Unix seconds"
    );
    let failed = get(&service, "/fails", ALICE).await;
    assert_eq!(
        (
            failed.status.as_u16(),
            failed.header_number("x-ratelimit-remaining")
        ),
        (418, 59)
    );
}

#[tokio::test]
async fn b07_a_rejection_is_a_429_with_retry_after() {
    let service = service().await;
    for _ in 0..3 {
        assert_eq!(get(&service, "/slow", ALICE).await.status, 200);
    }
    let reply = get(&service, "/slow", ALICE).await;
    let problem = reply.problem(429, "RATE_LIMITED");
    assert_eq!(
        (problem["category"].as_str(), problem["retryable"].as_bool()),
        (Some("rate_limited"), Some(true))
    );
    assert_eq!(problem["violated-policies"][0]["name"], "default");
    assert_eq!(
        (
            reply.header_number("retry-after"),
            reply.header_number("x-ratelimit-remaining")
        ),
        (1, 0)
    );
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(get(&service, "/slow", ALICE).await.status, 200);
    assert_eq!(get(&service, "/slow", ALICE).await.status, 429);
}

#[tokio::test]
async fn b01_a_request_may_cost_several_tokens() {
    let service = service().await;
    assert_eq!(
        get(&service, "/expensive", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        6
    );
    assert_eq!(
        get(&service, "/expensive", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
    let rejected = get(&service, "/expensive", ALICE).await;
    assert_eq!(
        (
            rejected.status.as_u16(),
            rejected.header_number("retry-after")
        ),
        (429, 2)
    );
    assert_eq!(
        rejected.header_number("x-ratelimit-remaining"),
        2,
        "a rejection takes no tokens"
    );
}

#[tokio::test]
async fn b02_several_limits_decide_together_and_the_x_fields_describe_the_tightest() {
    let service = service().await;
    let reply = get(&service, "/two", ALICE).await;
    assert_eq!(
        (
            reply.header_number("x-ratelimit-limit"),
            reply.header_number("x-ratelimit-remaining")
        ),
        (2, 1)
    );
    assert_eq!(
        reply.header("ratelimit"),
        Some("\"default\";r=4;t=1, \"hourly\";r=1;t=60")
    );
    get(&service, "/two", ALICE).await;
    for _ in 0..5 {
        let rejected = get(&service, "/two", ALICE).await;
        let problem = rejected.problem(429, "RATE_LIMITED");
        assert_eq!(
            problem["violated-policies"].as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(problem["violated-policies"][0]["name"], "hourly");
        assert!(
            rejected
                .header("ratelimit")
                .expect("the field")
                .starts_with("\"default\";r=3;")
        );
    }
}

#[tokio::test]
async fn b06_endpoints_with_the_same_limit_name_share_one_bucket() {
    let service = service().await;
    assert_eq!(get(&service, "/shared-a", ALICE).await.status, 200);
    assert_eq!(get(&service, "/shared-b", ALICE).await.status, 200);
    assert_eq!(get(&service, "/shared-a", ALICE).await.status, 429);
    assert_eq!(
        get(&service, "/shared-a", BOB).await.status,
        200,
        "each caller has its own bucket"
    );
}

#[tokio::test]
async fn b09_limits_by_address_and_by_route_need_no_caller() {
    let service = service().await;
    for (path, status) in [("/public", 200), ("/public", 200), ("/public", 429)] {
        assert_eq!(service.client.get(path).send().await.status, status);
    }
    assert_eq!(get(&service, "/everybody", ALICE).await.status, 200);
    assert_eq!(get(&service, "/everybody", BOB).await.status, 200);
    assert_eq!(get(&service, "/everybody", ALICE).await.status, 429);
}

#[tokio::test]
async fn b11_a_401_never_takes_tokens_of_the_claimed_caller() {
    let service = service().await;
    for _ in 0..10 {
        let reply = get(&service, "/slow", "sk_test_wrong").await;
        assert!(reply.status == 401 && reply.header("ratelimit").is_none());
    }
    assert_eq!(
        get(&service, "/slow", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
}

#[tokio::test]
async fn b12_a_replay_counts_like_any_request() {
    let service = service().await;
    let send = async || {
        service
            .client
            .post("/both")
            .bearer(ALICE)
            .idempotency_key("k")
            .json("1")
            .send()
            .await
    };
    assert_eq!(send().await.header_number("x-ratelimit-remaining"), 1);
    let replay = send().await;
    assert!(replay.replayed());
    assert_eq!(replay.header_number("x-ratelimit-remaining"), 0);
    send().await.problem(429, "RATE_LIMITED");
}

#[tokio::test]
async fn b02_a_rejected_request_creates_no_record() {
    let service = service().await;
    let send = async |key: &str, number: &str| {
        service
            .client
            .post("/both")
            .bearer(ALICE)
            .idempotency_key(key)
            .json(number)
            .send()
            .await
    };
    send("a", "1").await;
    send("b", "1").await;
    send("c", "1").await.problem(429, "RATE_LIMITED");
    service.clock.advance(Duration::from_secs(1));
    let other = send("c", "2").await;
    assert!(
        other.status == 200 && !other.replayed(),
        "the key is free, even for another request"
    );
    assert_eq!(service.app.effects(), 3);
}

#[tokio::test]
async fn b13_a_large_body_is_not_read_before_the_limits_have_decided() {
    let service = service().await;
    let small = async || {
        service
            .client
            .post("/both")
            .bearer(ALICE)
            .idempotency_key("k")
            .json("1")
            .send()
            .await
    };
    small().await;
    small().await;
    for length in ["content-length: 70000", "transfer-encoding: chunked"] {
        let mut raw = service.client.raw().await;
        let head = "POST /both HTTP/1.1\r\nhost: x\r\nidempotency-key: l\r\nexpect: 100-continue";
        raw.write(&format!(
            "{head}\r\nauthorization: Bearer {ALICE}\r\n{length}\r\n\r\n"
        ))
        .await;
        let response = raw.response().await;
        assert!(
            response.starts_with("HTTP/1.1 429"),
            "expected a 429 before the body is sent: {response}"
        );
    }
}

#[tokio::test]
async fn b06_limits_that_were_not_checked_are_not_in_the_response() {
    let service = service().await;
    let post = || service.client.post("/both").bearer(ALICE).json("1");
    let without_key = post().send().await;
    without_key.problem(400, "IDEMPOTENCY_KEY_MISSING");
    assert_eq!(without_key.header("x-ratelimit-remaining"), None);
    let first = post().idempotency_key("k").send().await;
    assert_eq!(
        first.header_number("x-ratelimit-remaining"),
        1,
        "the 400 took no tokens"
    );
}

/// Has a limit with a cost of 6, and a limit with the default cost.
#[endpoint(
    get = "/uneven",
    rate_limit("10/h", burst = 10, cost = 6, name = "heavy"),
    rate_limit("3/h", name = "light")
)]
async fn two_costs() {}

/// Has two versions.
#[endpoint(get = "/versions", version = 1..=2, rate_limit("2/h"))]
async fn versions() {}

#[tokio::test]
async fn b06_the_x_fields_describe_the_limit_that_rejects() {
    let service = TestService::start(routes![two_costs]).await;
    get(&service, "/uneven", ALICE).await;
    let rejected = get(&service, "/uneven", ALICE).await;
    assert_eq!(
        rejected.problem(429, "RATE_LIMITED")["violated-policies"][0]["name"],
        "heavy"
    );
    assert_eq!(
        (
            rejected.header_number("x-ratelimit-limit"),
            rejected.header_number("x-ratelimit-remaining")
        ),
        (10, 4)
    );
}

#[tokio::test]
async fn b06_the_versions_of_an_endpoint_share_its_limit() {
    let service = TestService::start(routes![versions]).await;
    assert_eq!(get(&service, "/v1/versions", ALICE).await.status, 200);
    assert_eq!(get(&service, "/v2/versions", ALICE).await.status, 200);
    assert_eq!(get(&service, "/v1/versions", ALICE).await.status, 429);
}

/// Has a rate that is too low to refill a token during a test.
#[endpoint(get = "/rare", rate_limit("4/day"))]
async fn rare() {}

/// Requires an idempotency key, and has a limit that refills no token during a test.
#[endpoint(post = "/rare", idempotent, rate_limit("3/day"), type_name = rare_post)]
async fn post_rare(State(app): State<App>, _: String) {
    app.effect();
}

/// Takes 30 tokens of a limit that it shares with `thrifty`.
#[endpoint(get = "/greedy", rate_limit("100/h", algorithm = fixed_window, cost = 30, name = "both"))]
async fn greedy() {}

/// Takes 1 token of the limit that it shares with `greedy`.
#[endpoint(get = "/thrifty", rate_limit("100/h", algorithm = fixed_window, name = "both"))]
async fn thrifty() {}

async fn rare_service(instances: u32) -> TestService {
    TestService::start_with(routes![rare, rare_post], |api| api.instances(instances)).await
}

/// Returns whether a response has limit fields.
fn has_limit_fields(reply: &ClientResponse) -> bool {
    reply
        .headers
        .keys()
        .any(|name| name.as_str().contains("ratelimit"))
}

/// Returns the status of a request to `/rare`, and checks that it has no limit fields.
async fn locally_decided_status(service: &TestService) -> u16 {
    let reply = get(service, "/rare", ALICE).await;
    assert!(!has_limit_fields(&reply), "{:?}", reply.headers);
    reply.status.as_u16()
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_is_down() {
    let service = rare_service(1).await;
    service.limits.set_broken(true);
    for _ in 0..4 {
        assert_eq!(locally_decided_status(&service).await, 200);
    }
    let rejected = get(&service, "/rare", ALICE).await;
    let problem = rejected.problem(429, "RATE_LIMITED");
    assert_eq!(problem["violated-policies"][0]["name"], "default");
    assert!(
        (21_000..=21_600).contains(&rejected.header_number("retry-after")),
        "one token takes a quarter of a day"
    );
    assert!(!has_limit_fields(&rejected));
    assert_eq!(
        get(&service, "/rare", BOB).await.status,
        200,
        "each caller has its own bucket"
    );
}

#[tokio::test]
async fn b15_each_instance_enforces_its_share() {
    let service = rare_service(2).await;
    service.limits.set_broken(true);
    for status in [200, 200, 429, 429] {
        assert_eq!(locally_decided_status(&service).await, status);
    }
}

#[tokio::test]
async fn b15_endpoints_with_the_same_limit_name_use_one_local_bucket() {
    let service = TestService::start_with(routes![greedy, thrifty], |api| api.instances(10)).await;
    service.limits.set_broken(true);
    assert_eq!(get(&service, "/greedy", ALICE).await.status, 200);
    for _ in 0..3 {
        assert_eq!(get(&service, "/thrifty", ALICE).await.status, 429);
        assert_eq!(get(&service, "/greedy", ALICE).await.status, 429);
    }
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_is_slow() {
    let service = rare_service(1).await;
    service.limits.hang(true);
    for status in [200, 200, 200, 200, 429] {
        assert_eq!(locally_decided_status(&service).await, status);
    }
}

#[tokio::test]
async fn b15_one_failed_call_does_not_count_as_an_outage() {
    let service = rare_service(1).await;
    service.limits.set_broken(true);
    assert_eq!(locally_decided_status(&service).await, 200);
    service.limits.set_broken(false);
    assert_eq!(
        get(&service, "/rare", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        3
    );
}

#[tokio::test]
async fn b15_the_store_decides_again_after_an_outage() {
    let service = rare_service(1).await;
    service.limits.set_broken(true);
    for _ in 0..3 {
        assert_eq!(locally_decided_status(&service).await, 200);
    }
    service.limits.set_broken(false);
    eventually("the store decides", async || {
        has_limit_fields(&get(&service, "/rare", ALICE).await)
    })
    .await;
    assert_eq!(
        get(&service, "/rare", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
}

#[tokio::test]
async fn b15_a_request_with_an_idempotency_key_takes_local_tokens_only_once() {
    let service = rare_service(1).await;
    service.limits.set_broken(true);
    let post = async |key: &str, body: String| {
        service
            .client
            .post("/rare")
            .bearer(ALICE)
            .idempotency_key(key)
            .body(body)
            .send()
            .await
    };
    // A small body is read before the limits decide. A large body is read after they have decided.
    for (key, length) in [("a", 1), ("b", 70_000), ("c", 1)] {
        let reply = post(key, "x".repeat(length)).await;
        assert!(reply.status == 200 && !has_limit_fields(&reply), "{key}");
    }
    for (key, length) in [("d", 1), ("e", 70_000)] {
        let rejected = post(key, "x".repeat(length)).await;
        rejected.problem(429, "RATE_LIMITED");
        assert!(!has_limit_fields(&rejected));
    }
    assert_eq!(service.app.effects(), 3);
}

#[tokio::test]
async fn b15_a_400_before_the_limits_has_no_limit_fields_while_the_store_is_down() {
    let service = rare_service(1).await;
    for slow in [false, true] {
        service.limits.set_broken(!slow);
        service.limits.hang(slow);
        let without_key = service.client.post("/rare").bearer(ALICE).send().await;
        without_key.problem(400, "IDEMPOTENCY_KEY_MISSING");
        assert!(!has_limit_fields(&without_key));
    }
}

/// A store whose buckets cannot be decoded.
#[derive(Debug)]
struct UnreadableLimits;

impl LimitStore for UnreadableLimits {
    fn acquire<'a>(&'a self, _: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        let (key, why) = (String::from("bucket"), String::from("of another version"));
        StoreFuture::ready(Err(StoreError::Malformed { key, why }))
    }
}

#[tokio::test]
async fn b15_a_bucket_that_cannot_be_decoded_is_a_503() {
    let store = Store::new(Arc::new(UnreadableLimits), Arc::new(MemoryRecords::new()));
    let service = TestService::start_with(routes![rare, rare_post], |api| api.store(store)).await;
    for _ in 0..4 {
        let reply = get(&service, "/rare", ALICE).await;
        assert_eq!(reply.problem(503, "STORE_UNAVAILABLE")["retryable"], true);
        assert!(!has_limit_fields(&reply));
    }
    let reply = service
        .client
        .post("/rare")
        .bearer(ALICE)
        .idempotency_key("k")
        .body("x")
        .send()
        .await;
    reply.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(service.app.effects(), 0);
}

/// Has a shadow limit.
#[endpoint(get = "/shadow-only", rate_limit("60/min", burst = 2, shadow))]
async fn shadow_only() {}

/// Has a shadow limit before an enforced limit.
#[endpoint(
    get = "/shadow-before-enforced",
    rate_limit("60/hour", burst = 2, name = "hourly", shadow),
    rate_limit("60/min", burst = 4)
)]
async fn shadow_before_enforced() {}

/// Has an enforced limit before the shadow limit `hourly`, which it shares with
/// `shadow_before_enforced`.
#[endpoint(
    get = "/shadow-after-enforced",
    rate_limit("60/min", burst = 1),
    rate_limit("60/hour", burst = 2, name = "hourly", shadow)
)]
async fn shadow_after_enforced() {}

/// Requires an idempotency key, and has a shadow limit.
#[endpoint(
    post = "/shadow-idempotent",
    idempotent,
    rate_limit("60/min", burst = 1, shadow)
)]
async fn shadow_idempotent(State(app): State<App>) {
    app.effect();
}

/// Returns the limit and the number of requests from each log line about shadow limits.
fn logged_shadows(log: &TestLog) -> Vec<(String, u64)> {
    let of = |line: &LogLine| {
        let requests = line
            .field("requests")
            .and_then(|requests| requests.parse().ok());
        (
            line.field("limit").unwrap_or_default().to_owned(),
            requests.expect("a number"),
        )
    };
    log.lines().iter().map(of).collect()
}

async fn shadow_service() -> TestService {
    TestService::start(routes![
        shadow_only,
        shadow_before_enforced,
        shadow_after_enforced,
        shadow_idempotent
    ])
    .await
}

#[tokio::test]
async fn b17_a_shadow_limit_rejects_no_request_and_is_invisible_to_clients() {
    let shadow_log = TestLog::of("rate_limit::shadow");
    let _listening = shadow_log.listen();
    let service = shadow_service().await;
    for taken in 1..=6 {
        let reply = get(&service, "/shadow-only", ALICE).await;
        assert_eq!(reply.status, 200);
        assert!(!has_limit_fields(&reply) && reply.header("ratelimit-policy").is_none());
        assert_eq!(
            logged_shadows(&shadow_log).is_empty(),
            taken <= 2,
            "after request {taken}"
        );
    }
    assert_eq!(
        logged_shadows(&shadow_log),
        [(String::from("default"), 1)],
        "one line per second"
    );
}

#[tokio::test]
async fn b17_only_enforced_limits_decide_and_are_in_the_response_fields() {
    let service = shadow_service().await;
    for remaining in (0..4).rev() {
        let reply = get(&service, "/shadow-before-enforced", ALICE).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header_number("x-ratelimit-remaining")
            ),
            (200, remaining)
        );
        assert_eq!(
            reply.header("ratelimit-policy"),
            Some("\"default-2\";q=4;w=4")
        );
    }
    let rejected = get(&service, "/shadow-before-enforced", ALICE).await;
    let problem = rejected.problem(429, "RATE_LIMITED");
    assert_eq!(
        problem["violated-policies"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(problem["violated-policies"][0]["name"], "default-2");
    assert_eq!(
        rejected.header_number("retry-after"),
        1,
        "the shadow limit does not count"
    );
}

#[tokio::test]
async fn b17_a_rejected_request_takes_no_tokens_of_a_shadow_limit_and_is_not_logged() {
    let shadow_log = TestLog::of("rate_limit::shadow");
    let _listening = shadow_log.listen();
    let service = shadow_service().await;
    assert_eq!(
        get(&service, "/shadow-after-enforced", ALICE).await.status,
        200
    );
    for _ in 0..5 {
        assert_eq!(
            get(&service, "/shadow-after-enforced", ALICE).await.status,
            429
        );
    }
    assert_eq!(
        get(&service, "/shadow-before-enforced", ALICE).await.status,
        200
    );
    assert!(
        logged_shadows(&shadow_log).is_empty(),
        "both tokens were taken without a rejection"
    );
    assert_eq!(
        get(&service, "/shadow-after-enforced", ALICE).await.status,
        429
    );
    assert!(
        logged_shadows(&shadow_log).is_empty(),
        "a rejected request is not logged"
    );
    assert_eq!(
        get(&service, "/shadow-before-enforced", ALICE).await.status,
        200
    );
    assert_eq!(logged_shadows(&shadow_log), [(String::from("hourly"), 1)]);
}

#[tokio::test]
async fn b17_requests_with_an_idempotency_key_run_despite_a_shadow_limit() {
    let service = shadow_service().await;
    for key in ["a", "b", "c"] {
        let reply = service
            .client
            .post("/shadow-idempotent")
            .bearer(ALICE)
            .idempotency_key(key)
            .send()
            .await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (200, false)
        );
    }
    assert_eq!(service.app.effects(), 3);
}

#[tokio::test]
async fn b17_a_shadow_limit_rejects_no_request_while_the_store_is_down() {
    let shadow_log = TestLog::of("rate_limit::shadow");
    let _listening = shadow_log.listen();
    let service = shadow_service().await;
    service.limits.set_broken(true);
    for _ in 0..6 {
        let reply = get(&service, "/shadow-only", ALICE).await;
        assert_eq!(
            (reply.status.as_u16(), has_limit_fields(&reply)),
            (200, false)
        );
    }
    assert_eq!(logged_shadows(&shadow_log), [(String::from("default"), 1)]);
}
