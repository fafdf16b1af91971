use aplomb::Id;

use super::super::{LedgerError, Status};
use super::{ALICE, BOB, Bench};

#[tokio::test]
async fn a_payment_moves_the_amount_and_reads_back() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 5).await);
    let payment = bench.pay(ALICE, from, to, 30).await.expect("paid");
    assert_eq!(
        (payment.from, payment.to, payment.amount.minor_units()),
        (from, to, 30)
    );
    assert_eq!(payment.status, Status::Completed);
    assert_eq!(
        (
            bench.balance(ALICE, from).await,
            bench.balance(BOB, to).await
        ),
        (70, 35)
    );
    for caller in [ALICE, BOB] {
        assert_eq!(
            bench
                .ledger
                .payment(caller, payment.id)
                .await
                .expect("visible"),
            payment
        );
    }
}

#[tokio::test]
async fn a_payment_is_told_with_the_time_of_its_identifier() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 0).await);
    let payment = bench.pay(ALICE, from, to, 30).await.expect("paid");
    assert_eq!(
        payment.created_at.as_millisecond().unsigned_abs(),
        payment.id.timestamp_ms()
    );
    let told = serde_json::to_value(&payment).expect("JSON");
    assert_eq!(told["status"], "completed");
    assert_eq!(told["amount"], 30);
    let created_at = told["created_at"].as_str().expect("text");
    assert!(
        created_at.ends_with('Z') && created_at.parse::<jiff::Timestamp>().is_ok(),
        "{created_at}"
    );
}

#[tokio::test]
async fn the_whole_balance_can_be_paid_and_no_more() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 0).await);
    let error = bench.pay(ALICE, from, to, 101).await.expect_err("too much");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 100 }
    ));
    bench.pay(ALICE, from, to, 100).await.expect("paid");
    let error = bench.pay(ALICE, from, to, 1).await.expect_err("empty");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 0 }
    ));
    assert_eq!(
        (
            bench.balance(ALICE, from).await,
            bench.balance(BOB, to).await
        ),
        (0, 100)
    );
}

#[tokio::test]
async fn a_refused_payment_leaves_nothing() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 1).await, bench.account(BOB, 0).await);
    bench.pay(ALICE, from, to, 2).await.expect_err("too much");
    assert!(bench.newest(ALICE).await.is_empty());
}

#[tokio::test]
async fn nobody_pays_from_an_account_of_another() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 0).await);
    let error = bench.pay(BOB, from, to, 1).await.expect_err("not Bob's");
    assert!(matches!(error, LedgerError::AccountNotFound(id) if id == from));
    assert_eq!(bench.balance(ALICE, from).await, 100);
}

#[tokio::test]
async fn an_unknown_account_is_named() {
    let bench = Bench::new().await;
    let (known, unknown) = (bench.account(ALICE, 100).await, Id::new());
    for (from, to) in [(known, unknown), (unknown, known)] {
        let error = bench.pay(ALICE, from, to, 1).await.expect_err("unknown");
        assert!(matches!(error, LedgerError::AccountNotFound(id) if id == unknown));
    }
    assert_eq!(bench.balance(ALICE, known).await, 100);
}

#[tokio::test]
async fn an_account_does_not_pay_itself() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, 100).await;
    let error = bench.pay(ALICE, id, id, 1).await.expect_err("the same");
    assert!(matches!(error, LedgerError::SameAccount));
}

#[tokio::test]
async fn currencies_do_not_mix() {
    let bench = Bench::new().await;
    let (from, to) = (
        bench.account(ALICE, 100).await,
        bench.account_in(BOB, "CHF", 0).await,
    );
    let error = bench
        .pay(ALICE, from, to, 1)
        .await
        .expect_err("another currency");
    assert!(matches!(error, LedgerError::CurrencyMismatch));
    assert_eq!(
        (
            bench.balance(ALICE, from).await,
            bench.balance(BOB, to).await
        ),
        (100, 0)
    );
}

#[tokio::test]
async fn the_balance_of_the_payee_does_not_wrap() {
    let bench = Bench::new().await;
    let (from, to) = (
        bench.account(ALICE, 1).await,
        bench.account(BOB, i64::MAX).await,
    );
    let error = bench.pay(ALICE, from, to, 1).await.expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(
        (
            bench.balance(ALICE, from).await,
            bench.balance(BOB, to).await
        ),
        (1, i64::MAX)
    );
}

#[tokio::test]
async fn a_payment_between_others_does_not_exist() {
    let bench = Bench::new().await;
    let (from, to) = (
        bench.account(ALICE, 100).await,
        bench.account(ALICE, 0).await,
    );
    let payment = bench.pay(ALICE, from, to, 1).await.expect("paid");
    for missing in [payment.id, Id::new()] {
        let error = bench
            .ledger
            .payment(BOB, missing)
            .await
            .expect_err("not Bob's");
        assert!(matches!(error, LedgerError::PaymentNotFound(id) if id == missing));
    }
}
