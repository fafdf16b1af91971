use std::sync::Arc;

use aplomb::Id;

use super::super::{LedgerError, Payment, Status};
use super::{ALICE, BOB, TestLedger};

/// Makes a payment of 30 from Alice, who has 100, to Bob, who has 0.
async fn make_payment(test: &TestLedger) -> Payment {
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 0).await);
    test.pay(ALICE, from, to, 30).await.expect("paid")
}

#[tokio::test]
async fn a_refund_moves_the_amount_back() {
    let test = TestLedger::new().await;
    let payment = make_payment(&test).await;
    let refunded = test.refund(BOB, payment.id).await.expect("refunded");
    assert_eq!(
        refunded,
        Payment {
            status: Status::Refunded,
            ..payment.clone()
        }
    );
    assert_eq!(
        test.payment(ALICE, payment.id).await.expect("visible"),
        refunded
    );
    assert_eq!(test.balance(ALICE, payment.from).await, 100);
    assert_eq!(test.balance(BOB, payment.to).await, 0);
}

#[tokio::test]
async fn a_payment_can_be_refunded_only_once() {
    let test = TestLedger::new().await;
    let payment = make_payment(&test).await;
    test.refund(BOB, payment.id).await.expect("refunded");
    test.deposit(BOB, payment.to, 1000)
        .await
        .expect("deposited");
    let error = test
        .refund(BOB, payment.id)
        .await
        .expect_err("a second time");
    assert!(matches!(error, LedgerError::AlreadyRefunded));
    assert_eq!(test.balance(BOB, payment.to).await, 1000);
}

#[tokio::test]
async fn only_one_of_several_concurrent_refunds_succeeds() {
    let test = Arc::new(TestLedger::new().await);
    let payment = make_payment(&test).await;
    test.deposit(BOB, payment.to, 1000)
        .await
        .expect("deposited");
    let refunds: Vec<_> = (0..8)
        .map(|_| {
            let test = Arc::clone(&test);
            tokio::spawn(async move { test.refund(BOB, payment.id).await })
        })
        .collect();
    let mut succeeded = 0;
    for refund in refunds {
        match refund.await.expect("no panic") {
            Ok(_) => succeeded += 1,
            Err(error) => assert!(matches!(error, LedgerError::AlreadyRefunded), "{error}"),
        }
    }
    assert_eq!((succeeded, test.balance(BOB, payment.to).await), (1, 1000));
}

#[tokio::test]
async fn only_the_payee_can_refund() {
    let test = TestLedger::new().await;
    let payment = make_payment(&test).await;
    let error = test.refund(ALICE, payment.id).await.expect_err("the payer");
    assert!(matches!(error, LedgerError::NotThePayee));
    let error = test
        .refund("carol", payment.id)
        .await
        .expect_err("a stranger");
    assert!(matches!(error, LedgerError::PaymentNotFound(_)));
    let error = test.refund(BOB, Id::new()).await.expect_err("unknown");
    assert!(matches!(error, LedgerError::PaymentNotFound(_)));
    assert_eq!(test.balance(BOB, payment.to).await, 30);
}

#[tokio::test]
async fn a_payee_that_spent_the_money_cannot_refund() {
    let test = TestLedger::new().await;
    let payment = make_payment(&test).await;
    let other = test.account(ALICE, 0).await;
    test.pay(BOB, payment.to, other, 1).await.expect("paid");
    let error = test.refund(BOB, payment.id).await.expect_err("29 are left");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 29 }
    ));
    assert_eq!(
        test.payment(BOB, payment.id).await.expect("visible"),
        payment
    );
}

#[tokio::test]
async fn a_refund_above_the_largest_balance_is_rejected() {
    let test = TestLedger::new().await;
    let payment = make_payment(&test).await;
    test.deposit(ALICE, payment.from, i64::MAX - 70)
        .await
        .expect("deposited");
    let error = test.refund(BOB, payment.id).await.expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(test.balance(BOB, payment.to).await, 30);
}
