use aplomb::Id;

use super::super::{Account, Ledger, LedgerError, NewPayment};
use super::{ALICE, BOB, Bench, amount};

const TASKS: i64 = 16;
const TURNS: i64 = 20;

/// Pays round the ring from this account on, more than the accounts hold, and refunds now and then.
async fn pay_around(ledger: Ledger, ring: Vec<Id<Account>>, start: i64) {
    for turn in 0..TURNS {
        let at = usize::try_from(start + turn).expect("small");
        let (from, to) = (ring[at % ring.len()], ring[(at + 1) % ring.len()]);
        let new = NewPayment {
            from,
            to,
            amount: amount(1 + (start * 7 + turn * 13) % 40),
        };
        let outcome = match ledger.pay(ALICE, new).await {
            Ok(payment) if turn % 3 == 0 => ledger.refund(ALICE, payment.id).await,
            other => other,
        };
        outcome.map_or_else(|error| expect_too_little(&error), drop);
    }
}

fn expect_too_little(error: &LedgerError) {
    assert!(
        matches!(error, LedgerError::InsufficientFunds { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_neither_appears_nor_vanishes() {
    let bench = Bench::new().await;
    let mut ring = Vec::new();
    for _ in 0..5 {
        ring.push(bench.account(ALICE, 50).await);
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|start| tokio::spawn(pay_around(bench.ledger.clone(), ring.clone(), start)))
        .collect();
    for task in tasks {
        task.await.expect("no surprise");
    }
    assert_eq!(bench.held_and_deposited("EUR").await, (250, 250));
    assert_eq!(
        balances_by_history(&bench, &ring).await,
        balances(&bench, &ring).await
    );
}

async fn balances(bench: &Bench, accounts: &[Id<Account>]) -> Vec<i64> {
    let mut balances = Vec::new();
    for &id in accounts {
        balances.push(bench.balance(ALICE, id).await);
    }
    balances
}

/// What the accounts must hold by the deposits and the payments that were not refunded.
async fn balances_by_history(bench: &Bench, accounts: &[Id<Account>]) -> Vec<i64> {
    let mut balances = Vec::new();
    for id in accounts {
        let balance: i64 = sqlx::query_scalar(
            "SELECT (SELECT sum(amount) FROM deposits WHERE account = ?1)
                  + (SELECT coalesce(sum(amount), 0) FROM payments WHERE to_account = ?1 AND NOT refunded)
                  - (SELECT coalesce(sum(amount), 0) FROM payments WHERE from_account = ?1 AND NOT refunded)",
        )
        .bind(id.to_string())
        .fetch_one(&bench.ledger.readers)
        .await
        .expect("a sum");
        balances.push(balance);
    }
    balances
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_payments_at_once_no_more_succeed_than_there_is_money() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 10).await, bench.account(BOB, 0).await);
    let payments: Vec<_> = (0..TASKS)
        .map(|_| {
            let ledger = bench.ledger.clone();
            tokio::spawn(async move {
                ledger
                    .pay(
                        ALICE,
                        NewPayment {
                            from,
                            to,
                            amount: amount(1),
                        },
                    )
                    .await
            })
        })
        .collect();
    let mut succeeded = 0;
    for payment in payments {
        match payment.await.expect("no panic") {
            Ok(_) => succeeded += 1,
            Err(error) => expect_too_little(&error),
        }
    }
    assert_eq!((succeeded, bench.balance(BOB, to).await), (10, 10));
}
