//! A SQLite file as the database of the cases.

use aplomb::Database;
use aplomb::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tempfile::TempDir;

#[path = "cases/mod.rs"]
mod cases;
#[path = "sqlite_faults.rs"]
mod faults;

pub(crate) type Db = sqlx::Sqlite;

/// The kind of the database.
pub(crate) const DATABASE: Database = Database::Sqlite;

/// The pools of the store.
pub(crate) const POOLS: &[&str] = &["work"];

/// The table of records.
pub(crate) const RECORDS: &str = "aplomb_record";

/// The condition of records that are not removed.
pub(crate) const IS_RECORD: &str = "true";

/// A statement that takes much longer than the time limit of a transaction.
pub(crate) const SLOW: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
    WHERE i < 1000000000) SELECT count(*) FROM n";

/// A handler that sends `COMMIT` has no effects, because the statement fails.
pub(crate) const HANDLER_CAN_COMMIT: bool = false;

/// A database in a temporary directory.
pub(crate) struct TestDatabase {
    pub(crate) pool: SqlitePool,
    _directory: TempDir,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        Self::with_connections(5).await
    }

    /// Creates a database whose pool has this number of connections. The transactions of handlers
    /// have one connection of their own.
    pub(crate) async fn with_connections(connections: u32) -> Self {
        Self::with_options(connections, |options| options).await
    }

    pub(crate) async fn with_options(
        connections: u32,
        adjust: impl FnOnce(SqliteConnectOptions) -> SqliteConnectOptions,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("test.db");
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(connections);
        let pool = pool
            .connect_with(adjust(options))
            .await
            .expect("a database");
        Self {
            pool,
            _directory: directory,
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::sqlite(&self.pool)
    }
}

/// A token as an expression of SQL.
pub(crate) const OTHER_TOKEN: &str = "x'07070707070707070707070707070707'";
