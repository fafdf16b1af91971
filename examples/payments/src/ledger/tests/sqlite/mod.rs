//! A SQLite file as the database of the tests, and the tests that run only on this database.
//!
//! A test whose statements cannot differ between the databases is here, because it takes seconds to
//! create the data of a PostgreSQL server.

mod accounts;
mod disk_full;
mod payments;
mod plan;
mod values;

use aplomb::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

/// The number of databases in the test of services that start at the same time.
pub(crate) const STARTS: usize = 20;

/// A database in a temporary directory.
pub(crate) struct TestDatabase {
    pub(crate) pool: SqlitePool,
    _directory: TempDir,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("ledger.db"))
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.expect("a database");
        Self {
            pool,
            _directory: directory,
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::sqlite(&self.pool)
    }
}
