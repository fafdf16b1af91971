//! A PostgreSQL server as the database of the cases.

use aplomb::Database;
use aplomb::prelude::*;
use aplomb::testing::PostgresServer;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

#[path = "cases/mod.rs"]
mod cases;
#[path = "postgres_faults.rs"]
mod faults;

pub(crate) type Db = sqlx::Postgres;

/// The kind of the database.
pub(crate) const DATABASE: Database = Database::Postgres;

/// The pools of the store.
pub(crate) const POOLS: &[&str] = &["work", "control"];

/// The table of records.
pub(crate) const RECORDS: &str = "aplomb.record";

/// The condition of records that are not removed.
pub(crate) const IS_RECORD: &str = "state <> 0";

/// A statement that takes much longer than the time limit of a transaction.
pub(crate) const SLOW: &str = "SELECT pg_sleep(60)";

/// A handler that sends `COMMIT` has effects.
pub(crate) const HANDLER_CAN_COMMIT: bool = true;

/// A database of a server that ends with the test.
pub(crate) struct TestDatabase {
    pub(crate) pool: PgPool,
    pub(crate) server: PostgresServer,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        Self::with_connections(5).await
    }

    /// Creates a database whose pool has this number of connections.
    pub(crate) async fn with_connections(connections: u32) -> Self {
        let server = PostgresServer::start();
        let options = server.options("postgres");
        Self::through(server, options, connections).await
    }

    /// Creates a database that the service reaches with these options.
    pub(crate) async fn through(
        server: PostgresServer,
        options: PgConnectOptions,
        connections: u32,
    ) -> Self {
        let pool = PgPoolOptions::new().max_connections(connections);
        let pool = pool.connect_with(options).await;
        Self {
            pool: pool.expect("a server"),
            server,
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::postgres(&self.pool)
    }
}

/// A token as an expression of SQL.
pub(crate) const OTHER_TOKEN: &str = "'07070707-0707-0707-0707-070707070707'";
