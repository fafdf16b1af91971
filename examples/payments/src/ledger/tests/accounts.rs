use aplomb::Id;

use super::super::LedgerError;
use super::{ALICE, BOB, Bench, amount, owner};

#[tokio::test]
async fn an_account_opens_empty_and_reads_back() {
    let bench = Bench::new().await;
    let currency = "CHF".parse().expect("a currency");
    let opened = bench
        .ledger
        .open_account(ALICE, owner("Alice & Sons"), currency)
        .await
        .expect("opened");
    assert_eq!(opened.balance, 0);
    assert_eq!(
        bench.ledger.account(ALICE, opened.id).await.expect("there"),
        opened
    );
}

#[tokio::test]
async fn an_account_is_told_without_its_caller() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, 5).await;
    let account = bench.ledger.account(ALICE, id).await.expect("there");
    assert_eq!(
        serde_json::to_value(account).expect("JSON"),
        serde_json::json!({ "id": id.to_string(), "owner": "alice", "currency": "EUR", "balance": 5 })
    );
}

#[tokio::test]
async fn an_account_of_another_caller_does_not_exist() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, 10).await;
    for missing in [id, Id::new()] {
        let seen = bench
            .ledger
            .account(BOB, missing)
            .await
            .expect_err("not Bob's");
        assert!(matches!(seen, LedgerError::AccountNotFound(named) if named == missing));
        let paid = bench
            .ledger
            .deposit(BOB, missing, amount(1))
            .await
            .expect_err("not Bob's");
        assert!(matches!(paid, LedgerError::AccountNotFound(named) if named == missing));
    }
    assert_eq!(bench.balance(ALICE, id).await, 10);
}

#[tokio::test]
async fn deposits_add_up() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, 10).await;
    let account = bench
        .ledger
        .deposit(ALICE, id, amount(32))
        .await
        .expect("deposited");
    assert_eq!(account.balance, 42);
    assert_eq!(bench.balance(ALICE, id).await, 42);
    assert_eq!(bench.held_and_deposited("EUR").await, (42, 42));
}

#[tokio::test]
async fn a_balance_does_not_wrap() {
    let bench = Bench::new().await;
    let id = bench.account(ALICE, i64::MAX).await;
    let error = bench
        .ledger
        .deposit(ALICE, id, amount(1))
        .await
        .expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(bench.held_and_deposited("EUR").await, (i64::MAX, i64::MAX));
}
