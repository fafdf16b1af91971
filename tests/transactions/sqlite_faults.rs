//! Failures of a SQLite file.

use aplomb::Result;
use aplomb::prelude::*;
use aplomb::testing::eventually;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::cases::{ALICE, Service, write};
use super::{Db, TestDatabase};

/// Writes an effect.
#[endpoint(post = "/write", idempotent)]
async fn write_effect(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "effect").await?;
    Ok("written")
}

/// Writes an effect without a key.
#[endpoint(put = "/unkeyed", timeout = "1s")]
async fn write_unkeyed(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, "effect").await?;
    Ok("written")
}

/// Writes an effect of 64 KiB.
#[endpoint(post = "/large", idempotent)]
async fn write_large(mut tx: Tx<Db>) -> Result<&'static str> {
    write(&mut tx, &"x".repeat(1 << 16)).await?;
    Ok("written")
}

/// Checks a foreign key at the commit.
#[endpoint(post = "/deferred", idempotent)]
async fn deferred(mut tx: Tx<Db>) -> Result<&'static str> {
    sqlx::query("INSERT INTO child (parent) VALUES (7)")
        .execute(&mut tx)
        .await?;
    Ok("written")
}

#[tokio::test]
async fn t07_a_file_that_another_process_has_locked_is_a_503() {
    let service = Service::start(routes![write_unkeyed]).await;
    let options = service.database.pool.connect_options();
    let mut other = SqliteConnection::connect_with(&options)
        .await
        .expect("a connection");
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
    let put = || service.put("/unkeyed").bearer(ALICE);
    put().send().await.problem(503, "TRANSACTION_CONFLICT");
    lock.rollback().await.expect("the end of the lock");
    eventually("a written effect", async || {
        put().send().await.status == 200
    })
    .await;
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t07_a_full_file_is_a_503_without_effects() {
    let limited =
        |options: sqlx::sqlite::SqliteConnectOptions| options.pragma("max_page_count", "40");
    let database = TestDatabase::with_options(5, limited).await;
    let service = Service::start_on(database, routes![write_large, write_effect], |api| api).await;
    for attempt in ["first", "second"] {
        let response = service.post("/large", attempt).send().await;
        response.problem(503, "STORE_UNAVAILABLE");
        assert!(service.effects().await.is_empty(), "{attempt}");
    }
    // The connection is usable after the error.
    assert_eq!(service.post("/write", "third").send().await.status, 200);
    assert_eq!(service.effects().await, ["effect"]);
}

#[tokio::test]
async fn t10_a_constraint_that_fails_at_the_commit_is_a_500_without_effects() {
    let service = Service::start(routes![deferred, write_effect]).await;
    sqlx::raw_sql(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child \
         (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    .execute(&service.database.pool)
    .await
    .expect("the tables");
    service.send("/deferred").await.problem(500, "INTERNAL");
    assert_eq!(service.records().await, 0);
    assert_eq!(service.post("/write", "next").send().await.status, 200);
    let children: i64 = sqlx::query_scalar("SELECT count(*) FROM child")
        .fetch_one(&service.database.pool)
        .await
        .expect("a count");
    assert_eq!(children, 0);
}

#[tokio::test]
async fn t07_transactions_of_one_process_wait_for_each_other() {
    let service = Service::start(routes![write_numbered]).await;
    let requests: Vec<_> = (0..32)
        .map(|number| {
            let request = service.post(&format!("/write/{number}"), &number.to_string());
            tokio::spawn(request.send())
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.expect("a response").status, 200);
    }
    assert_eq!(service.effects().await.len(), 32);
}

/// Writes an effect with this number, in two statements.
#[endpoint(post = "/write/{number}", idempotent)]
async fn write_numbered(mut tx: Tx<Db>, Path(number): Path<u32>) -> Result<String> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM effect")
        .fetch_one(&mut tx)
        .await?;
    write(&mut tx, &format!("{number}-{count}")).await?;
    Ok(count.to_string())
}
