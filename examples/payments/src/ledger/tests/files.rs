use core::time::Duration;

use super::super::{Ledger, LedgerError, OpenError};
use super::{ALICE, BOB, TestLedger, amount, owner};

#[tokio::test]
async fn a_reopened_ledger_has_its_accounts() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 7).await;
    let reopened = Ledger::open(&test.directory.path().join("ledger.sqlite"))
        .await
        .expect("opens again");
    assert_eq!(reopened.account(ALICE, id).await.expect("found").balance, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn ledgers_that_open_at_the_same_time_create_the_tables_only_once() {
    let directory = tempfile::TempDir::new().expect("a directory");
    for round in 0..20 {
        let file = directory.path().join(format!("{round}.sqlite"));
        let opening: Vec<_> = (0..4)
            .map(|_| {
                let file = file.clone();
                tokio::spawn(async move { Ledger::open(&file).await })
            })
            .collect();
        for ledger in opening {
            ledger
                .await
                .expect("no panic")
                .expect("a ledger")
                .check()
                .await
                .expect("readable");
        }
    }
}

#[tokio::test]
async fn another_layout_version_is_rejected() {
    let test = TestLedger::new().await;
    sqlx::query("PRAGMA user_version = 7")
        .execute(&test.ledger.writer)
        .await
        .expect("set");
    let error = Ledger::open(&test.directory.path().join("ledger.sqlite"))
        .await
        .expect_err("layout 7");
    assert!(matches!(error, OpenError::Layout(7)), "{error}");
}

#[tokio::test]
async fn a_database_of_another_program_is_rejected() {
    let test = TestLedger::new().await;
    sqlx::query("PRAGMA user_version = 0")
        .execute(&test.ledger.writer)
        .await
        .expect("set");
    let error = Ledger::open(&test.directory.path().join("ledger.sqlite"))
        .await
        .expect_err("has tables");
    assert!(error.to_string().contains("already exists"), "{error}");
}

#[tokio::test]
async fn a_payment_while_another_process_holds_the_lock_is_busy_and_changes_nothing() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 100).await, test.account(BOB, 0).await);
    let other_process = Ledger::open(&test.directory.path().join("ledger.sqlite"))
        .await
        .expect("opens");
    let lock = other_process.begin().await.expect("the write lock");

    let error = test.pay(ALICE, from, to, 1).await.expect_err("locked");
    assert!(matches!(error, LedgerError::Busy(_)), "{error}");
    assert_eq!(
        test.balance(ALICE, from).await,
        100,
        "a lock does not stop readers"
    );

    lock.rollback().await.expect("released");
    test.pay(ALICE, from, to, 1).await.expect("paid");
    assert_eq!(test.balance(BOB, to).await, 1);
}

#[tokio::test]
async fn a_cancelled_payment_is_complete_or_absent() {
    let test = TestLedger::new().await;
    let (from, to) = (test.account(ALICE, 1_000).await, test.account(BOB, 0).await);
    for step in 0..40 {
        let wait = Duration::from_micros(step * 25);
        tokio::time::timeout(wait, test.pay(ALICE, from, to, 1))
            .await
            .ok()
            .transpose()
            .expect("paid or cancelled");
    }
    // A commit can still run after its future was dropped. The next lines wait for the write lock,
    // which is free when the commit has finished.
    test.ledger
        .begin()
        .await
        .expect("the writer")
        .rollback()
        .await
        .expect("released");
    let paid = test.newest(ALICE).await.len();
    let total = i64::try_from(paid).expect("at most 40");
    assert_eq!(
        (test.balance(ALICE, from).await, test.balance(BOB, to).await),
        (1_000 - total, total)
    );
}

#[tokio::test]
async fn the_database_rejects_a_negative_balance() {
    let test = TestLedger::new().await;
    test.account(ALICE, 5).await;
    let update = sqlx::query("UPDATE accounts SET balance = -1")
        .execute(&test.ledger.writer)
        .await;
    assert!(matches!(
        update.expect_err("rejected").into(),
        LedgerError::Database(_)
    ));
    let account = test
        .ledger
        .open_account(BOB, owner("Bob"), "EUR".parse().expect("EUR"))
        .await;
    let id = account.expect("opened").id;
    assert_eq!(
        test.ledger
            .deposit(BOB, id, amount(1))
            .await
            .expect("deposited")
            .balance,
        1
    );
}
