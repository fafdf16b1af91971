//! Timestamps and clocks. Code that needs the time takes a clock, or the time itself, as a
//! parameter.

use core::fmt;
use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A point in time, in microseconds since the Unix epoch (1970-01-01T00:00:00Z).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Creates the timestamp of this many microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the timestamp `duration` later, or the greatest timestamp on overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// Returns the time that has passed since `earlier`; zero if `earlier` is later than this
    /// timestamp.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Returns the whole microseconds of a duration, or the greatest number on overflow.
pub(crate) fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}

/// A source of the current time. Decisions take the time as a parameter, so that tests can control
/// it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time, which is never earlier than in the previous call.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine, which never steps back.
///
/// Its time is the wall-clock time at its creation plus the time that the monotonic clock has
/// counted since then. A later adjustment of the wall clock has no effect.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    created_at: Timestamp,
    created: Instant,
}

impl SystemClock {
    /// Creates a clock with the current wall-clock time.
    pub fn new() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            created_at: Timestamp(micros(wall)),
            created: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.created_at.after(self.created.elapsed())
    }
}
