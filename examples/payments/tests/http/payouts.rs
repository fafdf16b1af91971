//! Endpoints that act in another system.

use std::fs;

use serde_json::{Value, json};

use crate::service::{ALICE, BOB, JsonResponse, Service};

fn payout() -> Value {
    json!({ "iban": "DE89370400440532013000", "amount": 30 })
}

async fn pay_out(service: &Service, account: &str) -> JsonResponse {
    let path = format!("/v2/accounts/{account}/payouts");
    service.post_with("k", ALICE, &path, &payout()).await
}

async fn send_statement(service: &Service, account: &str) -> JsonResponse {
    let path = format!("/v2/accounts/{account}/statements");
    service.post_with("k", ALICE, &path, &json!({})).await
}

#[tokio::test]
async fn a_payout_is_transferred_and_debited_once() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 100).await;
    let first = pay_out(&service, &alice).await.expect(201);
    let second = pay_out(&service, &alice).await.expect(201);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    let expected = json!({
        "reference": first.text("reference"),
        "account": alice,
        "iban": "DE89370400440532013000",
        "amount": 30,
        "currency": "EUR",
    });
    assert_eq!((&first.body, &second.body), (&expected, &expected));
    assert_eq!(service.transfers(), [expected]);
    assert_eq!(service.balance(ALICE, &alice).await, 70);
}

#[tokio::test]
async fn a_rerun_repeats_the_transfer_which_the_bank_executes_once() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 100).await;
    service.break_commits().await;
    for _ in 0..2 {
        let failed = pay_out(&service, &alice).await;
        assert_eq!(failed.status, 500, "{:#}", failed.body);
        assert_eq!(service.balance(ALICE, &alice).await, 100);
        assert_eq!(service.transfers().len(), 1);
    }

    service.repair_commits().await;
    let paid_out = pay_out(&service, &alice).await.expect(201);
    assert_eq!(paid_out.header("idempotent-replayed"), None);
    assert_eq!(service.transfers(), [paid_out.body]);
    assert_eq!(service.balance(ALICE, &alice).await, 70);
}

#[tokio::test]
async fn a_bank_that_does_not_reply_is_a_503_and_debits_nothing() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 100).await;
    fs::remove_dir(service.bank()).expect("removed");
    let failed = pay_out(&service, &alice).await;
    assert_eq!(failed.problem(), (503, "BANK_UNAVAILABLE".into()));
    assert_eq!(failed.body["retryable"], true);
    assert_eq!(service.balance(ALICE, &alice).await, 100);

    fs::create_dir(service.bank()).expect("created");
    pay_out(&service, &alice).await.expect(201);
    assert_eq!(service.transfers().len(), 1);
    assert_eq!(service.balance(ALICE, &alice).await, 70);
}

#[tokio::test]
async fn a_rejected_payout_is_not_transferred() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 29).await;
    let rejected = pay_out(&service, &alice).await;
    assert_eq!(rejected.problem(), (409, "INSUFFICIENT_FUNDS".into()));
    let path = format!("/v2/accounts/{alice}/payouts");
    let foreign = service.post(BOB, &path, &payout()).await;
    assert_eq!(foreign.problem(), (404, "ACCOUNT_NOT_FOUND".into()));
    let invalid = json!({ "iban": "DE89", "amount": 1 });
    let invalid = service.post(ALICE, &path, &invalid).await;
    assert_eq!(invalid.problem(), (422, "VALIDATION_FAILED".into()));
    assert_eq!(invalid.pointer(), Some("#/iban"));
    assert_eq!(service.transfers().len(), 0);
    assert_eq!(service.balance(ALICE, &alice).await, 29);
}

#[tokio::test]
async fn a_statement_is_sent_once() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 100).await;
    for _ in 0..2 {
        let sent = send_statement(&service, &alice).await.expect(201);
        assert_eq!(sent.body["number"], 1);
    }
    let letter = format!("To Somebody: statement 1 of {alice}: 100 EUR");
    assert_eq!(service.letters(), [letter]);
}

#[tokio::test]
async fn a_statement_whose_commit_failed_is_unknown_and_not_sent_again() {
    let service = Service::start().await;
    let alice = service.account(ALICE, 100).await;
    service.break_commits().await;
    let failed = send_statement(&service, &alice).await;
    assert_eq!(failed.status, 500, "{:#}", failed.body);
    service.repair_commits().await;
    let retried = send_statement(&service, &alice).await;
    assert_eq!(
        retried.problem(),
        (500, "IDEMPOTENCY_OUTCOME_UNKNOWN".into())
    );
    assert_eq!(service.letters().len(), 1);
}
