//! What a wire knows of its connection: whether there is one, since when it is silent, and when the
//! next attempt to make one is due.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::connection::ConnectionTarget;

/// What all that share a connection know.
pub(super) struct ConnectionInner {
    pub(super) origin: ConnectionTarget,
    pub(super) shown: String,
    pub(super) slot: Mutex<ConnectionState>,
    pub(super) started: Instant,
}

pub(super) enum ConnectionState {
    Up(Established),
    Connecting {
        attempt: Attempt,
        /// Why the attempt before failed.
        after: Option<Arc<str>>,
    },
    Down {
        retry_at: Instant,
        pause: Duration,
        why: Option<Arc<str>>,
    },
}

pub(super) type Attempt = Shared<BoxFuture<'static, Result<Established, Arc<str>>>>;

/// A connection in use.
#[derive(Clone)]
pub(super) struct Established {
    pub(super) connection: MultiplexedConnection,
    pub(super) made: Instant,
    /// How long the next attempt waits if this one does not hold.
    pub(super) pause: Duration,
    /// When the oldest call was sent since which no call had its answer, in microseconds of the
    /// wire; 0 if there is none.
    pub(super) waiting_since: Arc<AtomicU64>,
}

/// How long a connection may be silent.
const MAX_SILENCE: Duration = Duration::from_secs(1);
const MIN_PAUSE: Duration = Duration::from_millis(25);
const MAX_PAUSE: Duration = Duration::from_secs(1);

impl ConnectionInner {
    pub(super) fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    pub(super) fn up(&self) -> Option<Established> {
        match &*self.state() {
            ConnectionState::Up(live) => Some(live.clone()),
            ConnectionState::Connecting { .. } | ConnectionState::Down { .. } => None,
        }
    }

    /// Whether this connection is the one in use.
    pub(super) fn is_up(&self, live: &Established) -> bool {
        is_current(&self.state(), live)
    }

    pub(super) fn retry_at(&self) -> Instant {
        match &*self.state() {
            ConnectionState::Down { retry_at, .. } => *retry_at,
            ConnectionState::Up(_) | ConnectionState::Connecting { .. } => Instant::now(),
        }
    }

    pub(super) fn note_sent(&self, live: &Established) {
        // Another call may be waiting longer; then its time counts.
        let _ = live.waiting_since.compare_exchange(
            0,
            self.now(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    pub(super) fn is_silent(&self, live: &Established) -> bool {
        let since = live.waiting_since.load(Ordering::Relaxed);
        since != 0 && Duration::from_micros(self.now().saturating_sub(since)) >= MAX_SILENCE
    }

    /// Gives a connection up, unless another has taken its place.
    pub(super) fn close(&self, lost: &Established, why: &str) {
        let mut slot = self.state();
        if is_current(&slot, lost) {
            tracing::warn!(
                store = self.shown,
                why,
                "the connection to the store is lost"
            );
            let fresh = lost.made.elapsed() < MAX_PAUSE;
            let pause = if fresh { lost.pause } else { Duration::ZERO };
            *slot = down_for(pause, why);
        }
    }

    /// Notes how an attempt ended; after a failed one the next waits, ever longer.
    pub(super) fn settle(
        &self,
        connected: Result<MultiplexedConnection, String>,
        pause: Duration,
    ) -> Result<Established, Arc<str>> {
        match connected {
            Ok(connection) => {
                let live = Established {
                    connection,
                    made: Instant::now(),
                    pause,
                    waiting_since: Arc::default(),
                };
                *self.state() = ConnectionState::Up(live.clone());
                tracing::debug!(store = self.shown, "connected to the store");
                Ok(live)
            }
            Err(why) => {
                *self.state() = down_for(pause.max(MIN_PAUSE), &why);
                Err(Arc::from(why))
            }
        }
    }
}

fn is_current(slot: &ConnectionState, live: &Established) -> bool {
    matches!(slot, ConnectionState::Up(up) if Arc::ptr_eq(&up.waiting_since, &live.waiting_since))
}

/// Without a connection, and without an attempt for so long; the next pause is longer. Without a
/// pause callers wait for the attempt.
fn down_for(pause: Duration, why: &str) -> ConnectionState {
    let why = (!pause.is_zero()).then(|| Arc::from(why));
    let (retry_at, pause) = (
        Instant::now() + pause,
        (pause * 2).clamp(MIN_PAUSE, MAX_PAUSE),
    );
    ConnectionState::Down {
        retry_at,
        pause,
        why,
    }
}
