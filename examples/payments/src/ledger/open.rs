use core::time::Duration;
use std::path::Path;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::time::{Instant, sleep};

use super::Ledger;
use super::error::is_busy;

/// How long a transaction waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the start waits before it tries a busy file again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that only read.
const READERS: u32 = 4;

/// The layout of the tables that this version reads, as in `schema.sql`.
const LAYOUT: i64 = 1;

/// Why a file cannot be the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be opened, or is no database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another version of the service wrote it.
    #[error("it has layout {0}, this version reads layout {LAYOUT}")]
    Layout(i64),
}

impl Ledger {
    /// Opens the ledger in `file`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file cannot be opened and written, or is something else.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = open_writer(&options).await?;
        create_tables(&writer).await?;
        let readers = pool(READERS).connect_with(options).await?;
        Ok(Self { writer, readers })
    }
}

/// The first connection makes a new file a WAL file. `SQLite` does not wait with that for another
/// process that does the same, but is busy at once.
async fn open_writer(options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let end = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool(1).connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < end => sleep(BUSY_PAUSE).await,
            opened => return opened,
        }
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
}

/// One transaction, so that of two processes that start at once one makes the tables.
async fn create_tables(writer: &SqlitePool) -> Result<(), OpenError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    match sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *transaction)
        .await?
    {
        0 => {
            sqlx::raw_sql(include_str!("schema.sql"))
                .execute(&mut *transaction)
                .await?
        }
        LAYOUT => return Ok(()),
        other => return Err(OpenError::Layout(other)),
    };
    Ok(transaction.commit().await?)
}
