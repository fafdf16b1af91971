//! Transactions on PostgreSQL.
//!
//! A setting of the transaction, `aplomb.run`, marks it. The statement that completes the record
//! compares the mark, so that it is never executed after the handler has ended the transaction with
//! a statement.

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use sqlx_core::transaction::TransactionManager as _;

use super::database::{Sealed, TransactionDatabase};
use super::source::RollbackKind;
use super::work_pool::BeginOptions;
use crate::clock::Timestamp;
use crate::policies::idempotency::Complete;
use crate::spec::Database;
use crate::store::postgres;

/// The mark of a transaction.
#[derive(Debug)]
#[expect(unnameable_types, reason = "only a sealed trait contains it")]
pub struct PostgresGuard {
    mark: String,
    is_pgbouncer: bool,
}

impl Sealed for Postgres {}

impl TransactionDatabase for Postgres {
    const DATABASE: Database = Database::Postgres;

    type Guard = PostgresGuard;

    fn guard(options: &BeginOptions) -> BoxFuture<'_, PostgresGuard> {
        let guard = PostgresGuard {
            mark: format!("{:032x}", options.token.as_u128()),
            is_pgbouncer: options.is_pgbouncer,
        };
        Box::pin(core::future::ready(guard))
    }

    fn begin<'a>(
        connection: &'a mut PoolConnection<Self>,
        guard: &'a PostgresGuard,
        options: &'a BeginOptions,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let (mark, limit) = (&guard.mark, options.time_limit.as_millis());
            // One trip. The time limits end a transaction whose process is paused or cut off.
            let statement = format!(
                "BEGIN; SET LOCAL statement_timeout = {limit}; \
                 SET LOCAL idle_in_transaction_session_timeout = {limit}; \
                 SET LOCAL aplomb.run = '{mark}'"
            );
            let statement = AssertSqlSafe(statement).into_sql_str();
            <Self as sqlx::Database>::TransactionManager::begin(connection, Some(statement)).await
        })
    }

    fn complete<'a>(
        connection: &'a mut PgConnection,
        guard: &'a PostgresGuard,
        complete: &'a Complete,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        Box::pin(postgres::settle(
            connection,
            complete,
            &guard.mark,
            guard.is_pgbouncer,
        ))
    }

    fn is_open<'a>(
        connection: &'a mut PgConnection,
        guard: &'a PostgresGuard,
    ) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT current_setting('aplomb.run', true) IS NOT DISTINCT FROM $1")
                .bind(&guard.mark)
                .persistent(!guard.is_pgbouncer)
                .fetch_one(connection)
                .await
        })
    }

    fn handler_can_commit() -> bool {
        true
    }

    fn allow_commit(_: &PostgresGuard) {}

    fn classify(error: &sqlx::Error) -> Option<RollbackKind> {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                Some(match &*code {
                    // serialization_failure, deadlock_detected, lock_not_available
                    "40001" | "40P01" | "55P03" => RollbackKind::Conflict,
                    // query_canceled, by a time limit; idle_in_transaction_session_timeout,
                    // transaction_timeout
                    "57014" | "25P03" | "25P04" => RollbackKind::Ended,
                    // read_only_sql_transaction, after a failover
                    "25006" => RollbackKind::Unavailable,
                    // Operator intervention, such as a terminated session or a shutdown, and
                    // connection exceptions.
                    code if code.starts_with("57") || code.starts_with("08") => RollbackKind::Ended,
                    // Insufficient resources: disk, memory, connections.
                    code if code.starts_with("53") => RollbackKind::Unavailable,
                    _ => RollbackKind::Statement,
                })
            }
            sqlx::Error::PoolTimedOut => Some(RollbackKind::PoolExhausted),
            sqlx::Error::Tls(_) => Some(RollbackKind::Unavailable),
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Some(RollbackKind::Ended),
            _ => None,
        }
    }

    fn is_ambiguous(error: &sqlx::Error) -> bool {
        // A session that is terminated while it waits for a synchronous replica has committed.
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                code.starts_with("57") || code.starts_with("08")
            }
            _ => true,
        }
    }
}
