use sqlx::Pool;

use super::super::super::tests::{STARTS, TestDatabase};
use super::super::{OpenError, create_tables};
use super::{ALICE, TestLedger};

#[tokio::test]
async fn tables_are_created_only_once() {
    let test = TestLedger::new().await;
    let id = test.account(ALICE, 7).await;
    create_tables(&test.database.pool)
        .await
        .expect("the same tables");
    assert_eq!(test.balance(ALICE, id).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_at_the_same_time_create_the_tables_only_once() {
    for _ in 0..STARTS {
        let database = TestDatabase::new().await;
        let starting: Vec<_> = (0..4)
            .map(|_| {
                let options = (*database.pool.connect_options()).clone();
                tokio::spawn(async move {
                    let pool = Pool::connect_with(options).await?;
                    create_tables(&pool).await
                })
            })
            .collect();
        for created in starting {
            created.await.expect("no panic").expect("the tables");
        }
    }
}

#[tokio::test]
async fn another_layout_version_is_rejected() {
    let test = TestLedger::new().await;
    sqlx::query("UPDATE ledger_layout SET version = 7")
        .execute(&test.database.pool)
        .await
        .expect("set");
    let error = create_tables(&test.database.pool).await;
    assert!(matches!(error, Err(OpenError::Layout(7))), "{error:?}");
}

#[tokio::test]
async fn tables_of_another_program_are_rejected() {
    let database = TestDatabase::new().await;
    sqlx::raw_sql("CREATE TABLE accounts (id INTEGER)")
        .execute(&database.pool)
        .await
        .expect("a table");
    let error = create_tables(&database.pool).await.expect_err("has tables");
    assert!(error.to_string().contains("already exists"), "{error}");
}
