//! A store in a PostgreSQL database, which all instances share.
//!
//! The records of idempotency keys are as durable as the application's own tables. Rate limits are
//! in tables that a crash of the server empties, so no request waits for the disk. The server must be PostgreSQL 14 or newer, and the store must
//! use its primary, not a read replica.
//!
//! # Tables
//!
//! The tables and functions are in the schema `aplomb`. They are created at the first start, so the
//! role of that start needs the privilege `CREATE` on the database. Any number of instances can
//! start at the same time. The role of a later start needs `USAGE` on the schema, and `SELECT`,
//! `INSERT`, `UPDATE` and `DELETE` on its tables, and `EXECUTE` on its functions.
//!
//! # Connections
//!
//! The store has its own connections: up to ten for requests, and one that renews leases. Handlers
//! that hold all connections of the application's pool therefore do not stop the store. An
//! operation is one statement, and fails after five seconds. If its connection breaks, it is
//! repeated once on a new connection.
//!
//! The time is the server's clock, so the clocks of the instances can differ.
//!
//! # TLS
//!
//! `sslmode` works as in libpq. TLS needs a feature of sqlx, which the application enables:
//! `sqlx = { version = "0.9", features = ["tls-rustls-ring-native-roots"] }`.
//!
//! # PgBouncer
//!
//! A PgBouncer that pools transactions must be declared, by the parameter `pgbouncer=true` of the
//! URL or by [`Store::with_pgbouncer`](crate::store::Store::with_pgbouncer). The store then uses no
//! prepared statements with names.
//!
//! ```no_run
//! use aplomb::Api;
//! use aplomb::store::Store;
//! use sqlx::PgPool;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The database has the tables of the service, and the schema of Aplomb.
//! let pool = PgPool::connect("postgres://app:secret@db.example/payments").await?;
//! let api: Api<()> = Api::new("payments", aplomb::routes![]).store(Store::postgres(&pool));
//! # let _ = api.into_router(()).await?;
//! # Ok(())
//! # }
//! ```

mod config;
mod connect;
mod limits;
mod open;
mod records;
mod removal;
mod resent;
mod row;
mod schema;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub(super) use self::config::{FORM, PostgresConfig};
use self::connect::Connections;
pub use self::limits::PostgresLimits;
pub(crate) use self::records::settle;
use self::removal::Removal;
use self::resent::ResentBegins;
#[cfg(test)]
pub(super) use self::schema::SCHEMA;
use super::WorkDatabase;
use super::pools::PoolSource;
use crate::facet::StoreFuture;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    RecordState, StoredResponse,
};

/// The number of connections that renew leases. The renewal sends one statement at a time.
const HEARTBEAT_CONNECTIONS: usize = 1;

/// The records of idempotency keys in a PostgreSQL database.
///
/// Clones share their connections.
#[derive(Clone)]
pub struct PostgresRecords {
    connections: Arc<Connections>,
    shared: Arc<Shared>,
}

/// The parts that the handle for requests and the handle for heartbeats share.
struct Shared {
    /// The URL without its password.
    url: String,
    resent: ResentBegins,
    work_pool: Option<PgPool>,
    _removal: Removal,
}

impl PostgresRecords {
    /// Returns the URL of the database, without its password.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Returns the connections for the transactions of handlers: the pool of the application, or a
    /// pool with these options.
    pub(super) fn work_database(&self, options: PgPoolOptions) -> WorkDatabase {
        let endpoint = self.connections.endpoint();
        let is_pgbouncer = endpoint.is_pgbouncer;
        let pool = self.shared.work_pool.clone();
        let pool = pool.unwrap_or_else(|| {
            // A connection that was closed by the server is noticed when a transaction begins.
            let options = options.test_before_acquire(false);
            let connect = endpoint.options.clone();
            options.connect_lazy_with(if is_pgbouncer {
                // PgBouncer accepts only few settings at the start of a connection.
                connect.extra_float_digits(None)
            } else {
                connect
            })
        });
        WorkDatabase::Postgres {
            pool,
            is_pgbouncer,
            control: Arc::clone(&self.connections) as Arc<dyn PoolSource>,
        }
    }
}

impl fmt::Debug for PostgresRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRecords")
            .field("url", &self.shared.url)
            .finish_non_exhaustive()
    }
}

impl IdempotencyStore for PostgresRecords {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(self.begin_record(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        StoreFuture::later(self.renew(leases, lease))
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        StoreFuture::later(self.complete_record(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        StoreFuture::later(self.abort_record(lease, marker))
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        StoreFuture::later(self.mark_record_unknown(lease, ttl))
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(self.find_record(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        StoreFuture::later(async move { self.resolve_record(key, response.as_ref(), ttl).await })
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        let endpoint = self.connections.endpoint().clone();
        Some(Arc::new(Self {
            connections: Arc::new(Connections::new(endpoint, HEARTBEAT_CONNECTIONS)),
            shared: Arc::clone(&self.shared),
        }))
    }
}
