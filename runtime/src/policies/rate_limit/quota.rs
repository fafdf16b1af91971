use core::time::Duration;

use super::spec::RateLimitSpec;
use crate::clock::micros;

/// A rate and a burst in whole microseconds, valid by being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    interval: u64,
    burst: u64,
}

impl Quota {
    /// `permits` in each `period`, up to `burst` at once. The time of one token is rounded up, so
    /// that never more is admitted than declared.
    ///
    /// `None` if anything is zero, or if the time to refill the bucket does not fit.
    pub fn new(permits: u64, period: Duration, burst: u64) -> Option<Self> {
        let period = micros(period);
        if permits == 0 || period == 0 || burst == 0 {
            return None;
        }
        let interval = period.div_ceil(permits);
        let window = interval.checked_mul(burst)?;
        (window <= LONGEST).then_some(Self { interval, burst })
    }

    pub(crate) fn of(spec: &RateLimitSpec) -> Option<Self> {
        Self::new(spec.permits, spec.period, spec.burst)
            .filter(|quota| spec.cost > 0 && spec.cost <= quota.burst)
    }

    /// The share of one of `instances` that decide by themselves: so many times slower, with its part
    /// of the burst, rounded up to whole tokens and to the `cost` of a request.
    pub(crate) fn share(self, instances: u64, cost: u64) -> Self {
        let burst = self.burst.div_ceil(instances).max(cost);
        let interval = self.interval.saturating_mul(instances).min(LONGEST / burst);
        Self { interval, burst }
    }

    /// Microseconds a token.
    pub const fn interval(self) -> u64 {
        self.interval
    }

    /// The most tokens that gather.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Microseconds in which an empty bucket refills.
    pub const fn window(self) -> u64 {
        self.interval * self.burst
    }
}

/// A hundred years: leaves room for the arithmetic on moments.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b01_one_token_every_600_ms() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!((quota.interval(), quota.window()), (600_000, 60_000_000));
    }

    #[test]
    fn b03_the_time_of_a_token_is_rounded_up() {
        assert_eq!(Quota::new(7, Duration::from_secs(1), 7).expect("valid").interval(), 142_858);
    }

    #[test]
    fn b15_a_share_is_slower_and_smaller_and_still_pays_a_request() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!(quota.share(1, 1), quota);
        assert_eq!(quota.share(3, 1), Quota { interval: 1_800_000, burst: 34 });
        assert_eq!(quota.share(10_000, 1), Quota { interval: 6_000_000_000, burst: 1 });
        assert_eq!(quota.share(50, 7), Quota { interval: 30_000_000, burst: 7 });
    }

    #[test]
    fn b15_the_share_of_the_slowest_limit_still_refills() {
        let quota = Quota::new(1, Duration::from_micros(LONGEST / 2), 2).expect("valid");
        assert!(quota.share(10_000, 2).window() <= LONGEST);
    }

    #[test]
    fn nothing_is_zero_and_nothing_overflows() {
        assert_eq!(Quota::new(0, Duration::from_secs(1), 1), None);
        assert_eq!(Quota::new(1, Duration::ZERO, 1), None);
        assert_eq!(Quota::new(1, Duration::from_secs(1), 0), None);
        assert_eq!(Quota::new(1, Duration::from_hours(24), u64::MAX), None);
    }
}
