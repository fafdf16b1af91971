//! The limit of connections. If few are free, idle connections are closed.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::connection_state::ConnectionState;
use crate::clock::{Clock, SystemClock};
use crate::log_throttle::LogThrottle;

/// A connection that has been idle for this time can be closed to free its permit. A new connection
/// gets this time for its first request.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// The pause between two searches for idle connections. A search takes 0.1 ms with 10,000
/// connections.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

/// The limit of connections.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    max: usize,
    free: Arc<Semaphore>,
    used: Arc<OpenConnections>,
    searched_at: Mutex<Option<Instant>>,
    warnings: LogThrottle,
    clock: SystemClock,
}

#[derive(Debug, Default)]
struct OpenConnections(Mutex<Connections>);

#[derive(Debug, Default)]
struct Connections {
    states: HashMap<u64, Arc<ConnectionState>>,
    next: u64,
}

/// The permit of one connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    pub(super) state: Arc<ConnectionState>,
    number: u64,
    used: Arc<OpenConnections>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    /// Allows at most `max` connections.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            free: Arc::new(Semaphore::new(max)),
            used: Arc::default(),
            searched_at: Mutex::new(None),
            warnings: LogThrottle::new(Duration::from_mins(1)),
            clock: SystemClock::new(),
        }
    }

    /// Waits for a permit. If few are free, closes connections that have been idle for the longest
    /// time, so that a client that opens many connections cannot keep all permits.
    pub(super) async fn take(&self) -> ConnectionPermit {
        loop {
            let free = self.free.available_permits();
            let wanted = self.max / 16 + 1;
            if free < wanted && self.may_search() {
                self.evict_idle(wanted - free);
            }
            let permit = timeout(SEARCH_INTERVAL, Arc::clone(&self.free).acquire_owned()).await;
            if let Ok(Ok(permit)) = permit {
                return self.used.add(permit);
            }
        }
    }

    /// Returns `true` at most one time per [`SEARCH_INTERVAL`].
    fn may_search(&self) -> bool {
        let mut searched_at = self
            .searched_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let may_search = searched_at.is_none_or(|at| at.elapsed() >= SEARCH_INTERVAL);
        if may_search {
            *searched_at = Some(Instant::now());
        }
        may_search
    }

    /// Takes a permit if one is free.
    pub(super) fn try_take(&self) -> Option<ConnectionPermit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.used.add(permit))
    }

    /// Closes the connections that have been idle for the longest time.
    pub(super) fn evict_idle(&self, count: usize) {
        let mut idle: Vec<_> = {
            let connections = self.used.lock();
            let open = connections.states.values();
            open.filter(|state| !state.evicted.is_cancelled())
                .filter_map(|state| Some((Reverse(state.idle_for()?), Arc::clone(state))))
                .filter(|(Reverse(idle), _)| *idle >= MIN_IDLE)
                .collect()
        };
        idle.sort_unstable_by_key(|(idle, _)| *idle);
        idle.truncate(count);
        for (_, state) in &idle {
            state.evicted.cancel();
        }
        let is_full = self.free.available_permits() == 0;
        if is_full && self.warnings.add(self.clock.now()).is_some() {
            tracing::warn!(
                max = self.max,
                "all connections are in use (APLOMB_MAX_CONNECTIONS); idle ones are closed, and \
                 new ones wait"
            );
        }
    }
}

impl OpenConnections {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> ConnectionPermit {
        let state = Arc::new(ConnectionState::new());
        let mut connections = self.lock();
        let number = connections.next;
        connections.next += 1;
        connections.states.insert(number, Arc::clone(&state));
        ConnectionPermit {
            state,
            number,
            used: Arc::clone(self),
            _permit: permit,
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.used.lock().states.remove(&self.number);
    }
}
