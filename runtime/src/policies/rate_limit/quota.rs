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
    fn nothing_is_zero_and_nothing_overflows() {
        assert_eq!(Quota::new(0, Duration::from_secs(1), 1), None);
        assert_eq!(Quota::new(1, Duration::ZERO, 1), None);
        assert_eq!(Quota::new(1, Duration::from_secs(1), 0), None);
        assert_eq!(Quota::new(1, Duration::from_hours(24), u64::MAX), None);
    }
}
