//! The connections for the transactions of handlers.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::pools::PoolSource;

#[cfg(feature = "sqlite")]
use crate::clock::Clock;

/// A database in which handlers can have transactions, because it has the idempotency records.
#[derive(Debug, Clone)]
pub(crate) enum WorkDatabase {
    #[cfg(feature = "sqlite")]
    Sqlite {
        pool: sqlx::SqlitePool,
        write_lock: Arc<super::sqlite::WriteLock>,
        clock: Arc<dyn Clock>,
    },
    #[cfg(feature = "postgres")]
    Postgres {
        pool: sqlx::PgPool,
        /// Set if the connections go through a PgBouncer that pools transactions.
        is_pgbouncer: bool,
        /// The connections of the store itself.
        control: Arc<dyn PoolSource>,
    },
}
