//! A transaction that has begun.

use core::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::database::TransactionDatabase;
use super::source::{Rollback, RollbackKind, TransactionEnd};
use super::work_pool::WorkPool;
use crate::policies::idempotency::{Complete, PausedLease};

/// A connection with an open transaction. If the value is dropped, the transaction is rolled back.
pub(super) struct OpenTransaction<DB: TransactionDatabase> {
    pub(super) connection: PoolConnection<DB>,
    pub(super) guard: DB::Guard,
    pub(super) begun_at: Instant,
    /// The task that rolls the transaction back when its time limit has passed.
    pub(super) watchdog: AbortHandle,
    /// The lease of the run, which is not renewed until the transaction ends.
    pub(super) _pause: Option<PausedLease>,
    pub(super) has_ended: bool,
}

impl<DB: TransactionDatabase> OpenTransaction<DB> {
    /// Commits the transaction. With `complete`, the record of the key is completed first.
    pub(super) async fn commit(
        mut self,
        complete: Option<&Complete>,
        work: &WorkPool<DB>,
    ) -> TransactionEnd {
        if DB::TransactionManager::get_transaction_depth(&self.connection) != 1 {
            let cause = "the handler has left a savepoint open, or has ended the transaction";
            let rollback = Rollback::new(RollbackKind::Misuse, cause);
            return self.fail(rollback, work.time_limit).await;
        }
        if self.begun_at.elapsed() >= work.time_limit {
            let rollback = exceeded(work.time_limit);
            return self.fail(rollback, work.time_limit).await;
        }
        // The lease is not renewed before the commit, so both steps have one deadline.
        let deadline = Instant::now() + work.time_limit;
        match timeout_at(deadline, self.complete(complete, work)).await {
            Ok(Ok(Completion::Done)) => {}
            Ok(Ok(Completion::Lost)) => {
                let cause = "another run has taken the record of the key, or the store has lost it";
                let rollback = Rollback::new(RollbackKind::Ended, cause);
                return self.fail(rollback, work.time_limit).await;
            }
            Ok(Ok(Completion::CommittedByHandler)) => {
                self.roll_back(work.time_limit).await;
                return TransactionEnd::CommittedByHandler;
            }
            Ok(Err(error)) => {
                let rollback = failed::<DB>(&error);
                return self.fail(rollback, work.time_limit).await;
            }
            Err(_) => {
                let rollback = Rollback::new(RollbackKind::Unavailable, "no response in time");
                return self.fail(rollback, work.time_limit).await;
            }
        }
        DB::allow_commit(&self.guard);
        let committing = DB::TransactionManager::commit(&mut self.connection);
        match timeout_at(deadline, committing).await {
            Ok(Ok(())) => {
                self.has_ended = true;
                TransactionEnd::Committed
            }
            // PostgreSQL has ended the transaction, and SQLite has not.
            Ok(Err(error)) if !DB::is_ambiguous(&error) => {
                self.roll_back(work.time_limit).await;
                TransactionEnd::Failed(failed::<DB>(&error))
            }
            Ok(Err(error)) => {
                self.close();
                TransactionEnd::CommitUnknown(error.to_string())
            }
            Err(_) => {
                self.close();
                TransactionEnd::CommitUnknown(String::from("no response to COMMIT in time"))
            }
        }
    }

    /// Completes the record, and checks that the transaction is still the one that was begun.
    async fn complete(
        &mut self,
        complete: Option<&Complete>,
        work: &WorkPool<DB>,
    ) -> Result<Completion, sqlx::Error> {
        let Self {
            connection, guard, ..
        } = self;
        if let Some(complete) = complete {
            let encrypted = work.encrypt(complete);
            let complete = encrypted.as_ref().unwrap_or(complete);
            if DB::complete(connection, guard, complete, work.clock.now()).await? {
                return Ok(Completion::Done);
            }
            if DB::is_open(connection, guard).await? {
                return Ok(Completion::Lost);
            }
            return Ok(Completion::CommittedByHandler);
        }
        Ok(if DB::is_open(connection, guard).await? {
            Completion::Done
        } else {
            Completion::CommittedByHandler
        })
    }

    /// Rolls the transaction back. Finds out whether the handler has committed it before.
    pub(super) async fn end_without_commit(mut self, time_limit: Duration) -> TransactionEnd {
        let committed = if DB::handler_can_commit() {
            let is_open = DB::is_open(&mut self.connection, &self.guard);
            // An error means that the transaction is broken, and cannot be committed any more.
            matches!(timeout(time_limit, is_open).await, Ok(Ok(false)))
        } else {
            false
        };
        self.roll_back(time_limit).await;
        if committed {
            TransactionEnd::CommittedByHandler
        } else {
            TransactionEnd::RolledBack
        }
    }

    /// Rolls the transaction back after an error.
    pub(super) async fn fail(self, rollback: Rollback, time_limit: Duration) -> TransactionEnd {
        match self.end_without_commit(time_limit).await {
            TransactionEnd::CommittedByHandler => TransactionEnd::CommittedByHandler,
            _ => TransactionEnd::Failed(rollback),
        }
    }

    /// Rolls back all savepoints and the transaction. If that fails, the connection is closed, and
    /// the database rolls the transaction back.
    async fn roll_back(&mut self, time_limit: Duration) {
        let rolling_back = async {
            while DB::TransactionManager::get_transaction_depth(&self.connection) > 0 {
                DB::TransactionManager::rollback(&mut self.connection).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        match timeout(time_limit, rolling_back).await {
            Ok(Ok(())) => self.has_ended = true,
            _ => self.close(),
        }
    }

    /// Closes the connection when the value is dropped. The database then rolls back a transaction
    /// that is still open.
    fn close(&mut self) {
        self.connection.close_on_drop();
        self.has_ended = true;
    }
}

impl<DB: TransactionDatabase> Drop for OpenTransaction<DB> {
    fn drop(&mut self) {
        self.watchdog.abort();
        if !self.has_ended {
            // The connection executes the rollback before its next statement.
            DB::TransactionManager::start_rollback(&mut self.connection);
        }
    }
}

/// The result of the last statement before `COMMIT`.
enum Completion {
    Done,
    /// The record does not have the token of the run any more.
    Lost,
    /// The handler has ended the transaction itself.
    CommittedByHandler,
}

/// Returns the description of a transaction that has exceeded its time limit.
pub(super) fn exceeded(time_limit: Duration) -> Rollback {
    let cause = format!("the transaction has exceeded its time limit of {time_limit:?}");
    Rollback::new(RollbackKind::Ended, cause)
}

fn failed<DB: TransactionDatabase>(error: &sqlx::Error) -> Rollback {
    let kind = DB::classify(error).unwrap_or(RollbackKind::Misuse);
    Rollback::new(kind, error.to_string())
}
