use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::{Clock, Timestamp, micros};

/// A clock that only changes when a test changes it. Clones share their time.
///
/// ```
/// use core::time::Duration;
/// use aplomb::clock::Clock;
/// use aplomb::testing::TestClock;
///
/// let clock = TestClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(31));
/// assert_eq!(clock.now().since(before), Duration::from_secs(31));
/// ```
#[derive(Debug, Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// Creates a clock that shows 2026-01-01 00:00:00 UTC.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_767_225_600_000_000)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Moves the clock back, for tests of code that must work although the system clock was set
    /// back.
    pub fn step_back(&self, by: Duration) {
        self.0.fetch_sub(micros(by), Ordering::SeqCst);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
