//! The writer: one connection on a separate thread, which commits waiting operations together.
//!
//! The thread has its own runtime, so a handler that blocks the runtime of the requests does not
//! stop the renewal of leases.

use core::time::Duration;
use std::sync::Arc;
use std::{io, thread};

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::{WriteLock, is_full, not_executed, operations};
use crate::clock::{Clock, Timestamp};
use crate::facet::StoreError;

/// The maximum number of operations that one transaction commits. It bounds the time for which
/// other processes wait for the file.
const MAX_BATCH: usize = 256;

/// The maximum number of operations that wait for the writer.
const QUEUE: usize = 1024;

/// The time limit of an operation. It is longer than SQLite waits for another process.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two removals of expired rows.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);

/// The error of an operation inside of a transaction.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database failed, and the transaction cannot be committed.
    Database(sqlx::Error),
    /// One stored value is malformed. The transaction can be committed.
    Store(StoreError),
}

impl Failure {
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Database(error) => not_executed(&error),
            Self::Store(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A handle to the writer. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Operation>>);

/// An operation that waits for the writer.
trait Operation: Send {
    /// Executes the operation inside of a transaction, and keeps its result.
    fn run<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Returns the result to the caller, or the error of the transaction.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Waiting<T, F> {
    /// `None` after the operation was executed.
    operation: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Waiting<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection, Timestamp) -> BoxFuture<'c, Result<T, Failure>>
        + Send,
{
    fn run<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let Some(operation) = self.operation.take() else {
                return Ok(());
            };
            self.result = Some(match operation(connection, now).await {
                Ok(result) => Ok(result),
                Err(Failure::Store(error)) => Err(error),
                Err(Failure::Database(error)) => return Err(error),
            });
            Ok(())
        })
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let not_run = || StoreError::NotExecuted(String::from("the operation did not run"));
        let result = match committed {
            Ok(()) => self.result.unwrap_or_else(|| Err(not_run())),
            Err(error) => Err(error),
        };
        // The caller may have stopped waiting.
        let _ = self.reply.send(result);
    }
}

impl Writer {
    /// Starts the thread with an open connection.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        clock: Arc<dyn Clock>,
        lock: Arc<WriteLock>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = WriterTask {
            connection: Some(connection),
            options,
            clock,
            lock,
            removed_at: None,
        };
        thread::Builder::new()
            .name(String::from("aplomb-sqlite"))
            .spawn(move || runtime.block_on(task.run(receiver)))?;
        Ok(Self(sender))
    }

    /// Executes an operation. Returns its result after the commit.
    pub(super) async fn execute<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection, Timestamp) -> BoxFuture<'c, Result<T, Failure>>
            + Send
            + 'static,
    {
        let (reply, result) = oneshot::channel();
        let waiting = Waiting {
            operation: Some(operation),
            result: None,
            reply,
        };
        let ended = || StoreError::NotExecuted(String::from("the thread of the writer has ended"));
        let deadline = Instant::now() + TIMEOUT;
        match timeout_at(deadline, self.0.reserve()).await {
            Ok(Ok(permit)) => permit.send(Box::new(waiting)),
            Ok(Err(_)) => return Err(ended()),
            Err(_) => {
                let error = "too many operations wait for the disk";
                return Err(StoreError::NotExecuted(String::from(error)));
            }
        }
        match timeout_at(deadline, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Unavailable(String::from(
                "the thread of the writer has ended",
            ))),
            Err(_) => {
                let error = format!("no commit within {TIMEOUT:?}");
                Err(StoreError::Unavailable(error))
            }
        }
    }
}

struct WriterTask {
    /// `None` after an error, because the state of the connection is then unknown.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    clock: Arc<dyn Clock>,
    /// The right to write, for which the transactions of handlers wait as well.
    lock: Arc<WriteLock>,
    removed_at: Option<Timestamp>,
}

impl WriterTask {
    async fn run(mut self, mut receiver: mpsc::Receiver<Box<dyn Operation>>) {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let committed = self.commit(&mut batch).await;
            for operation in batch.drain(..) {
                operation.finish(committed.clone());
            }
        }
        if let Some(connection) = self.connection {
            // An error is ignored, because everything is committed.
            let _ = timeout(TIMEOUT, connection.close()).await;
        }
    }

    /// Executes operations in one transaction. If one fails, none was executed.
    async fn commit(&mut self, batch: &mut [Box<dyn Operation>]) -> Result<(), StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connected = self.options.connect().await;
                connected.map_err(|error| not_executed(&error))?
            }
        };
        let permit = timeout(TIMEOUT, self.lock.for_records()).await;
        let _permit = permit.map_err(|_| {
            let error = "transactions of handlers have locked the file for too long";
            StoreError::NotExecuted(String::from(error))
        })?;
        // On an error, the connection is dropped, which rolls the transaction back.
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = transaction.map_err(|error| not_executed(&error))?;
        for operation in batch {
            // The time is read while the write lock is held, so that it never goes back between
            // two processes.
            let run = operation.run(&mut transaction, self.clock.now()).await;
            run.map_err(|error| not_executed(&error))?;
        }
        let now = self.clock.now();
        let is_due = |at: Timestamp| now.since(at) >= REMOVAL_INTERVAL;
        if self.removed_at.is_none_or(is_due) {
            let more = operations::remove_expired(&mut transaction, now).await;
            let more = more.map_err(|error| not_executed(&error))?;
            self.removed_at = (!more).then_some(now);
        }
        transaction.commit().await.map_err(|error| {
            if is_full(&error) {
                return StoreError::Full;
            }
            // SQLite may have committed before it failed.
            StoreError::Failed(error.to_string())
        })?;
        self.connection = Some(connection);
        Ok(())
    }
}
