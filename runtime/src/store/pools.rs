//! The pools of connections to a database: their settings and their status.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::log_throttle::LogThrottle;

/// A wait for a connection that is longer than this is logged.
const LONG_WAIT: Duration = Duration::from_millis(100);

/// The pools of an API. Clones share the same pools.
///
/// ```
/// use aplomb::prelude::*;
///
/// let api: Api<()> = Api::new("payments", routes![]).store(Store::from_env());
/// let pools = api.pools();
/// // After the start of the service, in a task:
/// for pool in pools.status() {
///     println!("{}: {} of {} connections are in use", pool.name, pool.in_use(), pool.max);
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Pools(Arc<Mutex<Vec<Arc<dyn PoolSource>>>>);

impl Pools {
    /// Returns the status of each pool. The list is empty before the API has started, and for a
    /// store that is not in a database.
    pub fn status(&self) -> Vec<PoolStatus> {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().map(|pool| pool.status()).collect()
    }

    pub(crate) fn add(&self, pool: Arc<dyn PoolSource>) {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(pool);
    }
}

/// The status of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// The name of the pool: `work` for the transactions of handlers, and on PostgreSQL `control` for
    /// the records and the rate limits.
    pub name: &'static str,
    /// The maximum number of connections.
    pub max: u32,
    /// The number of open connections.
    pub size: u32,
    /// The number of open connections that are not in use.
    pub idle: u32,
    /// The number of requests that wait for a connection.
    pub waiting: u32,
    /// The number of connections that were taken from the pool so far.
    pub acquired: u64,
    /// The time that requests have waited for these connections.
    pub wait_time: Duration,
    /// The number of requests that got no connection in time.
    pub exhausted: u64,
}

impl PoolStatus {
    /// Returns the number of connections that are in use.
    pub const fn in_use(&self) -> u32 {
        self.size.saturating_sub(self.idle)
    }
}

/// A pool whose status can be read.
pub(crate) trait PoolSource: fmt::Debug + Send + Sync {
    /// Returns the status of the pool.
    fn status(&self) -> PoolStatus;
}

/// Counts the waits for the connections of a pool.
#[derive(Debug)]
pub(crate) struct PoolMonitor {
    name: &'static str,
    waiting: AtomicU32,
    acquired: AtomicU64,
    waited_micros: AtomicU64,
    exhausted: AtomicU64,
    long_waits: LogThrottle,
}

impl PoolMonitor {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            waiting: AtomicU32::new(0),
            acquired: AtomicU64::new(0),
            waited_micros: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            long_waits: LogThrottle::new(Duration::from_secs(1)),
        }
    }

    /// Begins a wait, which ends when the value is dropped.
    pub(crate) fn wait(&self) -> Wait<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Wait {
            monitor: self,
            since: Instant::now(),
            is_waiting: true,
        }
    }

    /// Counts a request that got no connection in time.
    pub(crate) fn add_exhausted(&self) {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, max: u32, size: u32, idle: u32) -> PoolStatus {
        PoolStatus {
            name: self.name,
            max,
            size,
            idle,
            waiting: self.waiting.load(Ordering::Relaxed),
            acquired: self.acquired.load(Ordering::Relaxed),
            wait_time: Duration::from_micros(self.waited_micros.load(Ordering::Relaxed)),
            exhausted: self.exhausted.load(Ordering::Relaxed),
        }
    }

    fn log(&self, waited: Duration) {
        if let Some(waits) = self.long_waits.add(SystemClock::new().now()) {
            let milliseconds = waited.as_millis();
            tracing::warn!(
                pool = self.name,
                waits,
                milliseconds,
                "requests waited for a connection to the database: enlarge the pool, or shorten the \
                 transactions"
            );
        }
    }
}

/// A wait for a connection.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    monitor: &'a PoolMonitor,
    since: Instant,
    is_waiting: bool,
}

impl Wait<'_> {
    /// Counts a connection, and ends the wait.
    pub(crate) fn end(&mut self) {
        if !self.is_waiting {
            return;
        }
        self.stop();
        let waited = self.since.elapsed();
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.monitor.acquired.fetch_add(1, Ordering::Relaxed);
        self.monitor
            .waited_micros
            .fetch_add(micros, Ordering::Relaxed);
        if waited > LONG_WAIT {
            self.monitor.log(waited);
        }
    }

    fn stop(&mut self) {
        self.is_waiting = false;
        self.monitor.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            self.stop();
        }
    }
}

#[cfg(feature = "postgres")]
pub(super) use settings::PoolSettings;

#[cfg(feature = "postgres")]
mod settings {
    use core::time::Duration;

    use sqlx::postgres::PgPoolOptions;

    use crate::settings;
    use crate::start::{StartError, StartErrors};

    /// The settings of a pool for the transactions of handlers. They apply to a store that is set
    /// by a URL. An application that makes the pool itself sets its options.
    #[derive(Debug)]
    pub(in crate::store) struct PoolSettings;

    impl PoolSettings {
        /// Reads `APLOMB_DB_POOL_MAX`, `APLOMB_DB_POOL_MIN` and `APLOMB_DB_POOL_IDLE_TIMEOUT`.
        pub(in crate::store) fn options() -> Result<PgPoolOptions, StartErrors> {
            let mut errors = StartErrors::new();
            let max = errors.collect(settings::number("APLOMB_DB_POOL_MAX", 10));
            let min = errors.collect(settings::number_from_zero("APLOMB_DB_POOL_MIN", 0));
            let idle = errors.collect(settings::duration(
                "APLOMB_DB_POOL_IDLE_TIMEOUT",
                Duration::from_mins(10),
                Duration::from_secs(1),
            ));
            if let (Some(max), Some(min)) = (max, min)
                && min > max
            {
                errors.push(StartError::new(format!(
                    "APLOMB_DB_POOL_MIN={min} is more than APLOMB_DB_POOL_MAX={max}: lower it"
                )));
            }
            let (max, min, idle) = (max.unwrap_or(1), min.unwrap_or(0), idle);
            errors.into_result()?;
            Ok(PgPoolOptions::new()
                .max_connections(max)
                .min_connections(min)
                .idle_timeout(idle))
        }
    }
}
