//! The state of a [`Connection`](super::connection::Connection): the established connection with
//! the time of its silence, or the time of the next attempt to connect.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::connection::ConnectionTarget;

/// The state that all clones of a connection share.
pub(super) struct ConnectionInner {
    pub(super) target: ConnectionTarget,
    /// The name of the server in messages.
    pub(super) display_name: String,
    pub(super) state: Mutex<ConnectionState>,
    /// The time from which `waiting_since` is counted.
    pub(super) created_at: Instant,
}

pub(super) enum ConnectionState {
    Up(Established),
    Connecting {
        attempt: Attempt,
        /// The reason why the previous attempt failed; `None` if this is the first attempt.
        last_failure: Option<Arc<str>>,
    },
    Down {
        retry_at: Instant,
        /// The pause after the next failure.
        next_pause: Duration,
        /// The error of calls until `retry_at`. With `None`, calls do not fail, but wait for the
        /// next attempt.
        reason: Option<Arc<str>>,
    },
}

/// An attempt to connect, which several callers can await.
pub(super) type Attempt = Shared<BoxFuture<'static, Result<Established, Arc<str>>>>;

/// A connection in use.
#[derive(Clone)]
pub(super) struct Established {
    pub(super) connection: MultiplexedConnection,
    pub(super) connected_at: Instant,
    /// The pause before the next attempt if this connection is lost before it is [`MAX_PAUSE`] old.
    pub(super) next_pause: Duration,
    /// The time at which the first call after the last reply was sent, in microseconds after
    /// `created_at`; 0 if no call was sent after that reply. The allocation of this value also
    /// identifies the connection.
    pub(super) waiting_since: Arc<AtomicU64>,
}

/// The maximum time without a reply while calls wait. After this time the connection is checked.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// The pause after the first failed attempt. It doubles with each failure.
const MIN_PAUSE: Duration = Duration::from_millis(25);
/// The maximum pause between attempts. It is also a minimum age: the loss of a younger connection
/// counts as a failed attempt.
const MAX_PAUSE: Duration = Duration::from_secs(1);

impl ConnectionInner {
    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the microseconds since the connection was created. The result is at least 1, because
    /// 0 means that no call waits.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.created_at.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Returns the connection in use, if there is one.
    pub(super) fn established(&self) -> Option<Established> {
        match &*self.lock() {
            ConnectionState::Up(established) => Some(established.clone()),
            ConnectionState::Connecting { .. } | ConnectionState::Down { .. } => None,
        }
    }

    /// Returns `true` if this connection is the one in use.
    pub(super) fn is_in_use(&self, established: &Established) -> bool {
        is_in_use(&self.lock(), established)
    }

    /// Returns the time of the next attempt; now if an attempt runs or the connection is up.
    pub(super) fn retry_at(&self) -> Instant {
        match &*self.lock() {
            ConnectionState::Down { retry_at, .. } => *retry_at,
            ConnectionState::Up(_) | ConnectionState::Connecting { .. } => Instant::now(),
        }
    }

    /// Records that a call was sent.
    pub(super) fn note_sent(&self, established: &Established) {
        // Only the first call sets the time. A later call must not replace it, because the first
        // call may still wait. `Relaxed` is enough, because the number guards no other memory.
        let _ = established.waiting_since.compare_exchange(
            0,
            self.now(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Returns `true` if a call has waited for [`MAX_SILENCE`] and no call has received a reply in
    /// this time.
    pub(super) fn is_silent(&self, established: &Established) -> bool {
        let since = established.waiting_since.load(Ordering::Relaxed);
        since != 0 && Duration::from_micros(self.now().saturating_sub(since)) >= MAX_SILENCE
    }

    /// Closes a lost connection, unless another one is already in use.
    pub(super) fn close(&self, lost: &Established, reason: &str) {
        let mut state = self.lock();
        // Several calls report the loss of one connection. Only the first report may change the
        // state. A later report would close the connection that has replaced the lost one.
        if is_in_use(&state, lost) {
            tracing::warn!(
                store = self.display_name,
                reason,
                "the connection to the store was lost"
            );
            // A server that accepts connections and drops them immediately must not be called in a
            // busy loop.
            let was_short = lost.connected_at.elapsed() < MAX_PAUSE;
            let pause = if was_short {
                lost.next_pause
            } else {
                Duration::ZERO
            };
            *state = down_for(pause, reason);
        }
    }

    /// Records the result of an attempt to connect. After a failure the next attempt waits. Each
    /// pause is longer than the pause before.
    pub(super) fn settle(
        &self,
        connected: Result<MultiplexedConnection, String>,
        pause: Duration,
    ) -> Result<Established, Arc<str>> {
        match connected {
            Ok(connection) => {
                let established = Established {
                    connection,
                    connected_at: Instant::now(),
                    next_pause: pause,
                    waiting_since: Arc::default(),
                };
                *self.lock() = ConnectionState::Up(established.clone());
                tracing::debug!(store = self.display_name, "connected to the store");
                Ok(established)
            }
            Err(reason) => {
                *self.lock() = down_for(pause.max(MIN_PAUSE), &reason);
                Err(Arc::from(reason))
            }
        }
    }
}

fn is_in_use(state: &ConnectionState, established: &Established) -> bool {
    matches!(
        state,
        ConnectionState::Up(up) if Arc::ptr_eq(&up.waiting_since, &established.waiting_since)
    )
}

/// Returns the state without a connection, in which the next attempt begins after `pause`. During
/// the pause, calls fail with the reason. Without a pause, calls wait for the next attempt.
fn down_for(pause: Duration, reason: &str) -> ConnectionState {
    let reason = (!pause.is_zero()).then(|| Arc::from(reason));
    let (retry_at, next_pause) = (
        Instant::now() + pause,
        (pause * 2).clamp(MIN_PAUSE, MAX_PAUSE),
    );
    ConnectionState::Down {
        retry_at,
        next_pause,
        reason,
    }
}
