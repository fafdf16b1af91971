use serde_json::json;

use crate::service::{ALICE, BOB, Service};

#[tokio::test]
async fn the_location_of_a_payment_returns_it_to_both_callers() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let paid = service.pay(ALICE, &alice, &bob, 30).await.expect(201);
    assert_eq!(paid.text("status"), "completed");
    let location = paid.header("location").expect("a location");
    for caller in [ALICE, BOB] {
        assert_eq!(
            service.get(caller, location).await.expect(200).body,
            paid.body
        );
        assert_eq!(
            service.get(caller, "/v1/payments").await.expect(200).body["data"],
            json!([paid.body])
        );
    }
    assert_eq!(
        (
            service.balance(ALICE, &alice).await,
            service.balance(BOB, &bob).await
        ),
        (70, 30)
    );
}

#[tokio::test]
async fn amounts_are_positive_integers() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    for amount in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(u64::MAX),
        json!(null),
    ] {
        let new = json!({ "from": alice, "to": bob, "amount": amount });
        let rejected = service.post(ALICE, "/v1/payments", &new).await;
        assert_eq!(
            rejected.problem(),
            (422, "VALIDATION_FAILED".into()),
            "{amount}"
        );
        assert_eq!(rejected.pointer(), Some("#/amount"), "{amount}");
    }
    assert_eq!(service.balance(ALICE, &alice).await, 100);
}

#[tokio::test]
async fn an_account_that_cannot_be_paid_has_a_pointer() {
    let service = Service::start().await;
    let (alice, francs) = (
        service.account(ALICE, 100).await,
        service.account_in(BOB, "CHF", 0).await,
    );
    for (to, code) in [(&alice, "SAME_ACCOUNT"), (&francs, "CURRENCY_MISMATCH")] {
        let rejected = service.pay(ALICE, &alice, to, 1).await;
        assert_eq!(rejected.problem(), (422, "VALIDATION_FAILED".into()));
        assert_eq!(rejected.pointer(), Some("#/to"));
        assert_eq!(rejected.body["errors"][0]["code"], code);
    }
}

#[tokio::test]
async fn a_rejected_payment_changes_no_balance() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let insufficient = service.pay(ALICE, &alice, &bob, 101).await;
    assert_eq!(insufficient.problem(), (409, "INSUFFICIENT_FUNDS".into()));
    assert_eq!(insufficient.body["available"], 100);
    let foreign = service.pay(BOB, &alice, &bob, 1).await;
    assert_eq!(foreign.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    let unknown = service
        .pay(ALICE, &alice, "acc_01HZQK7P3WVXBN4Y9MRDTJC8E6", 1)
        .await;
    assert_eq!(unknown.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    assert_eq!(
        (
            service.balance(ALICE, &alice).await,
            service.balance(BOB, &bob).await
        ),
        (100, 0)
    );
}

#[tokio::test]
async fn only_the_payee_can_refund_a_payment_and_only_once() {
    let service = Service::start().await;
    let (alice, bob) = (
        service.account(ALICE, 100).await,
        service.account(BOB, 0).await,
    );
    let paid = service.pay(ALICE, &alice, &bob, 30).await.expect(201);
    let refund = format!("/v1/payments/{}/refund", paid.text("id"));
    let by_payer = service.post(ALICE, &refund, &json!({})).await;
    assert_eq!(by_payer.problem(), (403, "NOT_THE_PAYEE".into()));
    assert_eq!(
        service
            .post(BOB, &refund, &json!({}))
            .await
            .expect(201)
            .text("status"),
        "refunded"
    );
    let second = service.post(BOB, &refund, &json!({})).await;
    assert_eq!(second.problem(), (409, "ALREADY_REFUNDED".into()));
    assert_eq!(
        (
            service.balance(ALICE, &alice).await,
            service.balance(BOB, &bob).await
        ),
        (100, 0)
    );
}

#[tokio::test]
async fn a_payment_of_other_callers_is_not_found() {
    let service = Service::start().await;
    let (one, other) = (
        service.account(ALICE, 100).await,
        service.account(ALICE, 0).await,
    );
    let id = service
        .pay(ALICE, &one, &other, 1)
        .await
        .expect(201)
        .text("id");
    let read = service.get(BOB, &format!("/v1/payments/{id}")).await;
    assert_eq!(read.problem(), (404, "PAYMENT_NOT_FOUND".into()));
    let refund = service
        .post(BOB, &format!("/v1/payments/{id}/refund"), &json!({}))
        .await;
    assert_eq!(refund.problem(), (404, "PAYMENT_NOT_FOUND".into()));
    assert_eq!(
        service.get(BOB, "/v1/payments").await.expect(200).body["data"],
        json!([])
    );
}
