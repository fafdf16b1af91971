//! A store in one SQLite file: durable, for one machine.
//!
//! The records of idempotency keys survive the end of the process, also by `kill -9` and by a power
//! failure. Several processes of one machine can share the file. Rate limits stay in the memory of
//! each process. The file must be on a local disk, because SQLite's locks do not work on most
//! network file systems.
//!
//! # Writes
//!
//! SQLite has one writer at a time. All writes of a process go to one connection on a separate
//! thread, which commits the writes that wait together. Each commit waits for the disk, so one
//! commit for each write would be much slower. A result is returned after its commit
//! (`synchronous = FULL`). Reads use other connections, and never wait for a write.
//!
//! ```
//! use aplomb::Api;
//! use aplomb::store::Store;
//! use sqlx::sqlite::SqliteConnectOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let file = directory.path().join("payments.db");
//! // The file has the tables of the service, and tables of Aplomb.
//! let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
//! let pool = sqlx::SqlitePool::connect_with(options).await?;
//! let api: Api<()> = Api::new("payments", aplomb::routes![]).store(Store::sqlite(&pool));
//! # let _ = api.into_router(()).await?;
//! # Ok(())
//! # }
//! ```

mod open;
mod operations;
mod row;
mod schema;
mod write_lock;
mod writer;

use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};

#[cfg(test)]
pub(super) use self::schema::SCHEMA;
pub(crate) use self::write_lock::{WriteLock, WritePermit};
use self::writer::Writer;
use super::WorkDatabase;
use crate::clock::{Clock, Timestamp};
use crate::facet::{StoreError, StoreFuture};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    RecordState, StoredResponse,
};

/// The records of idempotency keys in a SQLite file.
///
/// Clones share their connections.
#[derive(Clone)]
pub struct SqliteRecords {
    writer: Writer,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    file: Arc<PathBuf>,
    /// The right to write, which the writer and the transactions of handlers share.
    write_lock: Arc<WriteLock>,
}

/// The location of a SQLite file, and the options of its connections.
#[derive(Debug, Clone)]
pub(crate) struct SqliteFile {
    options: SqliteConnectOptions,
    /// The options of the pool for the transactions of handlers.
    pool: SqlitePoolOptions,
}

impl SqliteFile {
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        Self {
            options,
            pool: SqlitePoolOptions::new(),
        }
    }

    pub(crate) fn of_pool(pool: &SqlitePool) -> Self {
        Self {
            options: (*pool.connect_options()).clone(),
            pool: pool.options().clone(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// Returns the connections for the transactions of handlers. The pool has one connection, because
    /// a file has one writer at a time.
    pub(super) fn work_database(&self, records: &SqliteRecords) -> WorkDatabase {
        let pool = self.pool.clone().min_connections(0).max_connections(1);
        let pool = pool.test_before_acquire(false);
        WorkDatabase::Sqlite {
            pool: pool.connect_lazy_with(self.connect_options()),
            write_lock: Arc::clone(&records.write_lock),
            clock: Arc::clone(&records.clock),
        }
    }
}

/// Completes a record in the transaction of a handler. Returns `false` and writes nothing if no
/// RUNNING or UNKNOWN record has the token.
pub(crate) async fn complete_held(
    connection: &mut SqliteConnection,
    complete: &Complete,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    operations::complete_held(connection, complete, now).await
}

impl SqliteRecords {
    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for SqliteRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteRecords")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl IdempotencyStore for SqliteRecords {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(async move {
            // Most retries find a record that does not change, and need no write.
            let found = operations::look_up(&self.readers, begin, self.now()).await?;
            if let Some(found) = found {
                return Ok(found);
            }
            let begin = begin.clone();
            self.writer
                .execute(move |connection, now| {
                    Box::pin(async move { operations::begin(connection, &begin, now).await })
                })
                .await
        })
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        let leases = leases.to_vec();
        StoreFuture::later(self.writer.execute(move |connection, now| {
            Box::pin(async move { operations::heartbeat(connection, &leases, lease, now).await })
        }))
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        let complete = complete.clone();
        StoreFuture::later(self.writer.execute(move |connection, now| {
            Box::pin(async move { operations::complete(connection, &complete, now).await })
        }))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        StoreFuture::later(self.writer.execute(move |connection, now| {
            Box::pin(async move { operations::abort(connection, lease, marker, now).await })
        }))
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        StoreFuture::later(self.writer.execute(move |connection, now| {
            Box::pin(async move { operations::mark_unknown(connection, lease, ttl, now).await })
        }))
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(operations::find(&self.readers, key, self.now()))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        StoreFuture::later(self.writer.execute(move |connection, now| {
            Box::pin(async move { operations::resolve(connection, key, response, ttl, now).await })
        }))
    }
}

/// Describes an error of the database. The operation was not executed, or was rolled back.
fn not_executed(error: &sqlx::Error) -> StoreError {
    if is_full(error) {
        return StoreError::Full;
    }
    StoreError::NotExecuted(error.to_string())
}

/// Returns the primary result code of SQLite.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// Returns `true` if the disk is full, or the file has its maximum size (`SQLITE_FULL`).
fn is_full(error: &sqlx::Error) -> bool {
    code(error) == Some(13)
}
