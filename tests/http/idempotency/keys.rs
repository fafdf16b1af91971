//! Idempotency keys: their form, their scope, and the parts of a request that a retry must repeat.

use super::*;

/// Waits beyond its deadline until the test releases it. The idempotency key is optional.
#[endpoint(post = "/slow", version = 1, idempotent(optional), timeout = "50ms")]
async fn slow(State(app): State<App>) {
    app.hold().await;
}

#[tokio::test]
async fn a01_without_its_optional_key_a_request_is_not_retryable() {
    let service = TestService::start(aplomb::routes![slow]).await;
    let without = service.client.post("/v1/slow").bearer(ALICE).send().await;
    assert_eq!(
        without.problem(504, "DEADLINE_EXCEEDED")["retryable"],
        false
    );
    let with = service
        .client
        .post("/v1/slow")
        .bearer(ALICE)
        .idempotency_key("k")
        .send()
        .await;
    assert_eq!(with.problem(504, "DEADLINE_EXCEEDED")["retryable"], true);
    service.app.release();
}

#[tokio::test]
async fn a01_a_key_is_required() {
    let service = service().await;
    let reply = service
        .client
        .post("/v1/orders")
        .bearer(ALICE)
        .json(VALID_ORDER)
        .send()
        .await;
    reply.problem(400, "IDEMPOTENCY_KEY_MISSING");
    let reply = service
        .client
        .post("/v1/orders/1/pay")
        .bearer(ALICE)
        .send()
        .await;
    assert_eq!(reply.status, 200, "optional");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a03_an_invalid_key_is_rejected_before_any_look_up() {
    let service = service().await;
    service.records.set_broken(true);
    let long = "a".repeat(256);
    for key in ["", "a, b", "\"open", &long, "a b"] {
        let problem = order(&service.client, key, VALID_ORDER)
            .send()
            .await
            .problem(400, "IDEMPOTENCY_KEY_INVALID");
        assert_eq!(problem["errors"][0]["header"], "Idempotency-Key");
    }
    let twice = order(&service.client, "a", VALID_ORDER)
        .idempotency_key("b")
        .send()
        .await;
    twice.problem(400, "IDEMPOTENCY_KEY_INVALID");
    assert_eq!(service.app.effects(), 0);
}

/// Requires an idempotency key, and has a limit.
#[endpoint(post = "/limited", version = 1, idempotent, rate_limit = "100/day")]
async fn limited() {}

#[tokio::test]
async fn a03_an_invalid_key_takes_no_tokens() {
    let service = TestService::start(aplomb::routes![limited]).await;
    let post = |key: &'static str| {
        service
            .client
            .post("/v1/limited")
            .bearer(ALICE)
            .idempotency_key(key)
            .send()
    };
    for _ in 0..2 {
        let rejected = post("a b").await;
        rejected.problem(400, "IDEMPOTENCY_KEY_INVALID");
        assert_eq!(rejected.header("x-ratelimit-remaining"), None);
    }
    assert_eq!(post("k").await.header_number("x-ratelimit-remaining"), 99);
}

#[tokio::test]
async fn a02_a_retry_with_quotes_around_its_key_is_a_replay() {
    let service = service().await;
    order(&service.client, UUID, VALID_ORDER).send().await;
    assert!(
        order(&service.client, &format!("\"{UUID}\""), VALID_ORDER)
            .send()
            .await
            .replayed()
    );
}

#[tokio::test]
async fn a04_two_callers_can_use_the_same_key() {
    let service = service().await;
    order(&service.client, "k", VALID_ORDER).send().await;
    let other = service
        .client
        .post("/v1/orders")
        .bearer(BOB)
        .idempotency_key("k")
        .json(VALID_ORDER)
        .send()
        .await;
    assert!(other.status == 201 && !other.replayed());
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a04_a_caller_with_new_credentials_keeps_its_records() {
    let keys = ApiKeys::parse(&format!("alice:{ALICE},alice:sk_test_new")).expect("valid keys");
    let service = TestService::start_with(aplomb::routes![place_order], |api| api.auth(keys)).await;
    let first = order(&service.client, "k", VALID_ORDER).send().await;
    let retry = service
        .client
        .post("/v1/orders")
        .bearer("sk_test_new")
        .idempotency_key("k")
        .json(VALID_ORDER)
        .send()
        .await;
    assert!(retry.replayed() && retry.body == first.body);
}

/// The second version of `note`.
#[endpoint(post = "/notes", version = 2, public, idempotent(optional))]
async fn note_v2(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

#[tokio::test]
async fn a04_two_versions_of_a_route_have_separate_records() {
    let service = TestService::start(aplomb::routes![note, note_v2]).await;
    let call = |path: &'static str| {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
    };
    assert_eq!(call("/v1/notes").await.status, 200);
    let other = call("/v2/notes").await;
    assert!(other.status == 200 && !other.replayed());
    assert!(call("/v1/notes").await.replayed() && call("/v2/notes").await.replayed());
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a25_anonymous_requests_need_keys_that_cannot_be_guessed() {
    let service = service().await;
    for short in ["1", &"a".repeat(21), &format!("\"{}\"", "a".repeat(21))] {
        let reply = service
            .client
            .post("/v1/guest-orders")
            .idempotency_key(short)
            .send()
            .await;
        reply.problem(400, "IDEMPOTENCY_KEY_INVALID");
    }
    assert_eq!(service.app.effects(), 0);
    assert_eq!(
        service
            .client
            .post("/v1/guest-orders")
            .idempotency_key(&"a".repeat(22))
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .client
            .post("/v1/guest-orders")
            .idempotency_key(UUID)
            .send()
            .await
            .status,
        200
    );
    assert!(
        service
            .client
            .post("/v1/guest-orders")
            .idempotency_key(UUID)
            .send()
            .await
            .replayed()
    );
    let alice = service
        .client
        .post("/v1/guest-orders")
        .bearer(ALICE)
        .idempotency_key(UUID)
        .send()
        .await;
    assert!(
        !alice.replayed(),
        "callers and anonymous clients share no records"
    );
}

#[tokio::test]
async fn a04_a_key_without_a_caller_is_rejected_unless_declared_anonymous() {
    let service = service().await;
    assert_eq!(service.client.post("/v1/notes").send().await.status, 200);
    service
        .client
        .post("/v1/notes")
        .idempotency_key(UUID)
        .send()
        .await
        .problem(401, "UNAUTHENTICATED");
    assert_eq!(
        service
            .client
            .post("/v1/notes")
            .bearer(ALICE)
            .idempotency_key(UUID)
            .send()
            .await
            .status,
        200
    );
    assert!(
        service
            .client
            .post("/v1/notes")
            .bearer(ALICE)
            .idempotency_key(UUID)
            .send()
            .await
            .replayed()
    );
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a05_a_request_with_another_path_query_or_body_is_a_422() {
    let service = service().await;
    order(&service.client, "k", VALID_ORDER).send().await;
    for reply in [
        order(&service.client, "k", r#"{"item": "coffee"}"#)
            .send()
            .await,
        service
            .client
            .post("/v1/orders?x=1")
            .bearer(ALICE)
            .idempotency_key("k")
            .json(VALID_ORDER)
            .send()
            .await,
    ] {
        reply.problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    service
        .client
        .post("/v1/orders/1/pay")
        .bearer(ALICE)
        .idempotency_key("k")
        .send()
        .await;
    let other = service
        .client
        .post("/v1/orders/2/pay")
        .bearer(ALICE)
        .idempotency_key("k")
        .send()
        .await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(service.app.effects(), 2);
}

#[tokio::test]
async fn a06_a_retry_with_other_white_space_order_or_escapes_of_json_is_a_replay() {
    let service = service().await;
    order(&service.client, "k", r#"{"item": "tea", "how": "well"}"#)
        .send()
        .await;
    let retry = order(&service.client, "k", r#"{"how":"well","item":"te\u0061"}"#)
        .send()
        .await;
    assert!(retry.replayed());
}

#[tokio::test]
async fn a05_paths_are_compared_after_decoding() {
    let service = service().await;
    let pay = |path: &'static str| {
        service
            .client
            .post(path)
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
    };
    assert_eq!(pay("/v1/orders/1/pay").await.status, 200);
    assert!(pay("/v1/orders/%31/pay").await.replayed());
    pay("/v1/orders/%32/pay")
        .await
        .problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(service.app.effects(), 1);
}

/// Books a seat. The next release renames the path parameter.
#[endpoint(post = "/seats/{id}/book", version = 1, idempotent)]
async fn book_seat(State(app): State<App>, Path(id): Path<u32>) -> Json<(u32, usize)> {
    Json((id, app.effect()))
}

#[endpoint(post = "/seats/{seat_number}/book", version = 1, idempotent)]
async fn book_renamed_seat(State(app): State<App>, Path(number): Path<u32>) -> Json<(u32, usize)> {
    Json((number, app.effect()))
}

#[tokio::test]
async fn a04_a_renamed_path_parameter_keeps_its_keys() {
    let service = TestService::start(aplomb::routes![book_seat]).await;
    let book = async |client: &Client| {
        client
            .post("/v1/seats/7/book")
            .bearer(ALICE)
            .idempotency_key("k")
            .send()
            .await
    };
    let first = book(&service.client).await;
    let renamed = service.configure(Api::new("test", aplomb::routes![book_renamed_seat]));
    let renamed = TestServer::start(renamed, service.app.clone())
        .await
        .expect("a valid API");
    let again = book(&Client::new(renamed.address())).await;
    assert!(again.replayed() && again.body == first.body);
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn a04_keys_survive_a_change_of_the_secret() {
    let service = service().await;
    let secret = |byte: u8| aplomb::Secret::new([byte; 32]).expect("long enough");
    let api = || service.configure(Api::new("test", aplomb::routes![place_order, guest_order]));
    let guest = async |client: &Client| {
        client
            .post("/v1/guest-orders")
            .idempotency_key(UUID)
            .send()
            .await
    };
    // `TestService` uses a secret in which each byte is 7.
    let first = order(&service.client, "k", VALID_ORDER).send().await;
    let first_guest = guest(&service.client).await;
    assert_eq!(
        (first.status.as_u16(), first_guest.status.as_u16()),
        (201, 200)
    );
    for api in [
        api().secret(secret(8)),
        api().secret(secret(9)).previous_secret(secret(8)),
    ] {
        let server = TestServer::start(api, service.app.clone())
            .await
            .expect("a valid API");
        let client = Client::new(server.address());
        let again = order(&client, "k", VALID_ORDER).send().await;
        assert!(again.replayed() && again.body == first.body);
        let again = guest(&client).await;
        assert!(again.replayed() && again.body == first_guest.body);
        order(&client, "k", r#"{"item": "salt"}"#)
            .send()
            .await
            .problem(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(service.app.effects(), 2);
}
