use aplomb::Id;

use super::super::ledger::LedgerError;
use super::super::ledger::tests::{ALICE, BOB, TestLedger, owner};

#[tokio::test]
async fn a_new_account_is_empty_and_can_be_read() {
    let test = TestLedger::new().await;
    let currency = "CHF".parse().expect("a currency");
    let opened = test
        .open_account(ALICE, owner("Alice & Sons"), currency)
        .await
        .expect("opened");
    assert_eq!(opened.balance, 0);
    assert_eq!(
        test.read_account(ALICE, opened.id).await.expect("found"),
        opened
    );
}

#[tokio::test]
async fn an_account_is_serialized_without_its_caller() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 5).await;
    let account = test.read_account(ALICE, id).await.expect("found");
    assert_eq!(
        serde_json::to_value(account).expect("JSON"),
        serde_json::json!({ "id": id.to_string(), "owner": "alice", "currency": "EUR", "balance": 5 })
    );
}

#[tokio::test]
async fn an_account_of_another_caller_is_not_found() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 10).await;
    for missing in [id, Id::new()] {
        let read_error = test
            .read_account(BOB, missing)
            .await
            .expect_err("not Bob's");
        assert!(matches!(read_error, LedgerError::AccountNotFound(named) if named == missing));
        let deposit_error = test.deposit(BOB, missing, 1).await.expect_err("not Bob's");
        assert!(matches!(deposit_error, LedgerError::AccountNotFound(named) if named == missing));
    }
    assert_eq!(test.balance(ALICE, id).await, 10);
}

#[tokio::test]
async fn deposits_add_up() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 10).await;
    let account = test.deposit(ALICE, id, 32).await.expect("deposited");
    assert_eq!(account.balance, 42);
    assert_eq!(test.balance(ALICE, id).await, 42);
    assert_eq!(test.balances_and_deposits("EUR").await, (42, 42));
}

#[tokio::test]
async fn a_deposit_above_the_largest_balance_is_rejected() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, i64::MAX).await;
    let error = test.deposit(ALICE, id, 1).await.expect_err("too large");
    assert!(matches!(error, LedgerError::BalanceTooLarge));
    assert_eq!(
        test.balances_and_deposits("EUR").await,
        (i64::MAX, i64::MAX)
    );
}

#[tokio::test]
async fn the_database_rejects_a_negative_balance() {
    let test = TestLedger::new().await;
    test.account(ALICE, 5).await;
    let update = sqlx::query("UPDATE accounts SET balance = -1")
        .execute(&test.database.pool)
        .await;
    assert!(matches!(
        update.expect_err("rejected").into(),
        LedgerError::Database(_)
    ));
    let id = test.account(BOB, 0).await;
    let account = test.deposit(BOB, id, 1).await.expect("deposited");
    assert_eq!(account.balance, 1);
}
