use core::time::Duration;

use super::super::{Ledger, LedgerError, OpenError};
use super::{ALICE, BOB, Bench, amount, owner};

#[tokio::test]
async fn a_ledger_opens_again_with_what_it_held() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, 7).await;
    let again = Ledger::open(&bench.directory.path().join("ledger.sqlite"))
        .await
        .expect("opens again");
    assert_eq!(again.account(ALICE, id).await.expect("there").balance, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ledgers_that_open_at_once_one_makes_the_tables() {
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
async fn another_layout_is_refused() {
    let bench = Bench::new().await;
    sqlx::query("PRAGMA user_version = 7")
        .execute(&bench.ledger.writer)
        .await
        .expect("set");
    let error = Ledger::open(&bench.directory.path().join("ledger.sqlite"))
        .await
        .expect_err("layout 7");
    assert!(matches!(error, OpenError::Layout(7)), "{error}");
}

#[tokio::test]
async fn a_database_of_something_else_is_left_alone() {
    let bench = Bench::new().await;
    sqlx::query("PRAGMA user_version = 0")
        .execute(&bench.ledger.writer)
        .await
        .expect("set");
    let error = Ledger::open(&bench.directory.path().join("ledger.sqlite"))
        .await
        .expect_err("has tables");
    assert!(error.to_string().contains("already exists"), "{error}");
}

#[tokio::test]
async fn a_writer_elsewhere_makes_the_ledger_busy_and_nothing_is_changed() {
    let bench = Bench::new().await;
    let (from, to) = (bench.account(ALICE, 100).await, bench.account(BOB, 0).await);
    let elsewhere = Ledger::open(&bench.directory.path().join("ledger.sqlite"))
        .await
        .expect("opens");
    let lock = elsewhere.begin().await.expect("the write lock");

    let error = bench.pay(ALICE, from, to, 1).await.expect_err("locked");
    assert!(matches!(error, LedgerError::Busy(_)), "{error}");
    assert_eq!(bench.balance(ALICE, from).await, 100, "readers go on");

    lock.rollback().await.expect("released");
    bench.pay(ALICE, from, to, 1).await.expect("paid");
    assert_eq!(bench.balance(BOB, to).await, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half_payment() {
    let bench = Bench::new().await;
    let (from, to) = (
        bench.account(ALICE, 1_000).await,
        bench.account(BOB, 0).await,
    );
    for step in 0..40 {
        let wait = Duration::from_micros(step * 25);
        tokio::time::timeout(wait, bench.pay(ALICE, from, to, 1))
            .await
            .ok()
            .transpose()
            .expect("paid or left");
    }
    // A commit that was under way when its caller left may still land: wait for the writer.
    bench
        .ledger
        .begin()
        .await
        .expect("the writer")
        .rollback()
        .await
        .expect("released");
    let paid = bench.newest(ALICE).await.len();
    let left = i64::try_from(paid).expect("at most 40");
    assert_eq!(
        (
            bench.balance(ALICE, from).await,
            bench.balance(BOB, to).await
        ),
        (1_000 - left, left)
    );
}

#[tokio::test]
async fn the_database_itself_refuses_a_negative_balance() {
    let bench = Bench::new().await;
    bench.account(ALICE, 5).await;
    let update = sqlx::query("UPDATE accounts SET balance = -1")
        .execute(&bench.ledger.writer)
        .await;
    assert!(matches!(
        update.expect_err("refused").into(),
        LedgerError::Database(_)
    ));
    let account = bench
        .ledger
        .open_account(BOB, owner("Bob"), "EUR".parse().expect("EUR"))
        .await;
    let id = account.expect("goes on").id;
    assert_eq!(
        bench
            .ledger
            .deposit(BOB, id, amount(1))
            .await
            .expect("deposited")
            .balance,
        1
    );
}
