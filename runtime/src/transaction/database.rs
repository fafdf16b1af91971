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
/// The trait is sealed. Only the pipeline calls its functions.
#[diagnostic::on_unimplemented(
    message = "a `Tx` cannot run in `{Self}`",
    label = "expected `sqlx::Sqlite` or `sqlx::Postgres`",
    note = "`sqlx::Sqlite` needs the feature `sqlite` of the crate `aplomb`, and `sqlx::Postgres` the feature `postgres`"
)]
pub trait TransactionDatabase: sqlx::Database + Sealed {
    /// The kind of the database.
    #[doc(hidden)]
    const DATABASE: Database;

    /// The state of a transaction besides its connection.
    #[doc(hidden)]
    type Guard: Send + Sync + 'static;

    /// Returns the guard of a transaction after every other transaction of this process that
    /// excludes it has ended. The transaction has not begun yet.
    #[doc(hidden)]
    fn guard(options: &BeginOptions) -> BoxFuture<'_, Self::Guard>;

    /// Begins a transaction on a connection.
    #[doc(hidden)]
    fn begin<'a>(
        connection: &'a mut PoolConnection<Self>,
        guard: &'a Self::Guard,
        options: &'a BeginOptions,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Completes the record of the key. Returns `false` and writes nothing if no RUNNING or UNKNOWN
    /// record has the token of the run.
    #[doc(hidden)]
    fn complete<'a>(
        connection: &'a mut Self::Connection,
        guard: &'a Self::Guard,
        complete: &'a Complete,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

    /// Returns `false` if the handler has ended the transaction itself. Fails if the transaction
    /// cannot be committed.
    #[doc(hidden)]
    fn is_open<'a>(
        connection: &'a mut Self::Connection,
        guard: &'a Self::Guard,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>>;

    /// Returns `true` if a handler that has ended the transaction itself may have committed it.
    #[doc(hidden)]
    fn handler_can_commit() -> bool;

    /// Allows the next `COMMIT`.
    #[doc(hidden)]
    fn allow_commit(guard: &Self::Guard);

    /// Classifies the error of a statement, and of `COMMIT`. Returns `None` for an error that is
    /// not an error of the database, such as a missing row.
    #[doc(hidden)]
    fn classify(error: &sqlx::Error) -> Option<RollbackKind>;

    /// Returns `true` if a failed `COMMIT` may have committed the transaction.
    #[doc(hidden)]
    fn is_ambiguous(error: &sqlx::Error) -> bool;
}

/// Keeps other crates from implementing [`TransactionDatabase`].
#[expect(unnameable_types, reason = "the trait is sealed")]
pub trait Sealed {}

/// Returns the kind of a database.
pub(crate) const fn database_of<DB: TransactionDatabase>() -> Database {
    DB::DATABASE
}
