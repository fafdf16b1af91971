use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlitePool};
use tokio::time::{Instant, sleep};

use super::Ledger;
use super::error::is_busy;

/// The longest time that a transaction waits for a lock of another process. It is longer than any
/// transaction of the service takes, and shorter than the deadline of a request.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before the service tries again to open a busy file. It is short compared with
/// [`BUSY_TIMEOUT`].
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The longest time that a request waits for a connection while earlier transactions use it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of connections that only read.
const MAX_READERS: u32 = 4;

/// The version of the tables that this version of the service reads: `user_version` in
/// `schema.sql`.
const LAYOUT_VERSION: i64 = 1;

/// The reason why a file cannot be opened as a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened, or is not a database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another version of the service wrote the file.
    #[error("it has layout {0}, this version reads layout {LAYOUT_VERSION}")]
    Layout(i64),
}

impl Ledger {
    /// Opens the ledger in `file`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the file cannot be opened and written, or is not a ledger of this version.
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
        let readers = pool(MAX_READERS).connect_with(options).await?;
        Ok(Self {
            writer,
            readers,
            last_check: Arc::default(),
        })
    }
}

/// Opens the connection that writes. This turns a new file into a WAL file. If another process does
/// the same at the same time, `SQLite` ignores the busy timeout and fails immediately, so this
/// function retries.
async fn open_writer(options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool(1).connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                sleep(BUSY_RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// Returns the options of a pool, which closes a released connection if its transaction has not
/// ended.
///
/// After an error such as a full disk, `SQLite` rolls a transaction back by itself. The `ROLLBACK`
/// of sqlx then fails, and sqlx still counts the transaction as open. It would refuse every later
/// `BEGIN` on this connection.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_release(|connection, _| {
            Box::pin(async move {
                // The rollback of a dropped transaction is queued. The reply to the ping comes
                // after the rollback has run.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

/// Creates the tables of a new file. One transaction checks whether they exist and creates them. If
/// two processes start at the same time, only one of them creates the tables.
///
/// The table of the health check is not a part of the layout: a file of an earlier version gets it
/// as well, and that version can still read the file.
async fn create_tables(writer: &SqlitePool) -> Result<(), OpenError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    match sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *transaction)
        .await?
    {
        0 => {
            sqlx::raw_sql(include_str!("schema.sql"))
                .execute(&mut *transaction)
                .await?;
        }
        LAYOUT_VERSION => {}
        other => return Err(OpenError::Layout(other)),
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS health_checks (padding BLOB NOT NULL) STRICT")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}
