//! Database transactions of handlers: business data and the record of the idempotency key in one
//! commit.
//!
//! A handler that takes a [`Tx`] writes its data in a transaction. The pipeline ends the
//! transaction after the handler. On an endpoint with an idempotency key, the same commit completes
//! the record of the key, so the effects happen exactly once: either the data and the record are
//! committed, or neither is.
//!
//! ```
//! use aplomb::Result;
//! use aplomb::prelude::*;
//! use serde::Deserialize;
//! use sqlx::{Sqlite, SqlitePool};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     item: String,
//! }
//!
//! /// Places an order. A retry gets the first response, also after a crash.
//! #[endpoint(post = "/orders", idempotent)]
//! async fn place_order(mut tx: Tx<Sqlite>, Json(order): Json<Order>) -> Result<Created<i64>> {
//!     let id = sqlx::query("INSERT INTO orders (item) VALUES ($1)")
//!         .bind(order.item)
//!         .execute(&mut tx)
//!         .await?
//!         .last_insert_rowid();
//!     Ok(Created::new(id))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use sqlx::sqlite::SqliteConnectOptions;
//! # let directory = tempfile::tempdir()?;
//! # let options = SqliteConnectOptions::new().filename(directory.path().join("orders.db"));
//! let pool = SqlitePool::connect_with(options.create_if_missing(true)).await?;
//! sqlx::raw_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")
//!     .execute(&pool)
//!     .await?;
//! let api = Api::new("orders", routes![place_order])
//!     .store(Store::sqlite(&pool))
//!     .auth(ApiKeys::from_env());
//! # let _: Api<()> = api;
//!
//! // A unit test calls the handler without a server. The transaction is rolled back.
//! let order = Order { item: "tea".into() };
//! let created = place_order(Tx::for_test(&pool), Json(order)).await;
//! assert!(created.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # The end of a transaction
//!
//! | response of the handler | transaction | record of the key |
//! |---|---|---|
//! | 2xx, 3xx | committed | stores the response, in the same commit |
//! | 4xx | rolled back | stores the response, in a separate commit |
//! | 5xx, panic | rolled back | removed: a retry runs the handler again |
//! | error without effects, 408, 425, 429 | rolled back | removed |
//! | none, because the process died | rolled back by the database | a retry after the lease runs the handler again |
//!
//! With `on_crash = unknown`, a run that ends without a stored response becomes UNKNOWN instead.
//! Declare it for a handler that also acts in other systems, and does so without
//! [`StepKeys`](crate::policies::idempotency::StepKeys).
//!
//! Without an idempotency key, the transaction ends by the same rules. A client that disconnects
//! then cancels the handler, and the transaction is rolled back.
//!
//! # Errors of the database
//!
//! After these errors the transaction is rolled back, and the response replaces the response of the
//! handler:
//!
//! | error | response |
//! |---|---|
//! | deadlock, serialization failure, lock time-out, busy database | 503 `TRANSACTION_CONFLICT` |
//! | the transaction exceeded its [time limit](crate::Api::transaction_timeout) | 503 `TRANSACTION_CONFLICT` |
//! | the connection was closed, or another run has taken the record of the key | 503 `TRANSACTION_CONFLICT` |
//! | every connection of the pool is in use | 503 `POOL_EXHAUSTED` |
//! | the database is unreachable, or its disk is full | 503 `STORE_UNAVAILABLE` |
//! | the result of `COMMIT` is lost | 503 `SERVICE_UNAVAILABLE`; a retry with the key gets the stored response, or runs the handler again |
//!
//! # Surprises
//!
//! - The transaction begins with the first statement. A handler that executes no statement has no
//!   transaction.
//! - After a failed statement, the transaction is not committed, although the handler ignores the
//!   error: a 2xx becomes a 500. Execute a statement that may fail inside of a [savepoint](Tx::begin_savepoint).
//! - If a `Tx` outlives its handler, for example in a spawned task, the transaction is not committed
//!   either. Later statements fail with [`TxClosed`].
//! - The handler cannot commit. On SQLite, a `COMMIT` statement fails and rolls the transaction
//!   back. On PostgreSQL it commits, and the record of the key becomes UNKNOWN.
//! - A SQLite file has one writer at a time. All transactions of a process wait for each other, in
//!   the order of their first statements, also those that only read. Read with a pool instead.
//! - A transaction on SQLite begins with `BEGIN IMMEDIATE`, and one on PostgreSQL with the default
//!   isolation level. `SET TRANSACTION ISOLATION LEVEL` as the first statement changes the level.

#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, reason = "only a database constructs the types")
)]
mod source;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod database;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod executor;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod open;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod savepoint;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod slot;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod tx;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod work_pool;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use database::TransactionDatabase;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use database::database_of;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use savepoint::Savepoint;
pub(crate) use source::{
    TransactionEnd, TransactionRequest, TransactionSlot, TransactionSource, transactions_in,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use tx::{Tx, TxClosed, TxConnection};
