//! The argument with which a handler uses its transaction.

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::error::Error;
use std::io;
use std::sync::Arc;

use async_stream::try_stream;
use axum::extract::FromRequestParts;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::request::Parts;
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::{Either, Execute, Executor, Pool, SqlStr};
use tokio::sync::MappedMutexGuard;
use tokio::time::Instant;

use super::database::TransactionDatabase;
use super::savepoint::Savepoint;
use super::slot::{Handle, LendError, Slot};
use super::source::TransactionRequest;
use super::work_pool::WorkPool;
use crate::policies::idempotency::Token;
use crate::problem::Problem;

/// The database transaction of a handler.
///
/// Pass `&mut tx` to the queries of sqlx. The transaction begins with the first statement, and the
/// pipeline ends it after the handler: it commits after a 2xx or 3xx, and rolls back otherwise. The
/// page of the [module](crate::transaction) describes this in detail.
///
/// The transaction runs in the database that stores the API's idempotency records. An API whose
/// store is in another database does not start. An endpoint takes at most one `Tx`.
///
/// ```
/// use aplomb::Result;
/// use aplomb::prelude::*;
/// use sqlx::Sqlite;
///
/// /// Counts a visit.
/// #[endpoint(put = "/visits", public)]
/// async fn count_visit(mut tx: Tx<Sqlite>) -> Result<NoContent> {
///     sqlx::query("UPDATE visits SET count = count + 1")
///         .execute(&mut tx)
///         .await?;
///     Ok(NoContent)
/// }
/// ```
pub struct Tx<DB> {
    /// An `Arc<Slot<DB>>`. The type has no bound on `DB`, because rustc would report a wrong
    /// database at each use of the type.
    slot: Arc<dyn Any + Send + Sync>,
    _handle: Handle,
    database: PhantomData<fn() -> DB>,
}

/// The error of a statement on a [`Tx`] whose transaction has ended.
///
/// A query returns it inside of a `sqlx::Error::Io`. It occurs in a task that has outlived the
/// handler, and after the time limit of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxClosed;

/// The connection of a transaction, as [`Tx::connection`] returns it.
pub struct TxConnection<'a, DB: TransactionDatabase>(MappedMutexGuard<'a, PoolConnection<DB>>);

impl<DB: TransactionDatabase> Tx<DB> {
    /// Takes the transaction of a slot; `None` if there is a `Tx` already.
    fn take(slot: Arc<Slot<DB>>) -> Option<Self> {
        Some(Self {
            _handle: slot.take_handle()?,
            slot,
            database: PhantomData,
        })
    }

    pub(super) fn slot(&self) -> &Slot<DB> {
        self.slot
            .downcast_ref()
            .expect("`take` has stored a slot of this database")
    }

    /// Creates a transaction for a unit test that calls a handler. It is rolled back when the value
    /// is dropped. Call it inside of a tokio runtime.
    ///
    /// ```
    /// use aplomb::transaction::Tx;
    /// use sqlx::{Sqlite, SqlitePool};
    ///
    /// async fn insert(tx: &mut Tx<Sqlite>) -> sqlx::Result<u64> {
    ///     let done = sqlx::query("INSERT INTO item VALUES (1)").execute(tx).await?;
    ///     Ok(done.rows_affected())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> sqlx::Result<()> {
    /// let pool = SqlitePool::connect("sqlite::memory:").await?;
    /// sqlx::raw_sql("CREATE TABLE item (id INTEGER)").execute(&pool).await?;
    /// let mut tx = Tx::for_test(&pool);
    /// assert_eq!(insert(&mut tx).await?, 1);
    /// drop(tx);
    /// let count: i64 = sqlx::query_scalar("SELECT count(*) FROM item").fetch_one(&pool).await?;
    /// assert_eq!(count, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_test(pool: &Pool<DB>) -> Self {
        /// A test that is stopped in a debugger must not lose its transaction.
        const TIME_LIMIT: Duration = Duration::from_hours(1);
        let mut work = WorkPool::new(pool.clone());
        work.time_limit = TIME_LIMIT;
        let request = TransactionRequest {
            token: Token::random(),
            lease: None,
            due: Instant::now() + TIME_LIMIT,
        };
        Self::take(Slot::new(Arc::new(work), request)).expect("a new slot is free")
    }

    /// Returns the connection, for functions that take a `&mut PgConnection` or a
    /// `&mut SqliteConnection`. The first call begins the transaction.
    ///
    /// The errors of statements on the connection are not noticed by the pipeline, except on
    /// PostgreSQL, where a transaction with a failed statement can never be committed. If a handler on SQLite
    /// ignores the error, its other statements are committed.
    ///
    /// Behind a PgBouncer that pools transactions, queries on the connection need
    /// `.persistent(false)`.
    ///
    /// # Errors
    ///
    /// Fails if the transaction cannot begin, or has ended.
    pub async fn connection(&mut self) -> Result<TxConnection<'_, DB>, sqlx::Error> {
        let connection = self.slot().lend().await?;
        Ok(TxConnection(connection))
    }

    /// Begins a savepoint. Statements that may fail are executed on the savepoint, which can be
    /// rolled back without the rest of the transaction.
    ///
    /// # Errors
    ///
    /// Fails if the transaction cannot begin, or has ended, or if the statement fails.
    pub async fn begin_savepoint(&mut self) -> Result<Savepoint<'_, DB>, sqlx::Error> {
        Savepoint::begin(self.slot()).await
    }
}

impl<DB> fmt::Debug for Tx<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

impl<DB: TransactionDatabase, S: Send + Sync> FromRequestParts<S> for Tx<DB> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let slot = parts.extensions.get::<Arc<Slot<DB>>>().ok_or_else(|| {
            Problem::internal(
                "`Tx` must be an argument of a function with #[endpoint(…)], as it is: not inside of \
                 another extractor",
            )
        })?;
        Self::take(Arc::clone(slot)).ok_or_else(|| {
            Problem::internal("the request has two `Tx`: take one, and pass `&mut tx` to functions")
        })
    }
}

/// A query whose prepared statement may have no name. Behind a PgBouncer that pools transactions, a
/// name would belong to a connection of the server that other clients use as well.
struct Query<E> {
    query: E,
    is_named: bool,
}

impl<'q, DB: sqlx::Database, E: Execute<'q, DB>> Execute<'q, DB> for Query<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.is_named && self.query.persistent()
    }
}

/// The rows and the results of a query.
pub(super) type RowStream<'e, DB> = BoxStream<
    'e,
    Result<Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>, sqlx::Error>,
>;

/// Executes a query on the connection of the slot, and remembers its error.
pub(crate) fn fetch_many<'e, 'q: 'e, DB, E>(slot: &'e Slot<DB>, query: E) -> RowStream<'e, DB>
where
    DB: TransactionDatabase,
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
    E: 'q + Execute<'q, DB>,
{
    try_stream! {
        let mut connection = slot.lend().await?;
        let query = Query { query, is_named: !slot.is_unnamed() };
        let mut rows = (&mut **connection).fetch_many(query);
        while let Some(row) = rows.next().await {
            yield row.inspect_err(|error| slot.remember(error))?;
        }
    }
    .boxed()
}

pub(super) fn fetch_optional<'e, 'q: 'e, DB, E>(
    slot: &'e Slot<DB>,
    query: E,
) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
where
    DB: TransactionDatabase,
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
    E: 'q + Execute<'q, DB>,
{
    Box::pin(async move {
        let mut connection = slot.lend().await?;
        let query = Query {
            query,
            is_named: !slot.is_unnamed(),
        };
        let row = (&mut **connection).fetch_optional(query).await;
        row.inspect_err(|error| slot.remember(error))
    })
}

pub(super) fn prepare_with<'e, DB>(
    slot: &'e Slot<DB>,
    sql: SqlStr,
    parameters: &'e [DB::TypeInfo],
) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
where
    DB: TransactionDatabase,
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    Box::pin(async move {
        let mut connection = slot.lend().await?;
        let statement = (&mut **connection).prepare_with(sql, parameters).await;
        statement.inspect_err(|error| slot.remember(error))
    })
}

pub(super) fn describe<DB>(
    slot: &Slot<DB>,
    sql: SqlStr,
) -> BoxFuture<'_, Result<sqlx::Describe<DB>, sqlx::Error>>
where
    DB: TransactionDatabase,
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    Box::pin(async move {
        let mut connection = slot.lend().await?;
        let description = (&mut **connection).describe(sql).await;
        description.inspect_err(|error| slot.remember(error))
    })
}

impl<DB: TransactionDatabase> Deref for TxConnection<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: TransactionDatabase> DerefMut for TxConnection<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.0
    }
}

impl<DB: TransactionDatabase> fmt::Debug for TxConnection<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TxConnection").field(&DB::DATABASE).finish()
    }
}

impl From<LendError> for sqlx::Error {
    fn from(error: LendError) -> Self {
        match error {
            LendError::Closed => io::Error::other(TxClosed).into(),
            LendError::Database(error) => error,
        }
    }
}

impl fmt::Display for TxClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transaction of the request has ended")
    }
}

impl Error for TxClosed {}
