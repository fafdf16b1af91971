//! A PostgreSQL server as the database of the tests.

use aplomb::store::Store;
use aplomb::testing::PostgresServer;
use sqlx::postgres::{PgPool, PgPoolOptions};

/// The number of databases in the test of services that start at the same time. A server takes a
/// second to start.
pub(crate) const STARTS: usize = 3;

/// A database of a server that ends with the test.
pub(crate) struct TestDatabase {
    pub(crate) pool: PgPool,
    _server: PostgresServer,
}

impl TestDatabase {
    pub(crate) async fn new() -> Self {
        let server = PostgresServer::start();
        let pool = PgPoolOptions::new().connect(&server.url()).await;
        Self {
            pool: pool.expect("a server"),
            _server: server,
        }
    }

    pub(crate) fn store(&self) -> Store {
        Store::postgres(&self.pool)
    }
}
