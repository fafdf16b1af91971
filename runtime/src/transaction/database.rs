//! The databases in which transactions run.

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;

use super::source::RollbackKind;
use super::work_pool::BeginOptions;
use crate::clock::Timestamp;
use crate::policies::idempotency::Complete;
use crate::spec::Database;

/// A database in which a handler can take a [`Tx`](super::Tx): `sqlx::Sqlite` or `sqlx::Postgres`.
///
/// The trait is sealed.
pub trait TransactionDatabase: Operations {}

impl<DB: Operations> TransactionDatabase for DB {}

/// Returns the kind of a database.
pub(crate) const fn database_of<DB: TransactionDatabase>() -> Database {
    DB::DATABASE
}

/// The operations of a database, which only the pipeline calls.
#[expect(unnameable_types, reason = "the trait is sealed")]
pub trait Operations: sqlx::Database {
    /// The kind of the database.
    const DATABASE: Database;

    /// The state of a transaction besides its connection.
    type Guard: Send + Sync + 'static;

    /// Returns the guard of a transaction after every other transaction of this process that
    /// excludes it has ended. The transaction has not begun yet.
    fn guard(options: &BeginOptions) -> BoxFuture<'_, Self::Guard>;

    /// Begins a transaction on a connection.
    fn begin<'a>(
        connection: &'a mut PoolConnection<Self>,
        guard: &'a Self::Guard,
        options: &'a BeginOptions,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Completes the record of the key. Returns `false` and writes nothing if no RUNNING or UNKNOWN
    /// record has the token of the run.
    fn complete<'a>(
        connection: &'a mut Self::Connection,
        guard: &'a Self::Guard,
        complete: &'a Complete,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

    /// Returns `false` if the handler has ended the transaction itself. Fails if the transaction
    /// cannot be committed.
    fn is_open<'a>(
        connection: &'a mut Self::Connection,
        guard: &'a Self::Guard,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

    /// Returns `true` if a handler that has ended the transaction itself may have committed it.
    fn can_escape() -> bool;

    /// Allows the next `COMMIT`.
    fn allow_commit(guard: &Self::Guard);

    /// Classifies the error of a statement, and of `COMMIT`. Returns `None` for an error that is
    /// not an error of the database, such as a missing row.
    fn classify(error: &sqlx::Error) -> Option<RollbackKind>;

    /// Returns `true` if a failed `COMMIT` may have committed the transaction.
    fn is_ambiguous(error: &sqlx::Error) -> bool;
}
