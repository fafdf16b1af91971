//! The transaction of one request. The slot owns the connection, and lends it to the handler for
//! one statement at a time.

use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError, Weak};

use futures_util::future::BoxFuture;
use http::Extensions;
use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

use super::database::TransactionDatabase;
use super::open::{OpenTransaction, exceeded};
use super::source::{Rollback, RollbackKind, TransactionEnd, TransactionRequest, TransactionSlot};
use super::work_pool::{BeginError, BeginOptions, WorkPool};
use crate::policies::idempotency::{Complete, LeasePause};
use crate::spec::Database;

/// The longest wait for a connection to the database.
const MAX_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest time limit of this wait. It is enough for a new connection.
const MIN_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(100);

/// The slot for the transaction of one request.
pub(super) struct Slot<DB: TransactionDatabase> {
    /// The slot itself, for the task that watches the time limit.
    this: Weak<Self>,
    work: Arc<WorkPool<DB>>,
    options: BeginOptions,
    /// The response deadline of the request.
    due: Instant,
    lease: Option<LeasePause>,
    state: Mutex<State<DB>>,
    /// Set when the pipeline has taken the transaction.
    has_ended: AtomicBool,
    /// Set if the handler had committed the transaction before its time limit passed.
    handler_has_committed: AtomicBool,
    /// Set while there is a `Tx`.
    is_taken: Arc<AtomicBool>,
    /// The worst error so far.
    error: SyncMutex<Option<Rollback>>,
}

/// The right of a `Tx` to use the transaction.
#[derive(Debug)]
pub(super) struct Handle(Arc<AtomicBool>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// The state of a transaction.
pub(super) enum State<DB: TransactionDatabase> {
    /// No statement was executed yet.
    Unused,
    Open(Box<OpenTransaction<DB>>),
    /// The transaction has ended, or has exceeded its time limit.
    Ended,
}

/// The end that the pipeline requests.
enum Wanted<'a> {
    /// A commit, with the completion of the record of the key.
    Commit(Option<&'a Complete>),
    Rollback,
}

/// The reason why a statement cannot be executed.
pub(super) enum LendError {
    Closed,
    Database(sqlx::Error),
}

impl<DB: TransactionDatabase> Slot<DB> {
    pub(super) fn new(work: Arc<WorkPool<DB>>, request: TransactionRequest) -> Arc<Self> {
        let options = BeginOptions {
            token: request.token,
            time_limit: work.time_limit,
            #[cfg(feature = "sqlite")]
            write_lock: work.write_lock.clone(),
            is_pgbouncer: work.is_pgbouncer,
        };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            work,
            options,
            due: request.due,
            lease: request.lease,
            state: Mutex::new(State::Unused),
            has_ended: AtomicBool::new(false),
            handler_has_committed: AtomicBool::new(false),
            is_taken: Arc::default(),
            error: SyncMutex::new(None),
        })
    }

    /// Returns the right to use the transaction; `None` if there is a `Tx` already.
    pub(super) fn take_handle(&self) -> Option<Handle> {
        let was_taken = self.is_taken.swap(true, Ordering::SeqCst);
        (!was_taken).then(|| Handle(Arc::clone(&self.is_taken)))
    }

    /// Returns `true` if prepared statements must have no name.
    pub(super) const fn is_unnamed(&self) -> bool {
        self.options.is_pgbouncer
    }

    /// Remembers the error of a statement. A transaction with an error is not committed.
    pub(super) fn remember(&self, error: &sqlx::Error) {
        if let Some(kind) = DB::classify(error) {
            self.fail(Rollback::new(kind, error.to_string()));
        }
    }

    pub(super) fn fail(&self, rollback: Rollback) {
        let mut worst = self.lock_error();
        if worst
            .as_ref()
            .is_none_or(|worst| worst.kind < rollback.kind)
        {
            *worst = Some(rollback);
        }
    }

    /// Returns the worst error so far.
    pub(super) fn error(&self) -> Option<Rollback> {
        self.lock_error().clone()
    }

    /// Replaces the errors of a savepoint that was rolled back by the error from before the
    /// savepoint. Errors that ended the whole transaction stay.
    pub(super) fn restore_error(&self, before: Option<Rollback>) {
        let mut worst = self.lock_error();
        if worst
            .as_ref()
            .is_some_and(|worst| worst.kind <= RollbackKind::Conflict)
        {
            *worst = before;
        }
    }

    /// Begins to roll back a savepoint that was dropped. `before` is the error from before the
    /// savepoint.
    pub(super) fn start_rollback(&self, before: Option<Rollback>) {
        // A `Tx` has one borrower at a time, so only the end of the transaction can have the lock.
        // It rolls back or refuses all savepoints.
        if let Ok(mut state) = self.state.try_lock()
            && let State::Open(open) = &mut *state
        {
            DB::TransactionManager::start_rollback(&mut open.connection);
            self.restore_error(before);
        }
    }

    fn lock_error(&self) -> std::sync::MutexGuard<'_, Option<Rollback>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection for one statement. The first call begins the transaction.
    pub(super) async fn lend(
        &self,
    ) -> Result<tokio::sync::MappedMutexGuard<'_, PoolConnection<DB>>, LendError> {
        let mut state = self.state.lock().await;
        if self.has_ended.load(Ordering::SeqCst) {
            return Err(LendError::Closed);
        }
        if matches!(*state, State::Unused) {
            *state = State::Open(Box::new(self.begin().await?));
        }
        let open = MutexGuard::try_map(state, |state| match state {
            State::Open(open) => Some(&mut open.connection),
            State::Unused | State::Ended => None,
        });
        open.map_err(|_| LendError::Closed)
    }

    /// Returns the longest wait for a connection. The client must get its 503 before the response
    /// deadline.
    fn acquire_timeout(&self) -> Duration {
        let left = self.due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The run continues without its client.
            return MAX_ACQUIRE_TIMEOUT;
        }
        (left / 2).clamp(MIN_ACQUIRE_TIMEOUT, MAX_ACQUIRE_TIMEOUT)
    }

    async fn begin(&self) -> Result<OpenTransaction<DB>, LendError> {
        let begun = self.work.begin(&self.options, self.acquire_timeout()).await;
        let begun = begun.map_err(|error| LendError::Database(self.begin_failed(error)));
        let (connection, guard) = begun?;
        // The lease is not renewed while the transaction is open: in a transaction with a snapshot,
        // a renewal after the snapshot would make the completion of the record fail. The first
        // statement takes the snapshot, and not BEGIN.
        let pause = self.lease.as_ref().map(LeasePause::begin);
        Ok(OpenTransaction {
            connection,
            guard,
            begun_at: Instant::now(),
            watchdog: tokio::spawn(watch(Weak::clone(&self.this), self.work.time_limit))
                .abort_handle(),
            _pause: pause,
            has_ended: false,
        })
    }

    fn begin_failed(&self, error: BeginError) -> sqlx::Error {
        match error {
            BeginError::Exhausted(waited) => {
                let cause = format!("no connection was free within {waited:?}");
                self.fail(Rollback::new(RollbackKind::PoolExhausted, cause));
                sqlx::Error::PoolTimedOut
            }
            BeginError::TimedOut => {
                // Another process writes to the file, or the server does not respond.
                let kind = match DB::DATABASE {
                    Database::Sqlite => RollbackKind::Conflict,
                    Database::Postgres => RollbackKind::Unavailable,
                };
                self.fail(Rollback::new(kind, "the transaction did not begin in time"));
                std::io::Error::from(std::io::ErrorKind::TimedOut).into()
            }
            BeginError::Database(error) => {
                let kind = match DB::classify(&error) {
                    Some(RollbackKind::Conflict) => RollbackKind::Conflict,
                    _ => RollbackKind::Unavailable,
                };
                self.fail(Rollback::new(kind, error.to_string()));
                error
            }
        }
    }

    /// Takes the transaction from the handler, and ends it.
    async fn end(&self, wanted: Wanted<'_>) -> TransactionEnd {
        self.has_ended.store(true, Ordering::SeqCst);
        let time_limit = self.work.time_limit;
        if self.is_taken.load(Ordering::SeqCst) {
            let cause = "the `Tx` outlives its handler, for example in a spawned task";
            self.fail(Rollback::new(RollbackKind::Misuse, cause));
        }
        // A `Tx` that outlives its handler can be executing a statement.
        let Ok(mut state) = timeout(time_limit, self.state.lock()).await else {
            let cause = "the `Tx` outlives its handler, and executes a statement";
            return TransactionEnd::Failed(Rollback::new(RollbackKind::Misuse, cause));
        };
        let open = match mem::replace(&mut *state, State::Ended) {
            State::Open(open) => open,
            State::Ended if self.handler_has_committed.load(Ordering::SeqCst) => {
                return TransactionEnd::CommittedByHandler;
            }
            State::Unused | State::Ended => {
                return self
                    .error()
                    .map_or(TransactionEnd::Unused, TransactionEnd::Failed);
            }
        };
        drop(state);
        match (self.error(), wanted) {
            (Some(error), Wanted::Rollback) if error.kind == RollbackKind::Statement => {
                // The handler has turned the error of the statement into its response.
                open.end_without_commit(time_limit).await
            }
            (Some(error), _) => open.fail(error, time_limit).await,
            (None, Wanted::Rollback) => open.end_without_commit(time_limit).await,
            (None, Wanted::Commit(complete)) => open.commit(complete, &self.work).await,
        }
    }

    /// Rolls the transaction back, because its time limit has passed.
    async fn expire(&self) {
        let mut state = self.state.lock().await;
        if let State::Open(open) = mem::replace(&mut *state, State::Ended) {
            let time_limit = self.work.time_limit;
            self.fail(exceeded(time_limit));
            let end = open.fail(exceeded(time_limit), time_limit).await;
            let handler_has_committed = end == TransactionEnd::CommittedByHandler;
            self.handler_has_committed
                .store(handler_has_committed, Ordering::SeqCst);
        }
    }
}

/// Rolls a transaction back when its time limit has passed.
async fn watch<DB: TransactionDatabase>(slot: Weak<Slot<DB>>, time_limit: Duration) {
    sleep(time_limit).await;
    if let Some(slot) = slot.upgrade() {
        slot.expire().await;
    }
}

impl<DB: TransactionDatabase> TransactionSlot for Slot<DB> {
    fn insert_into(self: Arc<Self>, extensions: &mut Extensions) {
        extensions.insert(self);
    }

    fn commit<'a>(&'a self, complete: Option<&'a Complete>) -> BoxFuture<'a, TransactionEnd> {
        Box::pin(self.end(Wanted::Commit(complete)))
    }

    fn roll_back(&self) -> BoxFuture<'_, TransactionEnd> {
        Box::pin(self.end(Wanted::Rollback))
    }
}

impl<DB: TransactionDatabase> fmt::Debug for Slot<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("database", &DB::DATABASE)
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}
