//! The service on PostgreSQL.

#[path = "api/mod.rs"]
pub mod api;
#[path = "app.rs"]
pub mod app;
#[path = "ledger/mod.rs"]
pub mod ledger;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{Pool, Transaction};

/// The database of the ledger.
pub type Db = sqlx::Postgres;

/// A row of a table.
pub(crate) type Row = PgRow;

/// The statements that create the tables of the ledger.
pub(crate) const SCHEMA: &str = include_str!("ledger/postgres.sql");

/// The clause with which a query locks its rows until the transaction ends.
pub(crate) const FOR_UPDATE: &str = "FOR UPDATE";

/// Returns a pool for the database of a URL.
pub(crate) fn pool(url: &str, options: PgPoolOptions) -> sqlx::Result<Pool<Db>> {
    /// A parameter that Aplomb adds to the parameters of sqlx.
    const PGBOUNCER: &str = "pgbouncer=true";

    let connect: PgConnectOptions = url.replace(PGBOUNCER, "").parse()?;
    let connect = if url.contains(PGBOUNCER) {
        // PgBouncer accepts only few settings at the start of a connection. It executes each
        // transaction on another connection, which does not have the prepared statements.
        connect.extra_float_digits(None).statement_cache_capacity(0)
    } else {
        connect
    };
    Ok(options.connect_lazy_with(connect))
}

/// Begins a transaction that excludes other processes that create the tables.
pub(crate) async fn begin_alone(pool: &Pool<Db>) -> sqlx::Result<Transaction<'static, Db>> {
    /// Any number that no other program uses as a lock of this database.
    const LOCK: i64 = 0x7061_796d_656e_7473;

    let mut transaction = pool.begin().await?;
    // `IF NOT EXISTS` writes a notice otherwise.
    sqlx::query("SET LOCAL client_min_messages = warning")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Returns `true` if the database cannot execute statements at the moment, for example because it
/// restarts, or because its disk is full.
pub(crate) fn is_unavailable(error: &dyn DatabaseError) -> bool {
    // Connection exceptions, insufficient resources, operator intervention, system errors
    // (https://www.postgresql.org/docs/current/errcodes-appendix.html).
    let code = error.code();
    code.is_some_and(|code| {
        ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}

#[cfg(test)]
#[path = "ledger/tests/postgres.rs"]
mod tests;
