//! For tests: a clock that is moved by hand, stores that fail on demand, and the suites that every
//! store must pass.
//!
//! It is compiled with the feature `testing`, which belongs into the dev-dependencies:
//!
//! ```toml
//! [dependencies]
//! aplomb = "0.1"
//!
//! [dev-dependencies]
//! aplomb = { version = "0.1", features = ["testing"] }
//! ```
//!
//! A backend of your own proves itself with two lines; every rule becomes a test of its own:
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
//! What no single rule shows, it proves by [following the model](model::follows_the_model): many
//! clients on few keys, and whatever can happen to them.
//!
//! With the feature `redis` there are also `RedisServer`, a Redis server of the test's own that can be
//! paused, killed and started again, `RedisSentinels` and `RedisCluster`, whose primaries can fail and
//! whose slots can move, and `Proxy`, a connection to it that delays, loses and breaks.

pub mod admission;
mod clock;
mod faults;
pub mod idempotency;
pub mod limits;
mod log;
pub mod model;
#[cfg(feature = "redis")]
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod reference;
mod server;

use core::time::Duration;

use futures_util::future::{BoxFuture, ready};

pub use clock::TestClock;
pub use faults::{Fault, FaultyLimits, FaultyRecords, Operation};
pub use log::{LogLine, TestLog};
#[cfg(feature = "redis")]
pub use proxy::Proxy;
#[cfg(feature = "redis")]
pub use redis::{Migration, RedisCluster, RedisSentinels, RedisServer, Reply};
pub use reference::ReferenceBucket;
pub use server::TestServer;

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
