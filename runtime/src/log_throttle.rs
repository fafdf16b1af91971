//! Lines of the log that many requests would write, told now and then.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Counts what happened, for a log that is told of the first at once and then of how many more there
/// were, at most once in a while.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    pause: Duration,
    count: Mutex<Count>,
}

/// How many the log has not been told of, and when it was told last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    untold: u64,
    told: Option<Timestamp>,
}

impl LogThrottle {
    /// Nothing yet, and at most one line in `pause`.
    pub(crate) const fn new(pause: Duration) -> Self {
        Self {
            pause,
            count: Mutex::new(Count {
                untold: 0,
                told: None,
            }),
        }
    }

    /// One more: how many the log is told of now, if it is.
    pub(crate) fn add(&self, now: Timestamp) -> Option<u64> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, told) = count.one_more(now, self.pause);
        *count = next;
        told
    }
}

impl Count {
    fn one_more(self, now: Timestamp, pause: Duration) -> (Self, Option<u64>) {
        let untold = self.untold + 1;
        if self.told.is_some_and(|told| now.since(told) < pause) {
            return (Self { untold, ..self }, None);
        }
        (
            Self {
                untold: 0,
                told: Some(now),
            },
            Some(untold),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b17_the_log_is_told_at_once_and_then_once_a_second_how_many() {
        let (tally, start) = (
            LogThrottle::new(Duration::from_secs(1)),
            Timestamp::from_micros(1_700_000_000_000_000),
        );
        let mut told = Vec::new();
        for milliseconds in [0, 1, 999, 1000, 1500, 1999, 5000] {
            let events = tally.add(start.after(Duration::from_millis(milliseconds)));
            told.extend(events.map(|events| (milliseconds, events)));
        }
        assert_eq!(told, [(0, 1), (1000, 3), (5000, 3)]);
    }
}
