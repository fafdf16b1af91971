//! Whether the store of limits is asked: a circuit breaker, as pure functions.

use core::time::Duration;

use crate::clock::Timestamp;

/// What the last answers say of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Every request asks.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// No request asks before this moment; then one does, and moves it on.
    Open {
        /// The moment.
        until: Timestamp,
    },
}

/// The leave to ask the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// One of many.
    Normal,
    /// The only one: its answer decides for all.
    Probe,
}

/// Failures in a row after which the store is left alone.
const FAILURE_THRESHOLD: u32 = 3;

/// How long the store is left alone. Longer than any answer is waited for, so that a probe has ended
/// when the next one goes, and one that its client gave up holds up nothing.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

impl Breaker {
    /// All is well.
    pub(crate) const CLOSED: Self = Self::Closed { failures: 0 };

    pub(crate) const fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether a request asks the store.
    pub(crate) fn admit(self, now: Timestamp) -> (Self, Option<Permit>) {
        match self {
            Self::Closed { .. } => (self, Some(Permit::Normal)),
            Self::Open { until } if until <= now => (Self::pause(now), Some(Permit::Probe)),
            Self::Open { .. } => (self, None),
        }
    }

    /// The store has answered. An answer to what was asked before it was left alone proves nothing.
    pub(crate) fn succeeded(self, pass: Permit) -> Self {
        match (self, pass) {
            (Self::Open { .. }, Permit::Normal) => self,
            _ => Self::CLOSED,
        }
    }

    /// The store has not answered, or not in time.
    pub(crate) fn failed(self, pass: Permit, now: Timestamp) -> Self {
        match (self, pass) {
            (Self::Closed { failures }, _) if failures + 1 < FAILURE_THRESHOLD => Self::Closed {
                failures: failures + 1,
            },
            (Self::Open { .. }, Permit::Normal) => self,
            _ => Self::pause(now),
        }
    }

    fn pause(now: Timestamp) -> Self {
        Self::Open {
            until: now.after(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn open() -> Breaker {
        let failed = |breaker: Breaker, _| breaker.failed(Permit::Normal, START);
        (0..FAILURE_THRESHOLD).fold(Breaker::CLOSED, failed)
    }

    #[test]
    fn b15_three_failures_in_a_row_leave_the_store_alone() {
        let twice = Breaker::CLOSED
            .failed(Permit::Normal, START)
            .failed(Permit::Normal, START);
        assert_eq!(twice.admit(START).1, Some(Permit::Normal));
        assert_eq!(
            twice.succeeded(Permit::Normal),
            Breaker::CLOSED,
            "a good answer starts the count over"
        );
        let open = twice.failed(Permit::Normal, START);
        assert_eq!(open.admit(START), (open, None));
    }

    #[test]
    fn b15_after_a_second_one_request_probes() {
        let now = START.after(PAUSE);
        assert_eq!(open().admit(now).1, Some(Permit::Probe));
        let (probed, _) = open().admit(now);
        assert_eq!(probed.admit(now).1, None, "only one");
        assert_eq!(probed.succeeded(Permit::Probe), Breaker::CLOSED);
    }

    #[test]
    fn b15_a_probe_that_fails_is_followed_by_another_pause() {
        let now = START.after(PAUSE);
        let (probed, _) = open().admit(now);
        let answered = now.after(Duration::from_millis(250));
        let failed = probed.failed(Permit::Probe, answered);
        assert_eq!(
            failed.admit(answered.after(Duration::from_millis(999))).1,
            None
        );
        assert_eq!(failed.admit(answered.after(PAUSE)).1, Some(Permit::Probe));
    }

    #[test]
    fn b15_a_probe_that_was_given_up_is_followed_by_another() {
        let (probed, _) = open().admit(START.after(PAUSE));
        assert_eq!(probed.admit(START.after(PAUSE * 2)).1, Some(Permit::Probe));
    }

    #[test]
    fn b15_what_was_asked_before_decides_nothing() {
        assert_eq!(open().succeeded(Permit::Normal), open());
        assert_eq!(open().failed(Permit::Normal, START.after(PAUSE)), open());
    }

    proptest! {
        /// Whenever requests come to a store that fails, no two of them probe within a second.
        #[test]
        fn b15_no_two_probes_go_within_a_pause(
            steps in prop::collection::vec((0_u64..400_000, any::<bool>()), 1..200),
        ) {
            let (mut breaker, mut now, mut last) = (open(), START, None);
            for (wait, fails_at_once) in steps {
                now = now.after(Duration::from_micros(wait));
                let (next, pass) = breaker.admit(now);
                breaker = next;
                if pass.is_some() {
                    prop_assert!(last.is_none_or(|last| now.since(last) >= PAUSE));
                    last = Some(now);
                    breaker = if fails_at_once { breaker.failed(Permit::Probe, now) } else { breaker };
                }
            }
        }
    }
}
