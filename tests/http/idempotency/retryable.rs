//! Every retry gets the stored response, so a stored problem is not retryable.

use aplomb::problem::{Category, Problem, ProblemSpec};

use super::*;

#[derive(Debug, thiserror::Error, ApiError)]
enum Refusal {
    #[error("somebody else has the order open")]
    #[problem(conflict, retryable = true, retry_after = "2s")]
    Locked,
    #[error("the order is not there yet")]
    #[problem(conflict, retryable = true, retry_after = "2s", effects = none)]
    NotYet,
    #[error("too many orders")]
    #[problem(rate_limited, retry_after = "2s")]
    TooMany,
    #[error("the supplier does not answer")]
    #[problem(dependency, retry_after = "2s")]
    Supplier,
}

/// Returns a problem that is built without the derive macro. The statuses 409 and 424 are stored,
/// and 425 is not.
fn by_hand(category: Category, status: u16) -> Response {
    let spec = ProblemSpec::new(category, "BY_HAND", "By hand")
        .with_status(status)
        .with_retryable(true);
    Problem::new(&spec)
        .with_retry_after(Duration::from_secs(2))
        .into_response()
}

fn serialized_by_handler() -> Response {
    let document = Json(serde_json::json!({"code": "TYPED", "retryable": true}));
    (StatusCode::CONFLICT, [("retry-after", "2")], document).into_response()
}

fn refusal(kind: &str) -> Response {
    match kind {
        "locked" => Refusal::Locked.into_response(),
        "not-yet" => Refusal::NotYet.into_response(),
        "too-many" => Refusal::TooMany.into_response(),
        "supplier" => Refusal::Supplier.into_response(),
        "conflict" => by_hand(Category::Conflict, 409),
        "rate" => by_hand(Category::RateLimited, 409),
        "dependency" => by_hand(Category::Dependency, 424),
        "early" => by_hand(Category::Conflict, 425),
        _ => serialized_by_handler(),
    }
}

/// Returns a problem. The idempotency key is optional.
#[endpoint(post = "/refusals/{kind}", version = 1, idempotent(optional))]
async fn post_refusal(State(app): State<App>, Path(kind): Path<String>) -> Response {
    app.effect();
    refusal(&kind)
}

/// Returns a problem from a GET.
#[endpoint(get = "/refusals/{kind}", version = 1)]
async fn get_refusal(Path(kind): Path<String>) -> Response {
    refusal(&kind)
}

/// Returns a problem from an endpoint without idempotency.
#[endpoint(
    post = "/keyless/{kind}",
    version = 1,
    not_idempotent = "it refuses every request"
)]
async fn post_without_idempotency(Path(kind): Path<String>) -> Response {
    refusal(&kind)
}

async fn refusal_service() -> TestService {
    TestService::start(aplomb::routes![
        post_refusal,
        get_refusal,
        post_without_idempotency
    ])
    .await
}

fn keyed_request(service: &TestService, kind: &str) -> ClientRequest {
    service
        .client
        .post(&format!("/v1/refusals/{kind}"))
        .bearer(ALICE)
        .idempotency_key(kind)
}

#[track_caller]
fn assert_retryable(reply: &ClientResponse, expected: bool) {
    let retryable = reply.json()["retryable"].as_bool();
    assert_eq!(
        retryable,
        Some(expected),
        "{} {:?}",
        reply.status,
        reply.body
    );
    assert_eq!(
        reply.header("retry-after").is_some(),
        expected,
        "{:?}",
        reply.body
    );
}

#[tokio::test]
async fn a16_a_stored_problem_is_not_retryable_in_the_first_response_nor_in_a_replay() {
    let service = refusal_service().await;
    for (number, (kind, status, code)) in [
        ("locked", 409, "LOCKED"),
        ("conflict", 409, "BY_HAND"),
        ("rate", 409, "BY_HAND"),
        ("dependency", 424, "BY_HAND"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = keyed_request(&service, kind).send().await;
        first.problem(status, code);
        assert_retryable(&first, false);
        let replay = keyed_request(&service, kind).send().await;
        assert!(replay.replayed() && replay.body == first.body, "{kind}");
        assert_retryable(&replay, false);
        assert_eq!(service.app.effects(), number + 1, "{kind}");
    }
}

#[tokio::test]
async fn a16_a_problem_that_frees_the_key_stays_retryable() {
    let service = refusal_service().await;
    for (number, kind) in ["not-yet", "too-many", "early"].into_iter().enumerate() {
        for _ in 0..2 {
            let reply = keyed_request(&service, kind).send().await;
            assert!(!reply.replayed(), "{kind}");
            assert_retryable(&reply, true);
        }
        assert_eq!(service.app.effects(), 2 * (number + 1), "{kind}");
    }
}

#[tokio::test]
async fn a16_a_5xx_of_a_dependency_is_retryable_and_leaves_the_outcome_unknown() {
    let service = refusal_service().await;
    let first = keyed_request(&service, "supplier").send().await;
    first.problem(503, "SUPPLIER");
    assert_retryable(&first, true);
    let retry = keyed_request(&service, "supplier").send().await;
    retry.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_retryable(&retry, false);
}

#[tokio::test]
async fn a16_without_a_key_a_problem_is_retryable_as_declared() {
    let service = refusal_service().await;
    for kind in [
        "locked",
        "not-yet",
        "conflict",
        "rate",
        "dependency",
        "early",
    ] {
        let optional = service
            .client
            .post(&format!("/v1/refusals/{kind}"))
            .bearer(ALICE)
            .send()
            .await;
        let get = service
            .client
            .get(&format!("/v1/refusals/{kind}"))
            .bearer(ALICE)
            .send()
            .await;
        let keyless = service
            .client
            .post(&format!("/v1/keyless/{kind}"))
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
            .await;
        for reply in [optional, get, keyless] {
            assert_retryable(&reply, true);
        }
    }
}

#[tokio::test]
async fn a16_a_body_that_the_handler_serialized_is_stored_unchanged() {
    let service = refusal_service().await;
    let first = keyed_request(&service, "typed").send().await;
    assert_eq!(
        (
            first.json()["code"].as_str(),
            first.header_number("retry-after")
        ),
        (Some("TYPED"), 2)
    );
    assert_eq!(first.json()["retryable"], true);
    let replay = keyed_request(&service, "typed").send().await;
    assert!(replay.replayed() && replay.body == first.body);
}
