//! Time, as something that can be handed in.

use core::fmt;
use core::time::Duration;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// So many microseconds after 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This moment and a while; the end of time where that is too far.
    #[must_use]
    pub fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(micros(while_)))
    }

    /// How long after `earlier`; nothing if before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(u64::from(duration.subsec_micros()))
}

/// Tells the time. Decisions never look at a clock by themselves, so that tests can move it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Now. Never earlier than at the call before.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, which never steps back: the wall time of its making plus what the
/// monotonic clock has counted since.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    wall: Timestamp,
    made: Instant,
}

impl SystemClock {
    /// The clock, set by the machine's.
    pub fn new() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall: Timestamp(micros(wall)),
            made: Instant::now(),
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
        self.wall.after(self.made.elapsed())
    }
}
