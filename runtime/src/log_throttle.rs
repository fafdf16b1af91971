//! A throttle for log lines that many requests would write.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Counts events and limits the log lines about them.
///
/// The first event is logged immediately. Later events are counted, and one line per interval
/// reports their number.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    interval: Duration,
    count: Mutex<Count>,
}

/// The number of events since the last log line, and the time of that line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    unlogged: u64,
    logged_at: Option<Timestamp>,
}

impl LogThrottle {
    /// Creates a throttle that allows one log line per `interval`.
    pub(crate) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            count: Mutex::new(Count {
                unlogged: 0,
                logged_at: None,
            }),
        }
    }

    /// Counts one event. Returns the number of events to log now, or `None` if a line was logged
    /// less than an interval ago.
    pub(crate) fn add(&self, now: Timestamp) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, to_log) = count.add(now, self.interval);
        *count = next;
        to_log
    }
}

impl Count {
    fn add(self, now: Timestamp, interval: Duration) -> (Self, Option<u64>) {
        let unlogged = self.unlogged + 1;
        if self
            .logged_at
            .is_some_and(|logged_at| now.since(logged_at) < interval)
        {
            return (Self { unlogged, ..self }, None);
        }
        (
            Self {
                unlogged: 0,
                logged_at: Some(now),
            },
            Some(unlogged),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b17_the_first_event_is_logged_immediately_and_later_ones_once_a_second() {
        let (throttle, start) = (
            LogThrottle::new(Duration::from_secs(1)),
            Timestamp::from_micros(1_700_000_000_000_000),
        );
        let mut logged = Vec::new();
        for milliseconds in [0, 1, 999, 1000, 1500, 1999, 5000] {
            let events = throttle.add(start.after(Duration::from_millis(milliseconds)));
            logged.extend(events.map(|events| (milliseconds, events)));
        }
        assert_eq!(logged, [(0, 1), (1000, 3), (5000, 3)]);
    }
}
