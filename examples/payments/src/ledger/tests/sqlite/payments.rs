use aplomb::Id;
use aplomb::policies::paginate::PageRequest;

use super::super::ledger::tests::{ALICE, BOB, TestLedger};
use super::super::ledger::{LedgerError, NewestFirst, Status};

#[tokio::test]
async fn a_payment_moves_the_amount_and_both_callers_can_read_it() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 5).await);
    let payment = test.pay(ALICE, from, to, 30).await.expect("paid");
    assert_eq!(
        (payment.from, payment.to, payment.amount.minor_units()),
        (from, to, 30)
    );
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (70, 35)
    );
    for caller in [ALICE, BOB] {
        assert_eq!(
            test.payment(caller, payment.id).await.expect("visible"),
            payment
        );
    }
}

#[tokio::test]
async fn a_serialized_payment_has_the_time_of_its_identifier() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 0).await);
    let payment = test.pay(ALICE, from, to, 30).await.expect("paid");
    assert_eq!(
        payment.created_at.as_millisecond().unsigned_abs(),
        payment.id.timestamp_ms()
    );
    let document = serde_json::to_value(&payment).expect("JSON");
    assert_eq!(document["status"], "completed");
    assert_eq!(document["amount"], 30);
    let created_at = document["created_at"].as_str().expect("text");
    assert!(
        created_at.ends_with('Z') && created_at.parse::<jiff::Timestamp>().is_ok(),
        "{created_at}"
    );
}

#[tokio::test]
async fn the_whole_balance_can_be_paid_and_no_more() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 0).await);
    let error = test.pay(ALICE, from, to, 101).await.expect_err("too much");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 100 }
    ));
    test.pay(ALICE, from, to, 100).await.expect("paid");
    let error = test.pay(ALICE, from, to, 1).await.expect_err("empty");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 0 }
    ));
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (0, 100)
    );
}

#[tokio::test]
async fn a_rejected_payment_is_not_listed() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 1).await, test.account(BOB, 0).await);
    test.pay(ALICE, from, to, 2).await.expect_err("too much");
    let page = PageRequest::<NewestFirst>::new(None, 100).bidirectional();
    let listed = test.payments(ALICE, None, &page.keyset()).await;
    assert_eq!(listed.expect("a list"), []);
}

#[tokio::test]
async fn a_caller_cannot_pay_from_an_account_of_another_caller() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 0).await);
    let error = test.pay(BOB, from, to, 1).await.expect_err("not Bob's");
    assert!(matches!(error, LedgerError::AccountNotFound(id) if id == from));
    assert_eq!(test.balance(ALICE, from).await, 100);
}

#[tokio::test]
async fn an_unknown_account_is_named_in_the_error() {
    let test = TestLedger::new().await;
    let (known, unknown) = (test.account(ALICE, 100).await, Id::new());
    for (from, to) in [(known, unknown), (unknown, known)] {
        let error = test.pay(ALICE, from, to, 1).await.expect_err("unknown");
        assert!(matches!(error, LedgerError::AccountNotFound(id) if id == unknown));
    }
    assert_eq!(test.balance(ALICE, known).await, 100);
}

#[tokio::test]
async fn an_account_cannot_pay_itself() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 100).await;
    let error = test.pay(ALICE, id, id, 1).await.expect_err("the same");
    assert!(matches!(error, LedgerError::SameAccount));
}

#[tokio::test]
async fn accounts_of_different_currencies_cannot_pay_each_other() {
    let test = TestLedger::new().await;
    let (from, to) = (
        test.account(ALICE, 100).await,
        test.account_in(BOB, "CHF", 0).await,
    );
    let error = test
        .pay(ALICE, from, to, 1)
        .await
        .expect_err("another currency");
    assert!(matches!(error, LedgerError::CurrencyMismatch));
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (100, 0)
    );
}

#[tokio::test]
async fn a_payment_above_the_largest_balance_is_rejected() {
    let test = TestLedger::new().await;
    let (from, to) = (
        test.account(ALICE, 1).await,
        test.account(BOB, i64::MAX).await,
    );
    let error = test.pay(ALICE, from, to, 1).await.expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (1, i64::MAX)
    );
}

#[tokio::test]
async fn a_payment_between_other_callers_is_not_found() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(ALICE, 0).await);
    let payment = test.pay(ALICE, from, to, 1).await.expect("paid");
    for missing in [payment.id, Id::new()] {
        let error = test.payment(BOB, missing).await.expect_err("not Bob's");
        assert!(matches!(error, LedgerError::PaymentNotFound(id) if id == missing));
    }
}
