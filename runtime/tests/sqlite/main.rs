//! The store in a SQLite file: the suites that every store must pass, several stores on one file,
//! locked and full files, and files that cannot be used.

mod migrations;

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use aplomb::Api;
use aplomb::policies::idempotency::{
    Begin, BeginOutcome, EncryptionKeys, Fingerprint, IdempotencyStore, OnCrash, RecordKey, Token,
};
use aplomb::store::{EncryptedRecords, SqliteRecords, Store, StoreError};
use aplomb::testing::{Elapse, TestClock, eventually};
use futures_util::future::{BoxFuture, join_all};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(file)
}

async fn open(file: &Path) -> SqliteRecords {
    let records = SqliteRecords::open(options(file), Arc::new(TestClock::new())).await;
    records.expect("a file that can be opened")
}

async fn pool(file: &Path) -> SqlitePool {
    let pool = SqlitePool::connect_with(options(file).create_if_missing(true)).await;
    pool.expect("a file that can be opened")
}

/// The clock of a store in a new file. The file is removed when the clock is dropped.
struct FileClock {
    clock: TestClock,
    _directory: TempDir,
}

impl Elapse for FileClock {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.clock.elapse(time)
    }
}

async fn new_store() -> (Arc<SqliteRecords>, FileClock) {
    let (clock, directory) = (TestClock::new(), TempDir::new().expect("a directory"));
    let file = options(&directory.path().join("test.db"));
    let records = SqliteRecords::open(file, Arc::new(clock.clone())).await;
    let clock = FileClock {
        clock,
        _directory: directory,
    };
    (Arc::new(records.expect("a new file")), clock)
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(async { new_store().await });
}

mod a26_encrypted_records {
    use super::*;

    aplomb::idempotency_store_suite!(async {
        let (records, clock) = new_store().await;
        let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
        (Arc::new(EncryptedRecords::new(records, keys)), clock)
    });
}

fn begin(number: u32) -> Begin {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&number.to_be_bytes());
    Begin::new(
        RecordKey::new(name, name),
        Fingerprint::new(1, [0; 32]),
        Token::random(),
        Duration::from_secs(30),
        OnCrash::Unknown,
        Duration::from_hours(24),
    )
}

#[tokio::test]
async fn a08_of_concurrent_begins_on_two_stores_of_one_file_exactly_one_starts() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("test.db");
    let stores = [open(&file).await, open(&file).await];
    for number in 0..20 {
        let begins: Vec<_> = (0..16).map(|_| begin(number)).collect();
        let calls = begins.iter().zip(stores.iter().cycle());
        let outcomes = join_all(calls.map(|(begin, store)| store.begin(begin))).await;
        let is_start = |outcome: &&Result<_, _>| **outcome == Ok(BeginOutcome::Started);
        assert_eq!(outcomes.iter().filter(is_start).count(), 1, "{outcomes:?}");
    }
}

#[tokio::test]
async fn records_survive_the_end_of_their_store() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("test.db");
    for expected in [BeginOutcome::Started, BeginOutcome::InFlight] {
        assert_eq!(open(&file).await.begin(&begin(1)).await, Ok(expected));
    }
}

#[tokio::test]
async fn sixteen_stores_can_create_one_file_at_once() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("test.db");
    for store in join_all((0..16).map(|_| open(&file))).await {
        store.begin(&begin(1)).await.expect("a store that works");
    }
}

#[tokio::test]
async fn a22_expired_records_are_removed() {
    let (records, clock) = new_store().await;
    for number in 0..50 {
        let outcome = records.begin(&begin(number)).await;
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    clock.clock.advance(Duration::from_hours(25));
    records.begin(&begin(100)).await.expect("a begin");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM aplomb_record")
        .fetch_one(&pool(records.file()).await)
        .await
        .expect("a number");
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a23_a_locked_file_refuses_new_keys_until_it_is_free() {
    let (records, _clock) = new_store().await;
    let pool = pool(records.file()).await;
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
    let error = records.begin(&begin(1)).await.expect_err("a locked file");
    assert!(matches!(error, StoreError::NotExecuted(_)), "{error}");
    lock.rollback().await.expect("a rollback");
    eventually("the store works again", async || {
        records.begin(&begin(2)).await == Ok(BeginOutcome::Started)
    })
    .await;
}

#[tokio::test]
async fn a23_a_full_disk_refuses_new_keys_and_keeps_the_others() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("test.db");
    // SQLite then returns `SQLITE_FULL`, as on a full disk.
    let small = options(&file).pragma("max_page_count", "24");
    let records = SqliteRecords::open(small, Arc::new(TestClock::new())).await;
    let records = records.expect("a new file");
    let first = begin(0);
    assert_eq!(records.begin(&first).await, Ok(BeginOutcome::Started));
    let mut number = 0;
    let error = loop {
        number += 1;
        match records.begin(&begin(number)).await {
            Ok(outcome) => assert_eq!(outcome, BeginOutcome::Started),
            Err(error) => break error,
        }
        assert!(number < 10_000, "the file is not full");
    };
    assert_eq!(error, StoreError::Full);
    assert_eq!(records.begin(&begin(0)).await, Ok(BeginOutcome::InFlight));
    records
        .abort(first.lease(), Duration::ZERO)
        .await
        .expect("an abort needs no room");
    assert_eq!(records.begin(&begin(0)).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a_damaged_record_is_malformed_and_other_records_work() {
    let (records, _clock) = new_store().await;
    for number in [1, 2] {
        let outcome = records.begin(&begin(number)).await;
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    sqlx::query("UPDATE aplomb_record SET fingerprint = x'00' WHERE name = ?1")
        .bind(begin(1).key.name().to_vec())
        .execute(&pool(records.file()).await)
        .await
        .expect("a change");
    let error = records.begin(&begin(1)).await.expect_err("damaged");
    assert!(error.is_malformed(), "{error}");
    assert_eq!(records.begin(&begin(2)).await, Ok(BeginOutcome::InFlight));
}

/// An API without endpoints, with its store in this file.
fn api(file: &Path) -> Api<()> {
    let pool = SqlitePool::connect_lazy_with(options(file));
    Api::new("test", aplomb::routes![]).store(Store::sqlite(&pool))
}

async fn start_error(file: &Path) -> String {
    let errors = api(file).into_router(()).await.expect_err("a start error");
    errors.to_string()
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_start_error() {
    let directory = TempDir::new().expect("a directory");
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database, but text".repeat(100)).expect("a file");
    let missing = directory.path().join("missing/test.db");
    for (file, expected) in [
        (directory.path(), "it is a directory"),
        (&text, "it is not a SQLite database"),
        (&missing, "does not exist"),
        (Path::new(":memory:"), "use a file"),
    ] {
        let error = start_error(file).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn the_tables_of_the_application_are_untouched() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("test.db");
    let pool = pool(&file).await;
    sqlx::raw_sql("CREATE TABLE record (id INTEGER); INSERT INTO record VALUES (7)")
        .execute(&pool)
        .await
        .expect("a table");
    open(&file).await.begin(&begin(1)).await.expect("a begin");
    let id: i64 = sqlx::query_scalar("SELECT id FROM record")
        .fetch_one(&pool)
        .await
        .expect("a row");
    let others = "SELECT count(*) FROM sqlite_schema WHERE name NOT GLOB 'aplomb_*' \
                  AND name NOT GLOB 'sqlite_*'";
    let others: i64 = sqlx::query_scalar(others)
        .fetch_one(&pool)
        .await
        .expect("a number");
    assert_eq!((id, others), (7, 1));
}
