//! The test kit: servers, processes and clients for tests, a clock that a test advances, stores
//! that fail on demand, and a test suite for stores.
//!
//! The feature `testing` adds this module. Enable it in the dev-dependencies:
//!
//! ```toml
//! [dependencies]
//! aplomb = { path = "…/runtime" }
//!
//! [dev-dependencies]
//! aplomb = { path = "…/runtime", features = ["testing"] }
//! ```
//!
//! # Services
//!
//! [`TestServer`] serves an API on a free port of the loopback interface. [`Program`] starts a
//! program as a [`Process`], which a test can pause, terminate and kill. [`Client`] sends requests
//! to a server or process, and [`RawConnection`] sends bytes. [`eventually`] waits until a
//! condition is true.
//!
//! ```
//! use aplomb::prelude::*;
//! use aplomb::testing::TestServer;
//!
//! /// Creates a visit.
//! #[endpoint(post = "/visits", version = 1, idempotent(anonymous))]
//! async fn visit() -> Created<u64> {
//!     Created::new(1)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), aplomb::StartErrors> {
//! let server = TestServer::start(Api::new("visits", routes![visit]).without_auth(), ()).await?;
//! let client = server.client();
//! let visit = || client.post("/v1/visits").idempotency_key("8e03978e-40d5-43dd-bc93-6894a57f9324").send();
//! assert_eq!(visit().await.status, 201);
//! assert!(visit().await.replayed());
//! client.post("/v1/visits").send().await.problem(400, "IDEMPOTENCY_KEY_MISSING");
//! # Ok(())
//! # }
//! ```
//!
//! [`TestServer`] serves an [`Api`](crate::Api). If the program nests the API in a router, serve
//! that router with axum, and pass its address to [`Client::new`]:
//!
//! ```
//! use aplomb::prelude::*;
//! use aplomb::testing::Client;
//! use axum::Router;
//! use tokio::net::TcpListener;
//!
//! /// Returns the health of the service.
//! #[endpoint(get = "/health", public)]
//! async fn health() -> &'static str {
//!     "ok"
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().nest("/api", Api::new("example", routes![health]).into_router(()).await?);
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = Client::new(listener.local_addr()?);
//! tokio::spawn(async move { axum::serve(listener, app).await });
//! assert_eq!(client.get("/api/health").send().await.text(), "ok");
//! # Ok(())
//! # }
//! ```
//!
//! # Time and log lines
//!
//! [`TestClock`] only changes when a test advances it. [`TestLog`] captures log lines.
//!
//! # Stores
//!
//! [`FaultyRecords`] and [`FaultyLimits`] fail on demand.
//!
//! To test your own store, call a macro for each trait that it implements. Each macro defines one
//! test per rule:
//!
//! ```
//! use std::sync::Arc;
//! use aplomb::store::{MemoryLimits, MemoryRecords};
//! use aplomb::testing::TestClock;
//!
//! aplomb::limit_store_suite!(async {
//!     let clock = TestClock::new();
//!     (Arc::new(MemoryLimits::with_capacity(1 << 16, Arc::new(clock.clone()))), clock)
//! });
//!
//! mod records {
//! #   use super::*;
//!     aplomb::idempotency_store_suite!(async {
//!         let clock = TestClock::new();
//!         (Arc::new(MemoryRecords::with_bounds(1_000, 1 << 20, Arc::new(clock.clone()))), clock)
//!     });
//! }
//! # fn main() {}
//! ```
//!
//! `admission_store_suite!` tests a store that checks limits and creates the record in one step.
//!
//! [The model](model::follows_the_model) runs a generated script of many clients on a few keys, and
//! compares each result of the store with the rules.
//!
//! # Redis
//!
//! The feature `redis` adds:
//!
//! - `RedisServer`: a Redis server that a test can pause, kill and restart.
//! - `RedisSentinels` and `RedisCluster`: groups of servers whose primaries can fail over. A
//!   cluster can also migrate slots.
//! - `Proxy`: a TCP proxy in front of a server, which delays or loses data and closes connections.
//!
//! They need `redis-server` 7 or newer on the `PATH`.
//!
//! # PostgreSQL
//!
//! The feature `postgres` adds:
//!
//! - `PostgresServer`: a PostgreSQL server that a test can pause, kill and restart.
//! - `PostgresClock`: the clock of a store in a database, which a test advances.
//! - `PgBouncer`: a connection pooler in front of a server.
//!
//! They need PostgreSQL 14 or newer, on the `PATH` or where Debian installs it.

pub mod admission;
mod client;
mod clock;
mod directory;
mod faults;
pub mod idempotency;
pub mod limits;
mod log;
pub mod model;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod port;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod reference;
mod server;
mod wait;

use core::time::Duration;

use futures_util::future::{BoxFuture, ready};

pub use client::{Client, ClientRequest, ClientResponse, RawConnection};
pub use clock::TestClock;
pub use faults::{Fault, FaultyLimits, FaultyRecords, StoreOperation};
pub use log::{LogLine, TestLog};
#[cfg(feature = "postgres")]
pub use postgres::{PgBouncer, PostgresClock, PostgresServer};
pub use process::{Process, Program};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub use proxy::Proxy;
#[cfg(feature = "redis")]
pub use redis::{Migration, RedisCluster, RedisSentinels, RedisServer, Reply};
pub use reference::ReferenceBucket;
pub use server::TestServer;
pub use wait::eventually;

/// A way to advance the time of a store under test.
///
/// [`TestClock`] advances stores that read it, [`RealTime`] sleeps, and the Redis servers of this
/// module shorten the expiry of their data.
pub trait Elapse: Send + Sync {
    /// Lets this much time pass for the store, and then returns.
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()>;

    /// Returns whether a long time passes quickly. If it does not, the suites skip checks that need
    /// a day.
    fn is_quick(&self) -> bool {
        true
    }
}

impl Elapse for TestClock {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.advance(time);
        Box::pin(ready(()))
    }
}

/// An [`Elapse`] for stores whose clock a test cannot change: it sleeps, for up to twenty seconds
/// per case.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealTime;

impl Elapse for RealTime {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn is_quick(&self) -> bool {
        false
    }
}

/// Defines a test for each case of a suite, or one test of all cases on shared servers.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite {
    ($suite:ident, [$name:ident : $servers:expr => |$shared:ident, $label:ident| $setup:expr], $($case:ident)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let $shared = &$servers;
            $({
                let $label = stringify!($case);
                println!("case {}", $label);
                let (store, time) = $setup.await;
                $crate::testing::$suite::$case(store, time).await;
            })*
        }
    };
    ($suite:ident, [$setup:expr], $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, time) = $setup.await;
            $crate::testing::$suite::$case(store, &time).await;
        }
    )*};
}
