//! The service on SQLite.

#[path = "api/mod.rs"]
pub mod api;
#[path = "app.rs"]
pub mod app;
#[path = "ledger/mod.rs"]
pub mod ledger;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow};
use sqlx::{Pool, Transaction};

/// The database of the ledger.
pub type Db = sqlx::Sqlite;

/// A row of a table.
pub(crate) type Row = SqliteRow;

/// The statements that create the tables of the ledger.
pub(crate) const SCHEMA: &str = include_str!("ledger/sqlite.sql");

/// The clause with which a query locks its rows. A `Tx` on SQLite begins with the write lock of the
/// whole file, so its rows need no lock.
pub(crate) const FOR_UPDATE: &str = "";

/// Returns a pool for the database of a URL. The store creates the file.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the URL of a server can be invalid"
)]
pub(crate) fn pool(url: &str, options: SqlitePoolOptions) -> sqlx::Result<Pool<Db>> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    Ok(options.connect_lazy_with(SqliteConnectOptions::new().filename(path)))
}

/// Begins a transaction that excludes other processes that create the tables.
pub(crate) async fn begin_alone(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

/// Returns `true` if the database cannot execute statements at the moment, for example because
/// another process has locked the file, or because the disk is full.
pub(crate) fn is_unavailable(error: &dyn DatabaseError) -> bool {
    // The low byte of an extended code is the primary code: SQLITE_BUSY, SQLITE_LOCKED,
    // SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN (https://sqlite.org/rescode.html).
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    matches!(code.map(|code| code & 0xff), Some(5 | 6 | 10 | 13 | 14))
}

#[cfg(test)]
#[path = "ledger/tests/sqlite/mod.rs"]
mod tests;
