//! The two tables of idempotency: request × state, and event while running.

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::testing::{Fault, Operation, TestServer};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::app::{ALICE, App, BOB, Bench};
use crate::client::{Call, Client, Reply};

#[derive(Deserialize)]
struct Order {
    item: String,
    /// What the handler does.
    #[serde(default)]
    how: How,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    #[default]
    Well,
    Held,
    FirstHeld,
    HeldThenPanic,
    Status(u16),
    Panic,
    NoEffects,
    Large,
    LargeWithoutLocation,
    Cookie,
}

#[derive(Serialize)]
struct Placed {
    number: usize,
    item: String,
}

#[derive(Debug, thiserror::Error, ApiError)]
enum OrderError {
    #[error("the supplier does not answer")]
    #[problem(dependency, retry_after = "2s", effects = none)]
    Supplier,
}

async fn place(app: &App, order: Order) -> Result<Response, OrderError> {
    match order.how {
        How::NoEffects => return Err(OrderError::Supplier),
        How::Held => app.hold().await,
        How::FirstHeld if app.is_first() => app.hold().await,
        How::HeldThenPanic => {
            app.hold().await;
            panic!("after the wait");
        }
        _ => {}
    }
    let number = app.effect();
    let location = format!("/orders/{number}");
    Ok(match order.how {
        How::Status(status) => (StatusCode::from_u16(status).expect("a status"), "as asked").into_response(),
        How::Panic => panic!("as asked"),
        How::Large => {
            (StatusCode::CREATED, [("location", location)], "x".repeat((1 << 20) + 1)).into_response()
        }
        How::LargeWithoutLocation => (StatusCode::CREATED, "x".repeat((1 << 20) + 1)).into_response(),
        How::Cookie => ([("set-cookie", "a=b")], Json(number)).into_response(),
        _ => (StatusCode::CREATED, [("location", location)], Json(Placed { number, item: order.item }))
            .into_response(),
    })
}

/// Places an order.
#[endpoint(post = "/orders", version = 1, idempotent, timeout = "300ms")]
async fn place_order(State(app): State<App>, Json(order): Json<Order>) -> Result<Response, OrderError> {
    place(&app, order).await
}

/// Places an order; a rerun is harmless.
#[endpoint(put = "/orders/{id}", version = 1, idempotent(on_crash = rerun, ttl = "2h"))]
async fn put_order(
    State(app): State<App>,
    Path(_): Path<u64>,
    Json(order): Json<Order>,
) -> Result<Response, OrderError> {
    place(&app, order).await
}

/// Pays an order; has no body.
#[endpoint(post = "/orders/{id}/pay", version = 1, idempotent(optional))]
async fn pay_order(State(app): State<App>, Path(id): Path<u64>) -> Json<(u64, usize)> {
    Json((id, app.effect()))
}

/// Places an order for nobody in particular.
#[endpoint(post = "/guest-orders", version = 1, public, idempotent(anonymous))]
async fn guest_order(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

/// Takes keys of those who say who they are.
#[endpoint(post = "/notes", version = 1, public, idempotent(optional))]
async fn note(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

async fn bench() -> Bench {
    Bench::start(aplomb::routes![place_order, put_order, pay_order, guest_order, note]).await
}

const WELL: &str = r#"{"item": "tea"}"#;
const HELD: &str = r#"{"item": "tea", "how": "held"}"#;
const UUID: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

fn order<'a>(client: &'a Client, key: &str, body: &str) -> Call<'a> {
    client.post("/v1/orders").bearer(ALICE).key(key).json(body)
}

async fn status(status: u16) -> (Bench, Reply, Reply) {
    let bench = bench().await;
    let body = format!(r#"{{"item": "tea", "how": {{"status": {status}}}}}"#);
    let first = order(&bench.client, "k", &body).send().await;
    let second = order(&bench.client, "k", &body).send().await;
    (bench, first, second)
}

fn put_held(client: &Client) -> Call<'_> {
    client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k").json(HELD)
}

/// Sends a request whose handler is held, and gives its answer when that is let go.
fn held(bench: &Bench, key: &'static str, body: &'static str) -> tokio::task::JoinHandle<Reply> {
    let client = bench.client.clone();
    tokio::spawn(async move { order(&client, key, body).send().await })
}

/// Takes long, for a request with a key or without.
#[endpoint(post = "/slow", version = 1, idempotent(optional), timeout = "50ms")]
async fn slow(State(app): State<App>) {
    app.hold().await;
}

#[tokio::test]
async fn a01_without_its_optional_key_a_request_is_not_retryable() {
    let bench = Bench::start(aplomb::routes![slow]).await;
    let without = bench.client.post("/v1/slow").bearer(ALICE).send().await;
    assert_eq!(without.problem(504, "DEADLINE_EXCEEDED")["retryable"], false);
    let with = bench.client.post("/v1/slow").bearer(ALICE).key("k").send().await;
    assert_eq!(with.problem(504, "DEADLINE_EXCEEDED")["retryable"], true);
    bench.app.let_go();
}

#[tokio::test]
async fn a01_a_key_is_required() {
    let bench = bench().await;
    let reply = bench.client.post("/v1/orders").bearer(ALICE).json(WELL).send().await;
    reply.problem(400, "IDEMPOTENCY_KEY_MISSING");
    let reply = bench.client.post("/v1/orders/1/pay").bearer(ALICE).send().await;
    assert_eq!(reply.status, 200, "optional");
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a03_what_is_not_one_key_is_refused_before_any_look_up() {
    let bench = bench().await;
    bench.records.break_down(true);
    let long = "a".repeat(256);
    for key in ["", "a, b", "\"open", &long, "a b"] {
        let problem = order(&bench.client, key, WELL).send().await.problem(400, "IDEMPOTENCY_KEY_INVALID");
        assert_eq!(problem["errors"][0]["header"], "Idempotency-Key");
    }
    let twice = order(&bench.client, "a", WELL).key("b").send().await;
    twice.problem(400, "IDEMPOTENCY_KEY_INVALID");
    assert_eq!(bench.app.effects(), 0);
}

#[tokio::test]
async fn a02_quoted_and_bare_keys_replay_each_other() {
    let bench = bench().await;
    order(&bench.client, UUID, WELL).send().await;
    assert!(order(&bench.client, &format!("\"{UUID}\""), WELL).send().await.replayed());
}

#[tokio::test]
async fn a04_another_caller_has_keys_of_its_own() {
    let bench = bench().await;
    order(&bench.client, "k", WELL).send().await;
    let other = bench.client.post("/v1/orders").bearer(BOB).key("k").json(WELL).send().await;
    assert!(other.status == 201 && !other.replayed());
    assert_eq!(bench.app.effects(), 2);
}

#[tokio::test]
async fn a04_callers_without_identity_need_keys_that_cannot_be_guessed() {
    let bench = bench().await;
    bench.client.post("/v1/guest-orders").key("1").send().await.problem(400, "IDEMPOTENCY_KEY_INVALID");
    assert_eq!(bench.client.post("/v1/guest-orders").key(UUID).send().await.status, 200);
    assert!(bench.client.post("/v1/guest-orders").key(UUID).send().await.replayed());
    let alice = bench.client.post("/v1/guest-orders").bearer(ALICE).key(UUID).send().await;
    assert!(!alice.replayed(), "a caller's record is its own");
}

#[tokio::test]
async fn a04_a_key_without_a_caller_is_refused_unless_declared() {
    let bench = bench().await;
    assert_eq!(bench.client.post("/v1/notes").send().await.status, 200);
    bench.client.post("/v1/notes").key(UUID).send().await.problem(401, "UNAUTHENTICATED");
    assert_eq!(bench.client.post("/v1/notes").bearer(ALICE).key(UUID).send().await.status, 200);
    assert!(bench.client.post("/v1/notes").bearer(ALICE).key(UUID).send().await.replayed());
    assert_eq!(bench.app.effects(), 2);
}

#[tokio::test]
async fn a05_another_path_query_or_body_is_a_mismatch() {
    let bench = bench().await;
    order(&bench.client, "k", WELL).send().await;
    for reply in [
        order(&bench.client, "k", r#"{"item": "coffee"}"#).send().await,
        bench.client.post("/v1/orders?x=1").bearer(ALICE).key("k").json(WELL).send().await,
    ] {
        reply.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    bench.client.post("/v1/orders/1/pay").bearer(ALICE).key("k").send().await;
    let other = bench.client.post("/v1/orders/2/pay").bearer(ALICE).key("k").send().await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(bench.app.effects(), 2);
}

#[tokio::test]
async fn a06_the_layout_of_json_does_not_matter() {
    let bench = bench().await;
    order(&bench.client, "k", r#"{"item": "tea", "how": "well"}"#).send().await;
    let retry = order(&bench.client, "k", r#"{"how":"well","item":"te\u0061"}"#).send().await;
    assert!(retry.replayed());
}

#[tokio::test]
async fn a10_a_request_in_flight_is_a_409_and_a_mismatch_outranks_it() {
    let bench = bench().await;
    let client = bench.client.clone();
    let first = tokio::spawn(async move {
        client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k").json(HELD).send().await
    });
    bench.app.held().await;
    let put = |body| bench.client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k").json(body);
    let second = put(HELD).send().await;
    let problem = second.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    assert_eq!((problem["retryable"].as_bool(), second.number("retry-after")), (Some(true), 1));
    put(WELL).send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    bench.app.let_go();
    assert_eq!(first.await.expect("an answer").status, 201);
    assert!(put(HELD).send().await.replayed());
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a11_a_client_that_hangs_up_does_not_cancel_the_handler() {
    let bench = bench().await;
    let mut raw = bench.client.raw().await;
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: k\r\n"
    );
    raw.write(&format!(
        "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{HELD}",
        HELD.len()
    ))
    .await;
    bench.app.held().await;
    drop(raw);
    bench.app.let_go();
    let reply = answered(&bench, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
    assert_eq!(bench.app.effects(), 1);
}

fn held_put(bench: &Bench) -> tokio::task::JoinHandle<Reply> {
    let client = bench.client.clone();
    tokio::spawn(async move { put_held(&client).send().await })
}

/// Retries until the first request has its answer, as a client would.
async fn answered(bench: &Bench, key: &str, body: &str) -> Reply {
    for _ in 0..1000 {
        let reply = order(&bench.client, key, body).send().await;
        if reply.status != StatusCode::CONFLICT {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the request stays in flight");
}

#[tokio::test]
async fn a14_a_lapsed_lease_is_unknown_until_the_run_ends_after_all() {
    let bench = bench().await;
    let first = held(&bench, "k", HELD);
    bench.app.held().await;
    bench.clock.advance(Duration::from_secs(31));
    let problem = order(&bench.client, "k", HELD).send().await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(problem["retryable"], false);
    order(&bench.client, "k", WELL).send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    bench.app.let_go();
    first.await.expect("an answer");
    let reply = answered(&bench, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
}

#[tokio::test]
async fn a14_a_lapsed_lease_reruns_where_declared() {
    let bench = bench().await;
    let first = held_put(&bench);
    bench.app.held().await;
    bench.clock.advance(Duration::from_secs(31));
    let other = bench.client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k").json(WELL);
    other.send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let second = held_put(&bench);
    bench.app.held().await;
    bench.app.let_go();
    bench.app.let_go();
    let (first, second) = (first.await.expect("an answer"), second.await.expect("an answer"));
    assert!([first.status, second.status].contains(&StatusCode::CREATED));
    assert_eq!(bench.app.effects(), 2, "both ran");
}

#[tokio::test]
async fn a19_a_run_that_lost_its_record_answers_from_it() {
    let bench = bench().await;
    let put = || {
        let put = bench.client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k");
        put.json(r#"{"item": "tea", "how": "first_held"}"#)
    };
    let first = tokio::spawn({
        let client = bench.client.clone();
        async move {
            let put = client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k");
            put.json(r#"{"item": "tea", "how": "first_held"}"#).send().await
        }
    });
    bench.app.held().await;
    bench.clock.advance(Duration::from_secs(31));
    let second = put().send().await;
    assert!(second.status == 201 && !second.replayed(), "the lease has lapsed: another run");
    bench.app.let_go();
    let first = first.await.expect("an answer");
    assert!(first.replayed() && first.body == second.body, "the first run's own answer is discarded");
    assert_eq!(put().send().await.body, second.body);
}

#[tokio::test]
async fn a12_a_run_over_its_time_is_unknown_and_never_run_again() {
    // The heartbeat's thread lives by the machine's clock.
    let bench = Bench::start_with(aplomb::routes![put_order], |api| {
        let (lease, max_run) = (Duration::from_millis(300), Duration::from_millis(400));
        api.store(Store::memory()).lease(lease).max_run(max_run)
    });
    let bench = bench.await;
    let first = held_put(&bench);
    bench.app.held().await;
    unknown(&bench.client).await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    bench.app.let_go();
    assert_eq!(first.await.expect("an answer").status, 201);
    assert_eq!(bench.app.effects(), 1, "it lived: a rerun would have been a second effect");
}

#[tokio::test]
async fn a16_a_2xx_is_kept_with_status_fields_and_body() {
    let bench = bench().await;
    let first = order(&bench.client, "k", WELL).send().await;
    let second = order(&bench.client, "k", WELL).send().await;
    assert!(first.status == 201 && !first.replayed() && second.replayed());
    assert_eq!((second.status, &second.body), (first.status, &first.body));
    assert_eq!(second.header("location"), Some("/orders/0"));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(second.header("cache-control"), Some("no-store"));
    assert_ne!(second.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a16_a_4xx_of_the_handler_is_kept() {
    let (bench, first, second) = status(404).await;
    assert!(!first.replayed() && second.replayed());
    assert_eq!((second.status.as_u16(), &second.body[..]), (404, &b"as asked"[..]));
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a16_408_425_and_429_of_the_handler_free_the_key() {
    for code in [408, 425, 429] {
        let (bench, first, second) = status(code).await;
        assert!(first.status == code && second.status == code && !second.replayed());
        assert_eq!(bench.app.effects(), 2);
    }
}

#[tokio::test]
async fn a16_any_other_5xx_is_unknown() {
    let (bench, first, second) = status(503).await;
    assert_eq!(first.status, 503);
    second.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a16_a_panic_is_unknown() {
    let bench = bench().await;
    let body = r#"{"item": "tea", "how": "panic"}"#;
    order(&bench.client, "k", body).send().await.problem(500, "INTERNAL");
    order(&bench.client, "k", body).send().await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a16_an_error_without_effects_frees_the_key() {
    let bench = bench().await;
    let body = r#"{"item": "tea", "how": "no_effects"}"#;
    for _ in 0..2 {
        let reply = order(&bench.client, "k", body).send().await;
        let problem = reply.problem(503, "SUPPLIER");
        assert_eq!((problem["retryable"].as_bool(), reply.number("retry-after")), (Some(true), 2));
    }
    assert_eq!(order(&bench.client, "k", WELL).send().await.status, 201, "even for another request");
}

#[tokio::test]
async fn a16_a_refusal_before_the_handler_frees_the_key() {
    let bench = bench().await;
    order(&bench.client, "k", r#"{"item": 7}"#).send().await.problem(422, "VALIDATION_FAILED");
    order(&bench.client, "k", "{").send().await.problem(400, "MALFORMED_JSON");
    assert_eq!(order(&bench.client, "k", WELL).send().await.status, 201);
}

#[tokio::test]
async fn a17_a_completion_that_cannot_be_written_costs_the_client_nothing() {
    let bench = bench().await;
    bench.records.fail_next(Operation::Complete, Fault::Lost);
    bench.records.fail_next(Operation::Complete, Fault::Lost);
    let first = order(&bench.client, "k", WELL).send().await;
    assert_eq!(first.status, 201);
    let second = answered(&bench, "k", WELL).await;
    assert!(second.replayed() && second.body == first.body);
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a17_a_completion_whose_confirmation_is_lost_is_written_once() {
    let bench = bench().await;
    bench.records.fail_next(Operation::Complete, Fault::AnswerLost);
    let first = order(&bench.client, "k", WELL).send().await;
    let second = order(&bench.client, "k", WELL).send().await;
    assert!(second.replayed() && second.body == first.body);
}

#[tokio::test]
async fn a18_after_the_deadline_the_handler_goes_on_and_its_answer_is_kept() {
    let bench = bench().await;
    let reply = order(&bench.client, "k", HELD).send().await;
    assert_eq!(reply.problem(504, "DEADLINE_EXCEEDED")["retryable"], true);
    order(&bench.client, "k", HELD).send().await.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    bench.app.let_go();
    let reply = answered(&bench, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a18_a_panic_after_the_deadline_is_unknown() {
    let bench = bench().await;
    let body = r#"{"item": "tea", "how": "held_then_panic"}"#;
    order(&bench.client, "k", body).send().await.problem(504, "DEADLINE_EXCEEDED");
    bench.app.let_go();
    answered(&bench, "k", body).await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
}

#[tokio::test]
async fn a20_a_replay_sets_no_cookies() {
    let bench = bench().await;
    let body = r#"{"item": "tea", "how": "cookie"}"#;
    assert_eq!(order(&bench.client, "k", body).send().await.header("set-cookie"), Some("a=b"));
    let replay = order(&bench.client, "k", body).send().await;
    assert!(replay.replayed() && replay.header("set-cookie").is_none());
}

#[tokio::test]
async fn a21_a_body_too_large_to_keep_goes_to_the_first_caller_only() {
    let bench = bench().await;
    let body = r#"{"item": "tea", "how": "large"}"#;
    assert_eq!(order(&bench.client, "k", body).send().await.body.len(), (1 << 20) + 1);
    let replay = order(&bench.client, "k", body).send().await;
    assert_eq!((replay.status.as_u16(), replay.header("location")), (303, Some("/orders/0")));

    let body = r#"{"item": "tea", "how": "large_without_location"}"#;
    assert_eq!(order(&bench.client, "l", body).send().await.status, 201);
    order(&bench.client, "l", body).send().await.problem(410, "IDEMPOTENCY_RESPONSE_NOT_RETAINED");
    assert_eq!(bench.app.effects(), 2);
}

#[tokio::test]
async fn a22_an_answer_is_kept_as_long_as_declared() {
    let bench = bench().await;
    let put = || bench.client.call(http::Method::PUT, "/v1/orders/1").bearer(ALICE).key("k").json(WELL);
    order(&bench.client, "k", WELL).send().await;
    put().send().await;
    bench.clock.advance(Duration::from_secs(2 * 3600 - 1));
    assert!(put().send().await.replayed());
    bench.clock.advance(Duration::from_secs(1));
    assert!(!put().send().await.replayed(), "two hours have passed");
    bench.clock.advance(Duration::from_secs(22 * 3600 - 1));
    assert!(order(&bench.client, "k", WELL).send().await.replayed());
    bench.clock.advance(Duration::from_secs(1));
    assert!(!order(&bench.client, "k", WELL).send().await.replayed(), "a day has passed");
}

#[tokio::test]
async fn a23_a_store_that_is_down_is_a_503_and_the_handler_does_not_run() {
    let bench = bench().await;
    bench.records.break_down(true);
    let reply = order(&bench.client, "k", WELL).send().await;
    assert_eq!(reply.problem(503, "STORE_UNAVAILABLE")["retryable"], true);
    assert!(reply.number("retry-after") >= 1);
    assert_eq!(bench.app.effects(), 0);
    bench.records.break_down(false);
    assert_eq!(order(&bench.client, "k", WELL).send().await.status, 201);
}

#[tokio::test]
async fn a08_a_begin_whose_answer_is_lost_leaves_no_ghost() {
    let bench = bench().await;
    bench.records.fail_next(Operation::Begin, Fault::AnswerLost);
    bench.records.fail_next(Operation::Abort, Fault::Lost);
    order(&bench.client, "k", WELL).send().await.problem(503, "STORE_UNAVAILABLE");
    let reply = answered(&bench, "k", WELL).await;
    assert!(reply.status == 201 && !reply.replayed());
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a12_a_heartbeat_keeps_a_long_run_in_flight() {
    // Its thread beats by the machine's clock, so this test waits for real: three leases long.
    let bench = Bench::start_with(aplomb::routes![put_order], |api| {
        api.store(Store::memory()).lease(Duration::from_millis(300))
    });
    let bench = bench.await;
    let client = bench.client.clone();
    let first = {
        let client = client.clone();
        tokio::spawn(async move { put_held(&client).send().await })
    };
    bench.app.held().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    put_held(&client).send().await.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    bench.app.let_go();
    assert_eq!(first.await.expect("an answer").status, 201);
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn concurrent_tries_have_one_effect_and_one_answer() {
    let bench = bench().await;
    let tries: Vec<_> = (0..24)
        .map(|_| {
            let client = bench.client.clone();
            tokio::spawn(async move {
                loop {
                    let reply = order(&client, "k", WELL).send().await;
                    if reply.status != StatusCode::CONFLICT {
                        return reply.body;
                    }
                }
            })
        })
        .collect();
    let mut bodies = Vec::new();
    for task in tries {
        bodies.push(task.await.expect("an answer"));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(bench.app.effects(), 1);
}

/// Waits until the heartbeat of a run has ended with the run's time, then until its lease has.
async fn unknown(client: &Client) -> Reply {
    for _ in 0..400 {
        let reply = put_held(client).send().await;
        if reply.status != StatusCode::CONFLICT {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the run counts as alive for ever");
}

/// Places an order that must not run twice.
#[endpoint(put = "/orders/{id}", version = 1, idempotent)]
async fn put_once(
    State(app): State<App>,
    Path(_): Path<u64>,
    Json(order): Json<Order>,
) -> Result<Response, OrderError> {
    place(&app, order).await
}

#[tokio::test]
async fn a12_a_hung_handler_counts_as_dead_after_max_run() {
    // The heartbeat's thread lives by the machine's clock.
    let bench = Bench::start_with(aplomb::routes![put_once], |api| {
        let (lease, max_run) = (Duration::from_millis(300), Duration::from_millis(400));
        api.store(Store::memory()).lease(lease).max_run(max_run)
    });
    let bench = bench.await;
    let first = held_put(&bench);
    bench.app.held().await;
    unknown(&bench.client).await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    bench.app.let_go();
    assert_eq!(first.await.expect("an answer").status, 201);
    assert!(put_held(&bench.client).send().await.replayed(), "it was alive after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_a_handler_that_blocks_its_thread_does_not_stop_the_heartbeat() {
    /// Blocks, as no handler should.
    #[endpoint(put = "/orders/{id}", version = 1, idempotent)]
    async fn block(State(app): State<App>, Path(_): Path<u64>) {
        app.effect();
        std::thread::sleep(Duration::from_millis(900));
    }
    let bench = Bench::start_with(aplomb::routes![block], |api| {
        api.store(Store::memory()).lease(Duration::from_millis(300))
    });
    let bench = bench.await;
    let first = held_put(&bench);
    while bench.app.effects() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let retry = put_held(&bench.client).send().await;
    assert!(retry.status == 409 || retry.replayed(), "never unknown: {}", retry.status);
    assert_eq!(first.await.expect("an answer").status, 200);
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a17_a_completion_that_is_never_written_becomes_unknown() {
    let bench = bench().await;
    (0..1000).for_each(|_| bench.records.fail_next(Operation::Complete, Fault::Lost));
    assert_eq!(order(&bench.client, "k", WELL).send().await.status, 201, "the client has its answer");
    order(&bench.client, "k", WELL).send().await.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    bench.clock.advance(Duration::from_secs(31));
    order(&bench.client, "k", WELL).send().await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(bench.app.effects(), 1);
}

#[tokio::test]
async fn a09_a_mismatch_outranks_replay_and_unknown() {
    let bench = bench().await;
    order(&bench.client, "done", WELL).send().await;
    order(&bench.client, "done", HELD).send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    order(&bench.client, "unknown", r#"{"item": "tea", "how": "panic"}"#).send().await;
    order(&bench.client, "unknown", WELL).send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    bench.records.break_down(true);
    order(&bench.client, "done", HELD).send().await.problem(503, "STORE_UNAVAILABLE");
}

/// What an order must have since the deployment of today.
#[derive(Deserialize)]
struct StrictOrder {
    #[expect(dead_code, reason = "that it must be there is what matters")]
    since_today: String,
}

/// The same endpoint, as it reads requests since today.
#[endpoint(post = "/orders", version = 1, idempotent, handle = strict_orders)]
async fn place_strict_order(State(app): State<App>, Json(_): Json<StrictOrder>) -> Json<usize> {
    Json(app.effect())
}

#[tokio::test]
async fn a_request_that_a_new_deployment_would_refuse_still_gets_its_first_answer() {
    let bench = bench().await;
    let first = order(&bench.client, "done", WELL).send().await;
    order(&bench.client, "unknown", r#"{"item": "tea", "how": "panic"}"#).send().await;
    let running = held(&bench, "running", HELD);
    bench.app.held().await;

    let strict = strict(&bench).await;
    let client = Client::new(strict.address());
    let replay = order(&client, "done", WELL).send().await;
    assert!(replay.replayed() && replay.body == first.body, "DONE: the replay");
    let unknown = order(&client, "unknown", r#"{"item": "tea", "how": "panic"}"#).send().await;
    unknown.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    order(&client, "running", HELD).send().await.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    order(&client, "new", WELL).send().await.problem(422, "VALIDATION_FAILED");
    assert_eq!(order(&client, "new", r#"{"since_today": "x"}"#).send().await.status, 200, "the key is free");
    bench.clock.advance(Duration::from_secs(31));
    order(&client, "running", HELD).send().await.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    bench.records.break_down(true);
    order(&client, "down", WELL).send().await.problem(503, "STORE_UNAVAILABLE");
    bench.records.break_down(false);
    bench.app.let_go();
    running.await.expect("an answer");
}

/// Another process of the service, newly deployed, on the same store with the same secret.
async fn strict(bench: &Bench) -> TestServer {
    let api = bench.configure(Api::new("Test", aplomb::routes![strict_orders]));
    TestServer::start(api, bench.app.clone()).await.expect("a valid API")
}

#[tokio::test]
async fn a_full_store_takes_no_new_key_and_says_so() {
    let clock = aplomb::testing::TestClock::new();
    let clock: std::sync::Arc<dyn aplomb::clock::Clock> = std::sync::Arc::new(clock);
    let records = aplomb::store::MemoryRecords::with_bounds(1, 1 << 20, clock);
    let limits = aplomb::store::MemoryLimits::new();
    let store = Store::new(std::sync::Arc::new(limits), std::sync::Arc::new(records));
    let bench = Bench::start_with(aplomb::routes![place_order], |api| api.store(store)).await;
    assert_eq!(order(&bench.client, "k", WELL).send().await.status, 201);
    order(&bench.client, "l", WELL).send().await.problem(503, "STORE_UNAVAILABLE");
    assert!(order(&bench.client, "k", WELL).send().await.replayed(), "what is there is not forgotten");
    assert_eq!(bench.app.effects(), 1);
}
