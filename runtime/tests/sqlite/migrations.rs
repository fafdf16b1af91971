//! The migrations of a file: missing, changed and newer ones.

use std::path::{Path, PathBuf};

use aplomb::policies::idempotency::IdempotencyStore;
use tempfile::TempDir;

use super::{api, begin, open, pool, start_error};

/// A path in a new directory, without a file.
fn new_path() -> (PathBuf, TempDir) {
    let directory = TempDir::new().expect("a directory");
    (directory.path().join("test.db"), directory)
}

/// A file with all tables.
async fn migrated_file() -> (PathBuf, TempDir) {
    let (file, directory) = new_path();
    open(&file).await.begin(&begin(1)).await.expect("a begin");
    (file, directory)
}

async fn execute(file: &Path, statement: &'static str) {
    let done = sqlx::raw_sql(statement).execute(&pool(file).await).await;
    done.expect("a valid statement");
}

async fn names_of_tables(file: &Path) -> Vec<String> {
    let names = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'");
    names.fetch_all(&pool(file).await).await.expect("names")
}

#[tokio::test]
async fn the_applied_migrations_are_listed_with_their_name_checksum_and_time() {
    let (file, _directory) = migrated_file().await;
    let row: (i64, String, String, bool) = sqlx::query_as(
        "SELECT version, name, checksum, \
         abs(strftime('%s', applied_at) - strftime('%s', 'now')) < 60 FROM aplomb_migration",
    )
    .fetch_one(&pool(&file).await)
    .await
    .expect("one row");
    let (version, name, checksum, is_now) = row;
    assert_eq!((version, name.as_str(), is_now), (1, "records", true));
    assert_eq!(checksum.len(), 64, "{checksum}");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_a_start_error_with_both_versions() {
    let (file, _directory) = migrated_file().await;
    let row = "INSERT INTO aplomb_migration (version, name, checksum) VALUES (99, 'new', '0')";
    execute(&file, row).await;
    let error = start_error(&file).await;
    assert!(
        error.contains("a newer version of Aplomb has migrated its tables (they have version 99, this build needs 1)"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[tokio::test]
async fn a_migration_with_another_checksum_is_a_start_error_with_its_name() {
    let (file, _directory) = migrated_file().await;
    execute(&file, "UPDATE aplomb_migration SET checksum = 'abc'").await;
    for migrate in [true, false] {
        let errors = api(&file).migrate(migrate).into_router(()).await;
        let error = errors.expect_err("a start error").to_string();
        assert!(
            error.contains("its migration 0001_records was applied with other statements"),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn without_migrations_a_missing_file_is_a_start_error_and_is_not_created() {
    let (file, _directory) = new_path();
    let errors = api(&file).migrate(false).into_router(()).await;
    let error = errors.expect_err("a start error").to_string();
    assert!(
        error.contains("missing migrations: 0001_records: run the command `migrate`"),
        "{error}"
    );
    assert!(!file.exists());
}

#[tokio::test]
async fn without_migrations_missing_tables_are_a_start_error_and_are_not_created() {
    let (file, _directory) = new_path();
    execute(&file, "CREATE TABLE payment (id INTEGER)").await;
    let errors = api(&file).migrate(false).into_router(()).await;
    let error = errors.expect_err("a start error").to_string();
    assert!(
        error.contains("missing migrations: 0001_records"),
        "{error}"
    );
    assert_eq!(names_of_tables(&file).await, ["payment"]);
}

#[tokio::test]
async fn without_migrations_a_migrated_file_is_used() {
    let (file, _directory) = migrated_file().await;
    let started = api(&file).migrate(false).into_router(()).await;
    assert!(started.is_ok(), "{started:?}");
}
