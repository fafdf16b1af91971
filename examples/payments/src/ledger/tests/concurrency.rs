use core::time::Duration;
use std::sync::Arc;

use aplomb::Id;

use super::super::{Account, LedgerError};
use super::{ALICE, BOB, TestLedger};

const TASKS: i64 = 16;
const PAYMENTS_PER_TASK: i64 = 20;

/// Makes payments from each account of the ring to the next, beginning with account `start`, and
/// refunds every third payment. In total, the payments are larger than the balances, so some
/// payments fail.
async fn pay_around_ring(test: Arc<TestLedger>, ring: Vec<Id<Account>>, start: i64) {
    for number in 0..PAYMENTS_PER_TASK {
        let index = usize::try_from(start + number).expect("a small number");
        let (from, to) = (ring[index % ring.len()], ring[(index + 1) % ring.len()]);
        let amount = 1 + (start * 7 + number * 13) % 40;
        let outcome = match test.pay(ALICE, from, to, amount).await {
            Ok(payment) if number % 3 == 0 => test.refund(ALICE, payment.id).await,
            other => other,
        };
        outcome.map_or_else(|error| expect_insufficient_funds(&error), drop);
    }
}

fn expect_insufficient_funds(error: &LedgerError) {
    assert!(
        matches!(error, LedgerError::InsufficientFunds { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_payments_and_refunds_keep_the_sum_of_all_balances() {
    let test = Arc::new(TestLedger::new().await);
    let mut ring = Vec::new();
    for _ in 0..5 {
        ring.push(test.account(ALICE, 50).await);
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|start| tokio::spawn(pay_around_ring(Arc::clone(&test), ring.clone(), start)))
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(test.balances_and_deposits("EUR").await, (250, 250));
    assert_eq!(
        expected_balances(&test, &ring).await,
        balances(&test, &ring).await
    );
}

async fn balances(test: &TestLedger, accounts: &[Id<Account>]) -> Vec<i64> {
    let mut balances = Vec::new();
    for &id in accounts {
        balances.push(test.balance(ALICE, id).await);
    }
    balances
}

/// Returns the balances computed from the deposits and the payments that were not refunded.
async fn expected_balances(test: &TestLedger, accounts: &[Id<Account>]) -> Vec<i64> {
    let mut balances = Vec::new();
    for id in accounts {
        let balance: i64 = sqlx::query_scalar(
            "SELECT CAST(
                    (SELECT sum(amount) FROM deposits WHERE account = $1)
                  + (SELECT coalesce(sum(amount), 0) FROM payments WHERE to_account = $1 AND NOT refunded)
                  - (SELECT coalesce(sum(amount), 0) FROM payments WHERE from_account = $1 AND NOT refunded)
             AS BIGINT)",
        )
        .bind(id)
        .fetch_one(&test.database.pool)
        .await
        .expect("a sum");
        balances.push(balance);
    }
    balances
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_payments_spend_a_balance_only_once() {
    let test = Arc::new(TestLedger::new().await);
    let (from, to) = (test.account(ALICE, 10).await, test.account(BOB, 0).await);
    let payments: Vec<_> = (0..TASKS)
        .map(|_| {
            let test = Arc::clone(&test);
            tokio::spawn(async move { test.pay(ALICE, from, to, 1).await })
        })
        .collect();
    let mut succeeded = 0;
    for payment in payments {
        match payment.await.expect("no panic") {
            Ok(_) => succeeded += 1,
            Err(error) => expect_insufficient_funds(&error),
        }
    }
    assert_eq!((succeeded, test.balance(BOB, to).await), (10, 10));
}

#[tokio::test]
async fn a_cancelled_payment_is_complete_or_absent() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 1_000).await, test.account(BOB, 0).await);
    let mut ended = 0;
    for step in 0..40 {
        // Without a key, the end of the connection cancels the handler.
        let wait = Duration::from_micros(step * 250);
        let payment = tokio::time::timeout(wait, test.pay(ALICE, from, to, 1)).await;
        ended += usize::from(
            payment
                .ok()
                .transpose()
                .expect("paid or cancelled")
                .is_some(),
        );
    }
    // One statement reads one state, although a commit can still run.
    let (paid, sent, received): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM payments),
                (SELECT 1000 - balance FROM accounts WHERE id = $1),
                (SELECT balance FROM accounts WHERE id = $2)",
    )
    .bind(from)
    .bind(to)
    .fetch_one(&test.database.pool)
    .await
    .expect("a row");
    assert_eq!((sent, received), (paid, paid));
    assert!(i64::try_from(ended).expect("at most 40") <= paid && paid <= 40);
}
