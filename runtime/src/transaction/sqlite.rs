//! Transactions on SQLite.
//!
//! A file has one writer at a time. The transactions of a process, and the thread that writes
//! records, therefore wait for one lock in the memory of the process. SQLite itself would let them
//! poll, and a connection could wait for a long time.
//!
//! Only the pipeline can commit: a commit hook turns every other `COMMIT` into a rollback.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::SqlSafeStr;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx_core::transaction::TransactionManager as _;
use tokio::time::Instant;

use super::database::{Sealed, TransactionDatabase};
use super::source::RollbackKind;
use super::work_pool::BeginOptions;
use crate::clock::Timestamp;
use crate::policies::idempotency::Complete;
use crate::spec::Database;
use crate::store::sqlite::{self, WritePermit};

/// The number of instructions of SQLite's virtual machine between two checks of the time limit. They
/// take less than a millisecond.
const INSTRUCTIONS_PER_CHECK: i32 = 10_000;

/// The right to write, and the state that the hooks of the connection share.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only a sealed trait contains it")]
pub struct SqliteGuard {
    flags: Arc<Flags>,
    _permit: Option<WritePermit>,
}

impl Drop for SqliteGuard {
    /// Disables the hooks. They stay on the connection until its next transaction has begun.
    fn drop(&mut self) {
        self.flags.may_commit.store(true, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
struct Flags {
    /// Set when the pipeline commits, and after the end of the transaction.
    may_commit: AtomicBool,
    /// Set if the whole transaction was rolled back, by a statement of the handler or by an error.
    is_rolled_back: AtomicBool,
}

impl Sealed for Sqlite {}

impl TransactionDatabase for Sqlite {
    const DATABASE: Database = Database::Sqlite;

    type Guard = SqliteGuard;

    fn guard(options: &BeginOptions) -> BoxFuture<'_, SqliteGuard> {
        Box::pin(async move {
            let permit = match &options.write_lock {
                Some(lock) => Some(lock.for_transaction().await),
                None => None,
            };
            SqliteGuard {
                flags: Arc::default(),
                _permit: permit,
            }
        })
    }

    fn begin<'a>(
        connection: &'a mut PoolConnection<Self>,
        guard: &'a SqliteGuard,
        options: &'a BeginOptions,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            // A transaction that begins without the lock fails at its first write, if another
            // process has written since its first read.
            let statement = "BEGIN IMMEDIATE".into_sql_str();
            <Self as sqlx::Database>::TransactionManager::begin(connection, Some(statement))
                .await?;
            let mut handle = connection.lock_handle().await?;
            let flags = Arc::clone(&guard.flags);
            handle.set_commit_hook(move || flags.may_commit.load(Ordering::SeqCst));
            let flags = Arc::clone(&guard.flags);
            handle.set_rollback_hook(move || flags.is_rolled_back.store(true, Ordering::SeqCst));
            let deadline = Instant::now() + options.time_limit;
            let flags = Arc::clone(&guard.flags);
            handle.set_progress_handler(INSTRUCTIONS_PER_CHECK, move || {
                // `COMMIT` and `ROLLBACK` are never interrupted.
                flags.may_commit.load(Ordering::SeqCst) || Instant::now() < deadline
            });
            Ok(())
        })
    }

    fn complete<'a>(
        connection: &'a mut SqliteConnection,
        _: &'a SqliteGuard,
        complete: &'a Complete,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        Box::pin(sqlite::complete_held(connection, complete, now))
    }

    fn is_open<'a>(
        _: &'a mut SqliteConnection,
        guard: &'a SqliteGuard,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        let is_open = !guard.flags.is_rolled_back.load(Ordering::SeqCst);
        Box::pin(core::future::ready(Ok(is_open)))
    }

    fn handler_can_commit() -> bool {
        false
    }

    fn allow_commit(guard: &SqliteGuard) {
        guard.flags.may_commit.store(true, Ordering::SeqCst);
    }

    fn classify(error: &sqlx::Error) -> Option<RollbackKind> {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                Some(match code.map(|code| code & 0xff) {
                    // SQLITE_BUSY, SQLITE_LOCKED
                    Some(5 | 6) => RollbackKind::Conflict,
                    // SQLITE_INTERRUPT, by the check of the time limit
                    Some(9) => RollbackKind::Ended,
                    // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
                    Some(8 | 10 | 13 | 14) => RollbackKind::Unavailable,
                    _ => RollbackKind::Statement,
                })
            }
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Some(RollbackKind::Ended),
            sqlx::Error::PoolTimedOut => Some(RollbackKind::PoolExhausted),
            _ => None,
        }
    }

    fn is_ambiguous(error: &sqlx::Error) -> bool {
        // SQLite reports an I/O error also if it has written the whole commit, but could not sync
        // it. After any other error, the transaction is still open or was rolled back.
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                code.is_some_and(|code| code & 0xff == 10)
            }
            _ => true,
        }
    }
}
