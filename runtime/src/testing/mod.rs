//! The test kit: servers, processes and clients for tests, a clock that is moved by hand, stores that
//! fail on demand, and the suites that every store must pass.
//!
//! It is compiled with the feature `testing`, which belongs into the dev-dependencies:
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
//! [`TestServer`] serves an API on a free port of the loopback interface, and [`Program`] starts a program
//! as a [`Process`], which can be stopped, killed and asked to end. [`Client`] sends requests to either;
//! [`RawConnection`] sends bytes. [`eventually`] waits for what happens on its own.
//!
//! ```
//! use aplomb::prelude::*;
//! use aplomb::testing::TestServer;
//!
//! /// Counts a visit.
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
//! [`TestServer`] takes an [`Api`](crate::Api). Serve a whole router, such as one that the API is nested in,
//! with axum, and give its address to [`Client::new`]:
//!
//! ```
//! use aplomb::prelude::*;
//! use aplomb::testing::Client;
//! use axum::Router;
//! use tokio::net::TcpListener;
//!
//! /// Says that the service is there.
//! #[endpoint(get = "/health", public)]
//! async fn health() -> &'static str {
//!     "well"
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().nest("/api", Api::new("example", routes![health]).into_router(()).await?);
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = Client::new(listener.local_addr()?);
//! tokio::spawn(async move { axum::serve(listener, app).await });
//! assert_eq!(client.get("/api/health").send().await.text(), "well");
//! # Ok(())
//! # }
//! ```
//!
//! # Time and log lines
//!
//! [`TestClock`] stands still until a test moves it, and [`TestLog`] keeps log lines.
//!
//! # Stores
//!
//! [`FaultyRecords`] and [`FaultyLimits`] fail on demand. A backend of your own proves itself with two
//! lines; every rule becomes a test of its own:
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
//! A store that admits requests in one step has `admission_store_suite!`, too.
//!
//! [The model](model::follows_the_model) compares a store with what many clients on few keys may see,
//! whatever happens to them.
//!
//! # Redis
//!
//! With the feature `redis` there are also `RedisServer`, a Redis server of the test's own that can be
//! paused, killed and started again, `RedisSentinels` and `RedisCluster`, whose primaries can fail and
//! whose slots can move, and `Proxy`, a connection to it that delays, loses and breaks. They need
//! `redis-server` 7 or newer on the `PATH`.

pub mod admission;
mod client;
mod clock;
mod directory;
mod faults;
pub mod idempotency;
pub mod limits;
mod log;
pub mod model;
mod process;
#[cfg(feature = "redis")]
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
pub use process::{Process, Program};
#[cfg(feature = "redis")]
pub use proxy::Proxy;
#[cfg(feature = "redis")]
pub use redis::{Migration, RedisCluster, RedisSentinels, RedisServer, Reply};
pub use reference::ReferenceBucket;
pub use server::TestServer;
pub use wait::eventually;

/// Lets a store's time pass.
pub trait Elapse: Send + Sync {
    /// Returns when so much time has passed for the store.
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()>;

    /// Whether long times return soon, for what only shows after a day.
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

/// Time for stores whose clock nobody can move: it really passes, up to twenty seconds a case.
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

/// A test for each named case of a suite.
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
