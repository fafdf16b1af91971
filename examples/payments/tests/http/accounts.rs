use serde_json::json;

use crate::service::{ALICE, BOB, Service};

const SUNSET: &str = "Wed, 30 Jun 2027 23:59:59 GMT";

#[tokio::test]
async fn version_1_links_to_its_successor_with_the_same_account() {
    let service = Service::start().await;
    let id = service.account(ALICE, 1250).await;
    let old = service
        .get(ALICE, &format!("/v1/accounts/{id}"))
        .await
        .expect(200);
    assert_eq!(old.body["balance"], 1250);
    assert_eq!(old.header("deprecation"), Some("@1790812800"));
    assert_eq!(old.header("sunset"), Some(SUNSET));
    let link = old
        .header("link")
        .and_then(|link| link.strip_suffix(">; rel=\"successor-version\""));
    let successor = link
        .and_then(|link| link.strip_prefix('<'))
        .expect("a successor");
    let new = service.get(ALICE, successor).await.expect(200);
    let balance = json!({ "amount": 1250, "currency": "EUR" });
    assert_eq!(
        new.body,
        json!({ "id": id, "owner": "Somebody", "balance": balance })
    );
    assert_eq!(new.header("deprecation"), None);
}

#[tokio::test]
async fn errors_of_version_1_have_the_sunset() {
    let service = Service::start().await;
    for (caller, path, status) in [
        (ALICE, "/v1/accounts/acc_01HZQK7P3WVXBN4Y9MRDTJC8E6", 404),
        (ALICE, "/v1/accounts/x", 400),
        ("sk_test_carol", "/v1/accounts/x", 401),
    ] {
        let rejected = service.get(caller, path).await.expect(status);
        assert_eq!(rejected.header("sunset"), Some(SUNSET), "{path}");
    }
}

#[tokio::test]
async fn version_2_opens_accounts_and_shares_payments_with_version_1() {
    let service = Service::start().await;
    let new = json!({ "owner": "Alice", "currency": "EUR" });
    let opened = service.post(ALICE, "/v2/accounts", &new).await.expect(201);
    let (id, bob) = (opened.text("id"), service.account(BOB, 0).await);
    assert_eq!(
        opened.header("location"),
        Some(&*format!("/v2/accounts/{id}"))
    );
    let deposit = service
        .post(
            ALICE,
            &format!("/v2/accounts/{id}/deposit"),
            &json!({ "amount": 30 }),
        )
        .await;
    assert_eq!(
        deposit.expect(201).body["balance"],
        json!({ "amount": 30, "currency": "EUR" })
    );
    let payment = json!({ "from": id, "to": bob, "amount": 20 });
    let paid = service
        .post(ALICE, "/v2/payments", &payment)
        .await
        .expect(201);
    for version in ["v1", "v2"] {
        let page = service
            .get(BOB, &format!("/{version}/payments"))
            .await
            .expect(200);
        assert_eq!(page.body["data"], json!([paid.body]));
        assert_eq!(page.header("deprecation"), None);
    }
    assert_eq!(service.balance(ALICE, &id).await, 10);
}

#[tokio::test]
async fn the_location_of_a_new_account_returns_it() {
    let service = Service::start().await;
    let new = json!({ "owner": "Alice", "currency": "EUR" });
    let opened = service.post(ALICE, "/v1/accounts", &new).await.expect(201);
    let id = opened.text("id");
    assert!(id.starts_with("acc_"));
    assert_eq!(
        opened.body,
        json!({ "id": id, "owner": "Alice", "currency": "EUR", "balance": 0 })
    );
    let location = opened.header("location").expect("a location");
    assert_eq!(location, format!("/v1/accounts/{id}"));
    assert_eq!(
        service.get(ALICE, location).await.expect(200).body,
        opened.body
    );
}

#[tokio::test]
async fn an_invalid_member_has_a_pointer() {
    let service = Service::start().await;
    for (body, pointer) in [
        (json!({ "owner": " ", "currency": "EUR" }), "#/owner"),
        (
            json!({ "owner": "x".repeat(101), "currency": "EUR" }),
            "#/owner",
        ),
        (json!({ "owner": "Alice", "currency": "eur" }), "#/currency"),
        (json!({ "owner": "Alice", "currency": 7 }), "#/currency"),
    ] {
        let rejected = service.post(ALICE, "/v1/accounts", &body).await;
        assert_eq!(
            rejected.problem(),
            (422, "VALIDATION_FAILED".into()),
            "{body}"
        );
        assert_eq!(rejected.pointer(), Some(pointer), "{body}");
    }
}

#[tokio::test]
async fn an_account_of_another_caller_is_not_found() {
    let service = Service::start().await;
    let id = service.account(ALICE, 10).await;
    let read = service.get(BOB, &format!("/v1/accounts/{id}")).await;
    assert_eq!(read.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    let deposit = json!({ "amount": 1 });
    let deposited = service
        .post(BOB, &format!("/v1/accounts/{id}/deposit"), &deposit)
        .await;
    assert_eq!(deposited.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    assert_eq!(service.balance(ALICE, &id).await, 10);
}

#[tokio::test]
async fn a_deposit_above_the_largest_balance_is_a_409() {
    let service = Service::start().await;
    let id = service.account(ALICE, i64::MAX).await;
    let deposit = json!({ "amount": 1 });
    let rejected = service
        .post(ALICE, &format!("/v1/accounts/{id}/deposit"), &deposit)
        .await;
    assert_eq!(rejected.problem(), (409, "BALANCE_TOO_LARGE".into()));
    assert_eq!(service.balance(ALICE, &id).await, i64::MAX);
}
