//! The pool whose connections run the transactions of handlers.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use sqlx::Pool;
use sqlx::pool::PoolConnection;
use tokio::time::{Instant, timeout_at};

use super::database::TransactionDatabase;
use super::slot::Slot;
use super::source::{RollbackKind, TransactionRequest, TransactionSlot, TransactionSource};
use crate::clock::{Clock, SystemClock};
use crate::policies::idempotency::{Complete, EncryptionKeys, Outcome, Token};
use crate::spec::Database;
use crate::store::pools::{PoolMonitor, PoolSource, PoolStatus};
#[cfg(feature = "sqlite")]
use crate::store::sqlite::WriteLock;

/// The longest duration of a transaction, if it is not set.
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// The name of the pool in its status.
const NAME: &str = "work";

/// A pool for the transactions of handlers, with the settings that all transactions share.
pub(super) struct WorkPool<DB: TransactionDatabase> {
    pub(super) pool: Pool<DB>,
    /// The right to write to a SQLite file.
    #[cfg(feature = "sqlite")]
    pub(super) write_lock: Option<Arc<WriteLock>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Set if the connections go through a PgBouncer that pools transactions.
    pub(super) is_pgbouncer: bool,
    pub(super) monitor: Arc<PoolMonitor>,
    /// The connections of the store itself.
    pub(super) control: Option<Arc<dyn PoolSource>>,
    /// The longest duration of a transaction.
    pub(super) time_limit: Duration,
    /// Encrypts the responses that are stored in records.
    pub(super) keys: Option<EncryptionKeys>,
}

/// The options with which a transaction begins.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only a sealed trait contains it")]
pub struct BeginOptions {
    /// The token of the run.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite needs no mark of the transaction")
    )]
    pub(super) token: Token,
    /// The longest duration of the transaction.
    pub(super) time_limit: Duration,
    #[cfg(feature = "sqlite")]
    pub(super) write_lock: Option<Arc<WriteLock>>,
    pub(super) is_pgbouncer: bool,
}

/// An error that prevents a transaction from beginning.
#[derive(Debug)]
pub(super) enum BeginError {
    /// No connection became free within this time.
    Exhausted(Duration),
    /// The database did not begin the transaction in time.
    TimedOut,
    Database(sqlx::Error),
}

impl<DB: TransactionDatabase> WorkPool<DB> {
    /// Creates a pool with the default settings.
    pub(super) fn new(pool: Pool<DB>) -> Self {
        Self {
            pool,
            #[cfg(feature = "sqlite")]
            write_lock: None,
            clock: Arc::new(SystemClock::new()),
            is_pgbouncer: false,
            monitor: Arc::new(PoolMonitor::new(NAME)),
            control: None,
            time_limit: DEFAULT_TIME_LIMIT,
            keys: None,
        }
    }

    /// Sets the longest duration of a transaction, and the keys that encrypt stored responses.
    pub(super) fn with_settings(
        mut self,
        time_limit: Duration,
        keys: Option<EncryptionKeys>,
    ) -> Self {
        (self.time_limit, self.keys) = (time_limit, keys);
        self
    }

    /// Waits for a connection, and begins a transaction on it.
    ///
    /// A pool does not notice that the server has closed an idle connection. If `BEGIN` fails on a
    /// closed connection, it is repeated on another one.
    pub(super) async fn begin(
        &self,
        options: &BeginOptions,
        acquire_timeout: Duration,
    ) -> Result<(PoolConnection<DB>, DB::Guard), BeginError> {
        let deadline = Instant::now() + acquire_timeout;
        let mut waiting = self.monitor.wait();
        let exhausted = || {
            self.monitor.add_exhausted();
            BeginError::Exhausted(acquire_timeout)
        };
        let guard = timeout_at(deadline, DB::guard(options))
            .await
            .map_err(|_| exhausted())?;
        // Each idle connection can be closed, and a new one cannot.
        let mut attempts = self.pool.size() + 1;
        loop {
            let connection = match timeout_at(deadline, self.pool.acquire()).await {
                Ok(Ok(connection)) => connection,
                Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => return Err(exhausted()),
                Ok(Err(error)) => return Err(BeginError::Database(error)),
            };
            waiting.end();
            let mut beginning = Beginning(Some(connection));
            let begun = timeout_at(deadline, beginning.begin(&guard, options)).await;
            attempts -= 1;
            match begun {
                Ok(Ok(())) => {
                    let connection = beginning.0.take().expect("only taken here");
                    return Ok((connection, guard));
                }
                Ok(Err(error)) => {
                    let is_closed = DB::classify(&error) == Some(RollbackKind::Ended);
                    if !is_closed || attempts == 0 {
                        return Err(BeginError::Database(error));
                    }
                }
                Err(_) => return Err(BeginError::TimedOut),
            }
        }
    }

    /// Encrypts the response of a record, if the API has keys.
    pub(super) fn encrypt(&self, complete: &Complete) -> Option<Complete> {
        let (Some(keys), Outcome::Response(response)) = (&self.keys, &complete.outcome) else {
            return None;
        };
        let outcome = Outcome::Response(keys.encrypt(&complete.lease.key, response));
        Some(Complete {
            outcome,
            ..complete.clone()
        })
    }
}

/// A connection on which a transaction begins. It is closed if it is dropped, because a transaction
/// may be open on it.
struct Beginning<DB: TransactionDatabase>(Option<PoolConnection<DB>>);

impl<DB: TransactionDatabase> Beginning<DB> {
    async fn begin(
        &mut self,
        guard: &DB::Guard,
        options: &BeginOptions,
    ) -> Result<(), sqlx::Error> {
        let connection = self.0.as_mut().expect("taken only after the begin");
        DB::begin(connection, guard, options).await
    }
}

impl<DB: TransactionDatabase> Drop for Beginning<DB> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

impl<DB: TransactionDatabase> PoolSource for WorkPool<DB> {
    fn status(&self) -> PoolStatus {
        let size = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        self.monitor
            .status(self.pool.options().get_max_connections(), size, idle)
    }
}

impl<DB: TransactionDatabase> TransactionSource for WorkPool<DB> {
    fn database(&self) -> Database {
        DB::DATABASE
    }

    fn pools(self: Arc<Self>) -> Vec<Arc<dyn PoolSource>> {
        let control = self.control.clone();
        let work: Arc<dyn PoolSource> = self;
        core::iter::once(work).chain(control).collect()
    }

    fn slot(self: Arc<Self>, request: TransactionRequest) -> Arc<dyn TransactionSlot> {
        Slot::new(self, request)
    }
}

impl<DB: TransactionDatabase> fmt::Debug for WorkPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkPool")
            .field("database", &DB::DATABASE)
            .field("time_limit", &self.time_limit)
            .finish_non_exhaustive()
    }
}
