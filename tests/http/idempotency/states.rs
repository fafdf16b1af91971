//! Tests the response to a request for each state of its record (the table in
//! `docs/guide/idempotency.md`, "Responses to a retry").

use super::*;

#[tokio::test]
async fn a10_during_a_run_a_retry_is_a_409_and_a_different_request_is_a_422() {
    let service = service().await;
    let client = service.client.clone();
    let first = tokio::spawn(async move {
        client
            .request(http::Method::PUT, "/v1/orders/1")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(HELD)
            .send()
            .await
    });
    service.app.until_held().await;
    let put = |body| {
        service
            .client
            .request(http::Method::PUT, "/v1/orders/1")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(body)
    };
    let second = put(HELD).send().await;
    let problem = second.problem(409, "IDEMPOTENCY_IN_FLIGHT");
    assert_eq!(
        (
            problem["retryable"].as_bool(),
            second.header_number("retry-after")
        ),
        (Some(true), 1)
    );
    put(VALID_ORDER)
        .send()
        .await
        .problem(422, "IDEMPOTENCY_KEY_REUSED");
    service.app.release();
    assert_eq!(first.await.expect("a response").status, 201);
    assert!(put(HELD).send().await.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a14_a_run_with_a_lapsed_lease_is_unknown_until_it_completes() {
    let service = service().await;
    let first = spawn_held_order(&service, "k", HELD);
    service.app.until_held().await;
    service.clock.advance(Duration::from_secs(29));
    order(&service.client, "k", HELD)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    service.clock.advance(Duration::from_secs(2));
    let instance = other_instance(&service).await;
    let other = instance.client();
    let problem = order(&other, "k", HELD)
        .send()
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    assert_eq!(problem["retryable"], false);
    order(&service.client, "k", HELD)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    for client in [&service.client, &other] {
        order(client, "k", VALID_ORDER)
            .send()
            .await
            .problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    service.app.release();
    first.await.expect("a response");
    let reply = retry_until_settled(&service, "k", HELD).await;
    assert!(reply.status == 201 && reply.replayed());
}

#[tokio::test]
async fn a14_a_run_with_a_lapsed_lease_is_rerun_if_declared() {
    let service = service().await;
    let first = spawn_held_put(&service.client);
    service.app.until_held().await;
    service.clock.advance(Duration::from_secs(31));
    held_put_request(&service.client)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    let instance = other_instance(&service).await;
    let other = instance
        .client()
        .request(http::Method::PUT, "/v1/orders/1")
        .bearer(ALICE)
        .idempotency_key("k")
        .json(VALID_ORDER);
    other.send().await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let second = spawn_held_put(&instance.client());
    service.app.until_held().await;
    service.app.release();
    service.app.release();
    let (first, second) = (
        first.await.expect("a response"),
        second.await.expect("a response"),
    );
    assert!([first.status, second.status].contains(&StatusCode::CREATED));
    assert_eq!(service.app.effects(), 2, "both runs have an effect");
}

#[tokio::test]
async fn a15_every_retry_of_an_unknown_outcome_gets_a_500_that_is_not_retryable() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "panic"}"#;
    order(&service.client, "k", body)
        .send()
        .await
        .problem(500, "INTERNAL");
    for _ in 0..3 {
        let retry = order(&service.client, "k", body).send().await;
        assert_eq!(
            retry.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN")["retryable"],
            false
        );
        assert!(retry.header("retry-after").is_none() && !retry.replayed());
    }
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a19_a_run_that_lost_its_record_responds_with_the_stored_response() {
    let service = service().await;
    let first = tokio::spawn(put_first_held(service.client.clone()));
    service.app.until_held().await;
    service.clock.advance(Duration::from_secs(31));
    let other = other_instance(&service).await;
    let put = || put_first_held(other.client());
    let second = put().await;
    assert!(
        second.status == 201 && !second.replayed(),
        "after the lease has lapsed, a retry starts another run"
    );
    service.app.release();
    let first = first.await.expect("a response");
    assert!(
        first.replayed() && first.body == second.body,
        "the first run discards its response"
    );
    assert_eq!(put().await.body, second.body);
}

/// Sends a PUT. Only the handler of the first PUT is held.
async fn put_first_held(client: Client) -> ClientResponse {
    let put = client
        .request(http::Method::PUT, "/v1/orders/1")
        .bearer(ALICE)
        .idempotency_key("k");
    put.json(r#"{"item": "tea", "how": "first_held"}"#)
        .send()
        .await
}

#[tokio::test]
async fn a20_a_replay_sets_no_cookies() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "cookie"}"#;
    assert_eq!(
        order(&service.client, "k", body)
            .send()
            .await
            .header("set-cookie"),
        Some("a=b")
    );
    let replay = order(&service.client, "k", body).send().await;
    assert!(replay.replayed() && replay.header("set-cookie").is_none());
}

#[tokio::test]
async fn a20_a_replay_has_every_field_and_idempotent_replayed() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "described"}"#;
    let first = order(&service.client, "k", body).send().await;
    let replay = order(&service.client, "k", body).send().await;
    assert_eq!((replay.status, &replay.body), (first.status, &first.body));
    let links = |reply: &ClientResponse| {
        reply
            .headers
            .get_all("link")
            .iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(links(&first).len() == 2 && links(&replay) == links(&first));
    assert_eq!(replay.header("content-type"), first.header("content-type"));
    assert_eq!(
        (first.replayed(), first.header("cache-control")),
        (false, Some("max-age=60"))
    );
    assert_eq!(
        (replay.replayed(), replay.header("cache-control")),
        (true, Some("no-store"))
    );
}

#[tokio::test]
async fn a20_a_replay_without_its_body_has_idempotent_replayed() {
    let service = service().await;
    for (how, status) in [("large", 303), ("large_without_location", 410)] {
        let body = format!(r#"{{"item": "tea", "how": "{how}"}}"#);
        assert_eq!(order(&service.client, how, &body).send().await.status, 201);
        let replay = order(&service.client, how, &body).send().await;
        assert!(replay.status == status && replay.replayed(), "{how}");
        assert_eq!(replay.header("cache-control"), Some("no-store"), "{how}");
    }
}

#[tokio::test]
async fn a21_a_body_that_is_too_large_to_store_is_sent_only_in_the_first_response() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "large"}"#;
    assert_eq!(
        order(&service.client, "k", body).send().await.body.len(),
        (1 << 20) + 1
    );
    let replay = order(&service.client, "k", body).send().await;
    assert_eq!(
        (replay.status.as_u16(), replay.header("location")),
        (303, Some("/orders/0"))
    );
    assert!(replay.body.is_empty());

    for (key, how) in [("l", "large_without_location"), ("m", "of_unknown_length")] {
        let body = format!(r#"{{"item": "tea", "how": "{how}"}}"#);
        assert_eq!(order(&service.client, key, &body).send().await.status, 201);
        order(&service.client, key, &body)
            .send()
            .await
            .problem(410, "IDEMPOTENCY_RESPONSE_NOT_RETAINED");
    }
    assert_eq!(service.app.effects(), 3);
}

#[tokio::test]
async fn a21_a_body_of_1_mib_is_stored() {
    let service = service().await;
    let body = r#"{"item": "tea", "how": "largest"}"#;
    let first = order(&service.client, "k", body).send().await;
    let replay = order(&service.client, "k", body).send().await;
    assert_eq!(
        (
            first.status.as_u16(),
            replay.status.as_u16(),
            first.body.len()
        ),
        (201, 201, 1 << 20)
    );
    assert!(replay.replayed() && replay.body == first.body);
}

#[tokio::test]
async fn a22_a_response_is_stored_for_the_declared_ttl() {
    let service = service().await;
    let put = || {
        service
            .client
            .request(http::Method::PUT, "/v1/orders/1")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(VALID_ORDER)
    };
    order(&service.client, "k", VALID_ORDER).send().await;
    put().send().await;
    service.clock.advance(Duration::from_secs(2 * 3600 - 1));
    assert!(put().send().await.replayed());
    service.clock.advance(Duration::from_secs(1));
    assert!(!put().send().await.replayed(), "two hours have passed");
    service.clock.advance(Duration::from_secs(22 * 3600 - 1));
    assert!(
        order(&service.client, "k", VALID_ORDER)
            .send()
            .await
            .replayed()
    );
    service.clock.advance(Duration::from_secs(1));
    assert!(
        !order(&service.client, "k", VALID_ORDER)
            .send()
            .await
            .replayed(),
        "a day has passed"
    );
}

#[tokio::test]
async fn a23_a_store_that_is_down_is_a_503_and_the_handler_does_not_run() {
    let service = service().await;
    service.records.set_broken(true);
    let reply = order(&service.client, "k", VALID_ORDER).send().await;
    assert_eq!(reply.problem(503, "STORE_UNAVAILABLE")["retryable"], true);
    assert!(reply.header_number("retry-after") >= 1);
    assert_eq!(service.app.effects(), 0);
    service.records.set_broken(false);
    assert_eq!(
        order(&service.client, "k", VALID_ORDER).send().await.status,
        201
    );
}

#[tokio::test]
async fn a08_a_begin_with_a_lost_reply_leaves_no_running_record() {
    let service = service().await;
    service
        .records
        .fail_next(StoreOperation::Begin, Fault::ReplyLost);
    service
        .records
        .fail_next(StoreOperation::Abort, Fault::Lost);
    order(&service.client, "k", VALID_ORDER)
        .send()
        .await
        .problem(503, "STORE_UNAVAILABLE");
    let reply = retry_until_settled(&service, "k", VALID_ORDER).await;
    assert!(reply.status == 201 && !reply.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a08_a_begin_that_arrives_after_its_abort_leaves_no_running_record() {
    let service = service().await;
    service
        .records
        .fail_next(StoreOperation::Begin, Fault::Late);
    order(&service.client, "k", VALID_ORDER)
        .send()
        .await
        .problem(503, "STORE_UNAVAILABLE");
    service.records.until_late().await;
    let reply = order(&service.client, "k", VALID_ORDER).send().await;
    assert!(reply.status == 201 && !reply.replayed());
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn concurrent_requests_have_one_effect_and_one_response() {
    let service = service().await;
    let requests: Vec<_> = (0..24)
        .map(|_| {
            let client = service.client.clone();
            tokio::spawn(async move {
                loop {
                    let reply = order(&client, "k", VALID_ORDER).send().await;
                    if reply.status != StatusCode::CONFLICT {
                        return reply.body;
                    }
                }
            })
        })
        .collect();
    let mut bodies = Vec::new();
    for task in requests {
        bodies.push(task.await.expect("a response"));
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a09_a_different_request_is_a_422_if_the_record_is_done_or_unknown() {
    let service = service().await;
    order(&service.client, "done", VALID_ORDER).send().await;
    order(&service.client, "done", HELD)
        .send()
        .await
        .problem(422, "IDEMPOTENCY_KEY_REUSED");
    order(
        &service.client,
        "unknown",
        r#"{"item": "tea", "how": "panic"}"#,
    )
    .send()
    .await;
    order(&service.client, "unknown", VALID_ORDER)
        .send()
        .await
        .problem(422, "IDEMPOTENCY_KEY_REUSED");
    service.records.set_broken(true);
    order(&service.client, "done", HELD)
        .send()
        .await
        .problem(503, "STORE_UNAVAILABLE");
}

/// The body of an order in the new deployment.
#[derive(Deserialize)]
struct StrictOrder {
    #[expect(dead_code, reason = "only the presence of the member matters")]
    since_today: String,
}

/// Places an order in the new deployment.
#[endpoint(post = "/orders", version = 1, idempotent, type_name = strict_orders)]
async fn place_strict_order(State(app): State<App>, Json(_): Json<StrictOrder>) -> Json<usize> {
    Json(app.effect())
}

#[tokio::test]
async fn a_retry_that_a_new_deployment_would_reject_gets_the_stored_response() {
    let service = service().await;
    let first = order(&service.client, "done", VALID_ORDER).send().await;
    order(
        &service.client,
        "unknown",
        r#"{"item": "tea", "how": "panic"}"#,
    )
    .send()
    .await;
    let running = spawn_held_order(&service, "running", HELD);
    service.app.until_held().await;

    let strict = start_strict(&service).await;
    let client = Client::new(strict.address());
    let replay = order(&client, "done", VALID_ORDER).send().await;
    assert!(
        replay.replayed() && replay.body == first.body,
        "a DONE record is replayed"
    );
    let unknown = order(&client, "unknown", r#"{"item": "tea", "how": "panic"}"#)
        .send()
        .await;
    unknown.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    order(&client, "running", HELD)
        .send()
        .await
        .problem(409, "IDEMPOTENCY_IN_FLIGHT");
    order(&client, "new", VALID_ORDER)
        .send()
        .await
        .problem(422, "VALIDATION_FAILED");
    assert_eq!(
        order(&client, "new", r#"{"since_today": "x"}"#)
            .send()
            .await
            .status,
        200,
        "the key is free"
    );
    service.clock.advance(Duration::from_secs(31));
    order(&client, "running", HELD)
        .send()
        .await
        .problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN");
    service.records.set_broken(true);
    order(&client, "down", VALID_ORDER)
        .send()
        .await
        .problem(503, "STORE_UNAVAILABLE");
    service.records.set_broken(false);
    service.app.release();
    running.await.expect("a response");
}

/// Starts an instance of the new deployment, with the same store and secret.
async fn start_strict(service: &TestService) -> TestServer {
    let api = service.configure(Api::new("test", aplomb::routes![strict_orders]));
    TestServer::start(api, service.app.clone())
        .await
        .expect("a valid API")
}

#[tokio::test]
async fn a22_a_full_store_rejects_new_keys_with_retry_after() {
    let clock = aplomb::testing::TestClock::new();
    let clock: std::sync::Arc<dyn aplomb::clock::Clock> = std::sync::Arc::new(clock);
    let records = aplomb::store::MemoryRecords::with_bounds(1, 1 << 20, clock);
    let limits = aplomb::store::MemoryLimits::new();
    let store = Store::new(std::sync::Arc::new(limits), std::sync::Arc::new(records));
    let service =
        TestService::start_with(aplomb::routes![place_order], |api| api.store(store)).await;
    assert_eq!(
        order(&service.client, "k", VALID_ORDER).send().await.status,
        201
    );
    let rejected = service
        .client
        .post("/v1/orders")
        .bearer(BOB)
        .idempotency_key("l")
        .json(VALID_ORDER)
        .send()
        .await;
    rejected.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(rejected.header_number("retry-after"), 60);
    assert!(
        order(&service.client, "k", VALID_ORDER)
            .send()
            .await
            .replayed(),
        "stored responses are kept"
    );
    assert_eq!(service.app.effects(), 1);
}
