use std::collections::BTreeSet;

use serde_json::json;

use crate::service::{ALICE, BOB, Service};

#[tokio::test]
async fn requests_with_the_same_key_pay_only_once() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let new = json!({ "from": alice, "to": bob, "amount": 30 });
    let first = service
        .post_with("k", ALICE, "/v1/payments", &new)
        .await
        .expect(201);
    let second = service
        .post_with("k", ALICE, "/v1/payments", &new)
        .await
        .expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(service.balance(ALICE, &alice).await, 70);
}

#[tokio::test]
async fn every_post_requires_a_key() {
    let service = Service::start().await;
    let (account, payment) = (
        "acc_01HZQK7P3WVXBN4Y9MRDTJC8E6",
        "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6",
    );
    for path in [
        "/v1/accounts".to_owned(),
        "/v2/accounts".to_owned(),
        format!("/v1/accounts/{account}/deposit"),
        "/v1/payments".to_owned(),
        format!("/v1/payments/{payment}/refund"),
        format!("/v2/accounts/{account}/payouts"),
        format!("/v2/accounts/{account}/statements"),
    ] {
        let rejected = service.send(service.client.post(&path).bearer(ALICE)).await;
        assert_eq!(
            rejected.problem(),
            (400, "IDEMPOTENCY_KEY_MISSING".into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_endpoint_except_health_requires_a_caller() {
    let service = Service::start().await;
    for path in ["/v1/accounts/x", "/v1/payments", "/v1/payments/x"] {
        let rejected = service.get("sk_test_carol", path).await;
        assert_eq!(
            rejected.problem(),
            (401, "UNAUTHENTICATED".into()),
            "{path}"
        );
    }
    let health = service.client.get("/v1/health");
    assert_eq!(
        service.send(health).await.expect(200).body,
        json!({ "status": "ok" })
    );
}

#[tokio::test]
async fn payments_are_limited_to_a_hundred_a_minute() {
    let service = Service::start().await;
    let account = service.account(ALICE, 0).await;
    let mut admitted = 0;
    // On a slow machine the bucket refills some tokens while the loop uses the burst.
    let rejected = loop {
        match service.pay(ALICE, &account, &account, 1).await {
            rejected if rejected.status == 429 => break rejected,
            response => assert_eq!(response.expect(422).pointer(), Some("#/to")),
        }
        admitted += 1;
        assert!(admitted < 1_000, "no limit");
    };
    assert!(admitted >= 100, "{admitted}");
    assert_eq!(rejected.problem(), (429, "RATE_LIMITED".into()));
    assert_eq!(rejected.header("retry-after"), Some("1"));
    assert_ne!(service.pay(BOB, &account, &account, 1).await.status, 429);
}

#[tokio::test]
async fn a_new_payment_between_two_pages_causes_no_missed_or_repeated_payment() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let mut present = BTreeSet::new();
    for _ in 0..9 {
        present.insert(
            service
                .pay(ALICE, &alice, &bob, 1)
                .await
                .expect(201)
                .text("id"),
        );
    }
    let (mut seen, mut path) = (Vec::new(), String::from("/v1/payments?limit=4"));
    loop {
        let page = service.get(BOB, &path).await.expect(200).body;
        let rows = page["data"].as_array().expect("a list").iter();
        seen.extend(rows.map(|row| row["id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/payments?limit=4&cursor={cursor}");
        service.pay(ALICE, &alice, &bob, 1).await.expect(201);
    }
    assert_eq!(seen, present.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_can_be_read_in_both_directions() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    for _ in 0..5 {
        service.pay(ALICE, &alice, &bob, 1).await.expect(201);
    }
    let page = async |cursor: &str| {
        service
            .get(BOB, &format!("/v1/payments?limit=2{cursor}"))
            .await
            .expect(200)
            .body
    };
    let first = page("").await;
    assert_eq!(
        (
            first["data"].as_array().map(Vec::len),
            first["prev_cursor"].is_null()
        ),
        (Some(2), true)
    );
    let second = page(&format!(
        "&cursor={}",
        first["next_cursor"].as_str().expect("a next page")
    ))
    .await;
    let back = page(&format!(
        "&cursor={}",
        second["prev_cursor"].as_str().expect("a previous page")
    ))
    .await;
    assert_eq!(
        (&back["data"], back["prev_cursor"].is_null()),
        (&first["data"], true)
    );
    assert_ne!(second["data"], first["data"]);
}

#[tokio::test]
async fn a_locked_ledger_is_a_503_that_leaves_the_key_free() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let new = json!({ "from": alice, "to": bob, "amount": 30 });
    let lock = service
        .pool
        .begin_with("BEGIN IMMEDIATE")
        .await
        .expect("the write lock");

    let busy = service.post_with("k", ALICE, "/v1/payments", &new).await;
    assert_eq!(busy.problem(), (503, "STORE_UNAVAILABLE".into()));
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(busy.body["retryable"], true);

    let balance = service.balance(ALICE, &alice).await;
    assert_eq!(balance, 100, "a lock does not stop readers");
    lock.rollback().await.expect("released");
    let paid = service
        .post_with("k", ALICE, "/v1/payments", &new)
        .await
        .expect(201);
    assert_eq!(paid.header("idempotent-replayed"), None);
    assert_eq!(service.balance(ALICE, &alice).await, 70);
}
