use serde_json::json;

use crate::service::{ALICE, BOB, Service};

#[tokio::test]
async fn an_account_is_created_where_its_location_says() {
    let service = Service::start().await;
    let new = json!({ "owner": "Alice", "currency": "EUR" });
    let opened = service.post(ALICE, "/v1/accounts", &new).await.expect(201);
    let id = opened.text("id");
    assert!(id.starts_with("acc_"));
    assert_eq!(opened.body, json!({ "id": id, "owner": "Alice", "currency": "EUR", "balance": 0 }));
    let location = opened.header("location").expect("a location");
    assert_eq!(location, format!("/v1/accounts/{id}"));
    assert_eq!(service.get(ALICE, location).await.expect(200).body, opened.body);
}

#[tokio::test]
async fn a_wrong_member_is_pointed_at() {
    let service = Service::start().await;
    for (body, pointer) in [
        (json!({ "owner": " ", "currency": "EUR" }), "#/owner"),
        (json!({ "owner": "x".repeat(101), "currency": "EUR" }), "#/owner"),
        (json!({ "owner": "Alice", "currency": "eur" }), "#/currency"),
        (json!({ "owner": "Alice", "currency": 7 }), "#/currency"),
    ] {
        let refused = service.post(ALICE, "/v1/accounts", &body).await;
        assert_eq!(refused.problem(), (422, "VALIDATION_FAILED".into()), "{body}");
        assert_eq!(refused.pointer(), Some(pointer), "{body}");
    }
}

#[tokio::test]
async fn an_account_of_another_caller_is_not_found() {
    let service = Service::start().await;
    let id = service.account(ALICE, 10).await;
    let read = service.get(BOB, &format!("/v1/accounts/{id}")).await;
    assert_eq!(read.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    let deposit = json!({ "amount": 1 });
    let paid_in = service.post(BOB, &format!("/v1/accounts/{id}/deposit"), &deposit).await;
    assert_eq!(paid_in.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    assert_eq!(service.balance(ALICE, &id).await, 10);
}

#[tokio::test]
async fn a_balance_that_does_not_fit_is_refused() {
    let service = Service::start().await;
    let id = service.account(ALICE, i64::MAX).await;
    let deposit = json!({ "amount": 1 });
    let refused = service.post(ALICE, &format!("/v1/accounts/{id}/deposit"), &deposit).await;
    assert_eq!(refused.problem(), (409, "BALANCE_TOO_LARGE".into()));
    assert_eq!(service.balance(ALICE, &id).await, i64::MAX);
}
