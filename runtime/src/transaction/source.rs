//! The interface between the pipeline and the transactions of a database.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Extensions;
use tokio::time::Instant;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use super::work_pool::WorkPool;
use crate::policies::idempotency::{Complete, EncryptionKeys, LeasePause, Token};
use crate::problem::{Problem, ProblemSpec, registry};
use crate::spec::Database;
use crate::store::WorkDatabase;
use crate::store::pools::PoolSource;

/// A database in which the transactions of handlers run.
pub(crate) trait TransactionSource: fmt::Debug + Send + Sync + 'static {
    /// Returns the kind of the database.
    fn database(&self) -> Database;

    /// Returns the pool whose connections run the transactions, and the pool of the store itself.
    fn pools(self: Arc<Self>) -> Vec<Arc<dyn PoolSource>>;

    /// Creates the slot for the transaction of one request.
    fn slot(self: Arc<Self>, request: TransactionRequest) -> Arc<dyn TransactionSlot>;
}

/// Returns the transactions in a database.
///
/// A transaction lasts at most for `time_limit`. The keys encrypt the responses that are stored in
/// records.
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(
        unused_variables,
        clippy::needless_pass_by_value,
        reason = "there is no database"
    )
)]
pub(crate) fn transactions_in(
    database: WorkDatabase,
    time_limit: Duration,
    keys: Option<EncryptionKeys>,
) -> Arc<dyn TransactionSource> {
    match database {
        #[cfg(feature = "sqlite")]
        WorkDatabase::Sqlite {
            pool,
            write_lock,
            clock,
        } => {
            let mut work = WorkPool::new(pool);
            work.write_lock = Some(write_lock);
            work.clock = clock;
            Arc::new(work.with_settings(time_limit, keys))
        }
        #[cfg(feature = "postgres")]
        WorkDatabase::Postgres {
            pool,
            is_pgbouncer,
            control,
        } => {
            let mut work = WorkPool::new(pool);
            work.control = Some(control);
            work.is_pgbouncer = is_pgbouncer;
            Arc::new(work.with_settings(time_limit, keys))
        }
    }
}

/// The properties of one request that its transaction needs.
#[derive(Debug)]
pub(crate) struct TransactionRequest {
    /// The token of the run, or a random token for a request without a key.
    pub(crate) token: Token,
    /// Pauses the renewal of the run's lease while the transaction is open.
    pub(crate) lease: Option<LeasePause>,
    /// The response deadline of the request.
    pub(crate) due: Instant,
}

/// The transaction of one request. It begins when the handler executes its first statement.
pub(crate) trait TransactionSlot: fmt::Debug + Send + Sync {
    /// Inserts the slot into the extensions of the request, from which `Tx` is extracted.
    fn insert_into(self: Arc<Self>, extensions: &mut Extensions);

    /// Commits the transaction. With `complete`, the same commit completes the record of the key.
    fn commit<'a>(&'a self, complete: Option<&'a Complete>) -> BoxFuture<'a, TransactionEnd>;

    /// Rolls the transaction back.
    fn roll_back(&self) -> BoxFuture<'_, TransactionEnd>;
}

/// The end of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TransactionEnd {
    /// The handler has executed no statement.
    Unused,
    /// The transaction is committed, and the record of the key is completed.
    Committed,
    /// The transaction is rolled back, as the pipeline requested.
    RolledBack,
    /// The transaction is rolled back because of an error. The response of the handler is invalid.
    Failed(Rollback),
    /// The handler has committed the transaction itself, without the record of the key.
    CommittedByHandler,
    /// The result of `COMMIT` is lost.
    CommitUnknown(String),
}

/// The reason why a transaction was rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollback {
    pub(crate) kind: RollbackKind,
    /// The description for the log.
    pub(crate) cause: String,
}

/// The kind of an error in a transaction. A later kind outranks an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    unreachable_pub,
    unnameable_types,
    reason = "a sealed trait contains it, if there is a database"
)]
pub enum RollbackKind {
    /// A statement has failed, and the handler has ignored the error.
    Statement,
    /// A conflict with another transaction. The same request can succeed later.
    Conflict,
    /// No connection was free.
    PoolExhausted,
    /// The database is unreachable, or has no room.
    Unavailable,
    /// The connection was closed, the time limit has passed, or the record was lost.
    Ended,
    /// The handler has used the transaction in a wrong way.
    Misuse,
}

impl Rollback {
    pub(crate) fn new(kind: RollbackKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }

    /// Returns the problem that the client gets. The request had no effects in the database.
    pub(crate) fn into_problem(self) -> Problem {
        let spec: ProblemSpec = match self.kind {
            RollbackKind::Statement | RollbackKind::Misuse => registry::INTERNAL.without_effects(),
            RollbackKind::Conflict | RollbackKind::Ended => registry::TRANSACTION_CONFLICT,
            RollbackKind::PoolExhausted => registry::POOL_EXHAUSTED,
            RollbackKind::Unavailable => registry::STORE_UNAVAILABLE,
        };
        Problem::new(&spec).with_cause_text(self.cause)
    }
}
