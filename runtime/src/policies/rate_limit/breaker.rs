//! The circuit breaker of the rate limit store, as pure functions.

use core::time::Duration;

use crate::clock::Timestamp;

/// The state of the breaker after the last replies of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Every request calls the store.
    Closed {
        /// The number of failures in a row.
        failures: u32,
    },
    /// No request calls the store before `until`. The first request after `until` is the probe. The
    /// probe sets a later `until`, so that the breaker stays open for the other requests
    /// (half-open).
    Open {
        /// The time of the next probe.
        until: Timestamp,
    },
}

/// The permission to call the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// A call through a closed breaker. Many such calls can run at the same time.
    Normal,
    /// The only call through an open breaker. Its outcome closes the breaker or keeps it open.
    Probe,
}

/// The number of failures in a row that open the breaker. One or two slow replies are common in
/// normal operation, and each of them delays its request by 250 ms.
const FAILURE_THRESHOLD: u32 = 3;

/// The time between two probes. It is longer than the store timeout of 250 ms, so a probe has ended
/// before the next one starts. A probe whose client disconnects reports no outcome; the next probe
/// then follows after this time.
pub(crate) const OPEN_DURATION: Duration = Duration::from_secs(1);

impl Breaker {
    /// The state after a success.
    pub(crate) const CLOSED: Self = Self::Closed { failures: 0 };

    pub(crate) const fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Returns the next state, and the permit if the request may call the store.
    pub(crate) fn acquire_permit(self, now: Timestamp) -> (Self, Option<Permit>) {
        match self {
            Self::Closed { .. } => (self, Some(Permit::Normal)),
            Self::Open { until } if until <= now => (Self::open_from(now), Some(Permit::Probe)),
            Self::Open { .. } => (self, None),
        }
    }

    /// Returns the state after the store has replied. A call that started before the breaker opened
    /// does not close it, because the call does not show that the store works again.
    pub(crate) fn on_success(self, permit: Permit) -> Self {
        match (self, permit) {
            (Self::Open { .. }, Permit::Normal) => self,
            _ => Self::CLOSED,
        }
    }

    /// Returns the state after the store has failed or has not replied in time.
    pub(crate) fn on_failure(self, permit: Permit, now: Timestamp) -> Self {
        match (self, permit) {
            (Self::Closed { failures }, _) if failures + 1 < FAILURE_THRESHOLD => Self::Closed {
                failures: failures + 1,
            },
            (Self::Open { .. }, Permit::Normal) => self,
            _ => Self::open_from(now),
        }
    }

    fn open_from(now: Timestamp) -> Self {
        Self::Open {
            until: now.after(OPEN_DURATION),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn opened() -> Breaker {
        let fail = |breaker: Breaker, _| breaker.on_failure(Permit::Normal, START);
        (0..FAILURE_THRESHOLD).fold(Breaker::CLOSED, fail)
    }

    #[test]
    fn b15_three_failures_in_a_row_open_the_breaker() {
        let failed_twice = Breaker::CLOSED
            .on_failure(Permit::Normal, START)
            .on_failure(Permit::Normal, START);
        assert_eq!(failed_twice.acquire_permit(START).1, Some(Permit::Normal));
        assert_eq!(
            failed_twice.on_success(Permit::Normal),
            Breaker::CLOSED,
            "a success resets the count"
        );
        let opened = failed_twice.on_failure(Permit::Normal, START);
        assert_eq!(opened.acquire_permit(START), (opened, None));
    }

    #[test]
    fn b15_one_second_after_opening_a_single_request_probes() {
        let now = START.after(OPEN_DURATION);
        assert_eq!(opened().acquire_permit(now).1, Some(Permit::Probe));
        let (probed, _) = opened().acquire_permit(now);
        assert_eq!(
            probed.acquire_permit(now).1,
            None,
            "only one request probes"
        );
        assert_eq!(probed.on_success(Permit::Probe), Breaker::CLOSED);
    }

    #[test]
    fn b15_a_failed_probe_keeps_the_breaker_open_for_another_second() {
        let now = START.after(OPEN_DURATION);
        let (probed, _) = opened().acquire_permit(now);
        let answered = now.after(Duration::from_millis(250));
        let failed = probed.on_failure(Permit::Probe, answered);
        assert_eq!(
            failed
                .acquire_permit(answered.after(Duration::from_millis(999)))
                .1,
            None
        );
        assert_eq!(
            failed.acquire_permit(answered.after(OPEN_DURATION)).1,
            Some(Permit::Probe)
        );
    }

    #[test]
    fn b15_a_probe_without_an_outcome_is_followed_by_another_after_a_second() {
        let (probed, _) = opened().acquire_permit(START.after(OPEN_DURATION));
        assert_eq!(
            probed.acquire_permit(START.after(OPEN_DURATION * 2)).1,
            Some(Permit::Probe)
        );
    }

    #[test]
    fn b15_outcomes_of_calls_from_before_the_breaker_opened_are_ignored() {
        assert_eq!(opened().on_success(Permit::Normal), opened());
        assert_eq!(
            opened().on_failure(Permit::Normal, START.after(OPEN_DURATION)),
            opened()
        );
    }

    proptest! {
        /// For any arrival times, two requests never probe a failing store within one second.
        #[test]
        fn b15_no_two_probes_start_within_a_second(
            steps in prop::collection::vec((0_u64..400_000, any::<bool>()), 1..200),
        ) {
            let (mut breaker, mut now, mut last) = (opened(), START, None);
            for (wait, fails_at_once) in steps {
                now = now.after(Duration::from_micros(wait));
                let (next, permit) = breaker.acquire_permit(now);
                breaker = next;
                if permit.is_some() {
                    prop_assert!(last.is_none_or(|last| now.since(last) >= OPEN_DURATION));
                    last = Some(now);
                    breaker = if fails_at_once { breaker.on_failure(Permit::Probe, now) } else { breaker };
                }
            }
        }
    }
}
