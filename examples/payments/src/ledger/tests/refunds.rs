use aplomb::Id;

use super::super::{LedgerError, Payment, Status};
use super::{ALICE, BOB, Bench, amount};

/// Alice pays Bob 30 of her 100.
async fn paid(bench: &Bench) -> Payment {
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 0).await);
    bench.pay(ALICE, from, to, 30).await.expect("paid")
}

#[tokio::test]
async fn a_refund_moves_the_amount_back() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    let refunded = bench
        .ledger
        .refund(BOB, payment.id)
        .await
        .expect("refunded");
    assert_eq!(
        refunded,
        Payment {
            status: Status::Refunded,
            ..payment.clone()
        }
    );
    assert_eq!(
        bench
            .ledger
            .payment(ALICE, payment.id)
            .await
            .expect("visible"),
        refunded
    );
    assert_eq!(bench.balance(ALICE, payment.from).await, 100);
    assert_eq!(bench.balance(BOB, payment.to).await, 0);
}

#[tokio::test]
async fn a_payment_is_refunded_once() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    bench
        .ledger
        .refund(BOB, payment.id)
        .await
        .expect("refunded");
    bench
        .ledger
        .deposit(BOB, payment.to, amount(1000))
        .await
        .expect("deposited");
    let error = bench
        .ledger
        .refund(BOB, payment.id)
        .await
        .expect_err("a second time");
    assert!(matches!(error, LedgerError::AlreadyRefunded));
    assert_eq!(bench.balance(BOB, payment.to).await, 1000);
}

#[tokio::test]
async fn of_refunds_at_once_one_succeeds() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    bench
        .ledger
        .deposit(BOB, payment.to, amount(1000))
        .await
        .expect("deposited");
    let refunds: Vec<_> = (0..8)
        .map(|_| {
            let ledger = bench.ledger.clone();
            tokio::spawn(async move { ledger.refund(BOB, payment.id).await })
        })
        .collect();
    let mut succeeded = 0;
    for refund in refunds {
        match refund.await.expect("no panic") {
            Ok(_) => succeeded += 1,
            Err(error) => assert!(matches!(error, LedgerError::AlreadyRefunded), "{error}"),
        }
    }
    assert_eq!((succeeded, bench.balance(BOB, payment.to).await), (1, 1000));
}

#[tokio::test]
async fn only_the_payee_refunds() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    let error = bench
        .ledger
        .refund(ALICE, payment.id)
        .await
        .expect_err("the payer");
    assert!(matches!(error, LedgerError::NotThePayee));
    let error = bench
        .ledger
        .refund("carol", payment.id)
        .await
        .expect_err("a stranger");
    assert!(matches!(error, LedgerError::PaymentNotFound(_)));
    let error = bench
        .ledger
        .refund(BOB, Id::new())
        .await
        .expect_err("unknown");
    assert!(matches!(error, LedgerError::PaymentNotFound(_)));
    assert_eq!(bench.balance(BOB, payment.to).await, 30);
}

#[tokio::test]
async fn a_payee_that_spent_the_money_cannot_refund() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    let elsewhere = bench.account(ALICE, 0).await;
    bench
        .pay(BOB, payment.to, elsewhere, 1)
        .await
        .expect("paid");
    let error = bench
        .ledger
        .refund(BOB, payment.id)
        .await
        .expect_err("29 are left");
    assert!(matches!(
        error,
        LedgerError::InsufficientFunds { available: 29 }
    ));
    assert_eq!(
        bench
            .ledger
            .payment(BOB, payment.id)
            .await
            .expect("visible"),
        payment
    );
}

#[tokio::test]
async fn the_balance_of_the_payer_does_not_wrap() {
    let bench = Bench::new().await;
    let payment = paid(&bench).await;
    bench
        .ledger
        .deposit(ALICE, payment.from, amount(i64::MAX - 70))
        .await
        .expect("deposited");
    let error = bench
        .ledger
        .refund(BOB, payment.id)
        .await
        .expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(bench.balance(BOB, payment.to).await, 30);
}
