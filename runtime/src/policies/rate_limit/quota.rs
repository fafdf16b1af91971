use core::time::Duration;

use super::spec::{Algorithm, RateLimitSpec};
use crate::clock::micros;

/// A limit in whole microseconds, valid by being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    algorithm: Algorithm,
    /// Microseconds a token; of a window none.
    interval: u64,
    burst: u64,
    window: u64,
}

impl Quota {
    /// A token bucket: `permits` in each `period`, up to `burst` at once. The time of one token is
    /// rounded up, so that never more is admitted than declared.
    ///
    /// `None` if anything is zero, or if the time to refill the bucket does not fit.
    pub fn new(permits: u64, period: Duration, burst: u64) -> Option<Self> {
        Self::bucket(Algorithm::TokenBucket, permits, period, burst)
    }

    /// A leaky bucket: one request after another, `permits` in each `period`; up to `depth` of them are in
    /// the bucket, of which the first goes at once and the others wait their turn.
    ///
    /// `None` as of a token bucket.
    pub fn leaky_bucket(permits: u64, period: Duration, depth: u64) -> Option<Self> {
        Self::bucket(Algorithm::LeakyBucket, permits, period, depth)
    }

    /// A fixed window: `permits` in each `period`, counted from 1970.
    ///
    /// `None` if anything is zero, if there are more than one a microsecond, or if the period does not
    /// fit.
    pub fn fixed_window(permits: u64, period: Duration) -> Option<Self> {
        Self::windowed(Algorithm::FixedWindow, permits, period)
            .filter(|quota| quota.burst <= quota.window)
    }

    /// A sliding window: `permits` in any `period`, by a log of them.
    ///
    /// `None` if anything is zero, if there are more than [`MAX_LOG`](Self::MAX_LOG), or if the
    /// period does not fit.
    pub fn sliding_window(permits: u64, period: Duration) -> Option<Self> {
        let quota = Self::windowed(Algorithm::SlidingWindow, permits, period);
        quota.filter(|quota| quota.burst <= Self::MAX_LOG)
    }

    /// The most tokens that a sliding window logs.
    pub const MAX_LOG: u64 = 10_000;

    fn bucket(algorithm: Algorithm, permits: u64, period: Duration, burst: u64) -> Option<Self> {
        let period = micros(period);
        if permits == 0 || period == 0 || burst == 0 {
            return None;
        }
        let interval = period.div_ceil(permits);
        let window = interval.checked_mul(burst)?;
        (window <= LONGEST).then_some(Self {
            algorithm,
            interval,
            burst,
            window,
        })
    }

    fn windowed(algorithm: Algorithm, permits: u64, period: Duration) -> Option<Self> {
        let window = micros(period);
        let valid = permits > 0 && (1..=LONGEST).contains(&window);
        valid.then_some(Self {
            algorithm,
            interval: 0,
            burst: permits,
            window,
        })
    }

    pub(crate) fn of(spec: &RateLimitSpec) -> Option<Self> {
        let RateLimitSpec {
            permits,
            period,
            burst,
            ..
        } = *spec;
        let quota = match spec.algorithm {
            Algorithm::TokenBucket => Self::new(permits, period, burst),
            Algorithm::LeakyBucket => Self::leaky_bucket(permits, period, burst),
            Algorithm::FixedWindow => Self::fixed_window(permits, period),
            Algorithm::SlidingWindow => Self::sliding_window(permits, period),
        };
        // Two batches and a request must fit into a bucket of which tokens are taken ahead.
        let (ahead, takes_ahead) = (spec.prefetch.saturating_mul(2), spec.prefetch > 0);
        quota
            .filter(|quota| {
                spec.cost
                    .known()
                    .is_none_or(|cost| cost > 0 && cost <= quota.burst)
            })
            .filter(|_| !takes_ahead || spec.algorithm == Algorithm::TokenBucket)
            .filter(|quota| {
                !takes_ahead || ahead.saturating_add(spec.cost.known().unwrap_or(1)) <= quota.burst
            })
    }

    /// The share of one of `instances` that decide by themselves: so many times slower, with its part
    /// of the burst, rounded up to whole tokens and to the `cost` of a request.
    pub(crate) fn per_instance(self, instances: u64, cost: u64) -> Self {
        let burst = self.burst.div_ceil(instances).max(cost);
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                let interval = self.interval.saturating_mul(instances).min(LONGEST / burst);
                Self {
                    interval,
                    burst,
                    window: interval * burst,
                    ..self
                }
            }
            // What was rounded up is made good by a longer window.
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                let slower = u128::from(self.window) * u128::from(burst) * u128::from(instances);
                let window =
                    u64::try_from(slower.div_ceil(u128::from(self.burst))).unwrap_or(LONGEST);
                Self {
                    burst,
                    window: window.min(LONGEST),
                    ..self
                }
            }
        }
    }

    /// The token bucket that holds so many tokens less: those that instances have taken ahead.
    pub(crate) fn reserve(self, tokens: u64) -> Self {
        if tokens == 0 {
            return self;
        }
        let burst = self.burst.saturating_sub(tokens).max(1);
        Self {
            burst,
            window: self.interval * burst,
            ..self
        }
    }

    /// How long so many tokens take to come back.
    pub(crate) fn time_of(self, tokens: u64) -> Duration {
        Duration::from_micros(self.interval.saturating_mul(tokens))
    }

    /// How it counts.
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Microseconds a token; nothing where tokens do not come back one by one.
    pub const fn interval(self) -> u64 {
        self.interval
    }

    /// The most tokens that can be had at once.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Microseconds in which an empty bucket refills, or the length of the window.
    pub const fn window(self) -> u64 {
        self.window
    }
}

/// A hundred years: leaves room for the arithmetic on moments.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn b01_one_token_every_600_ms() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!((quota.interval(), quota.window()), (600_000, 60_000_000));
    }

    #[test]
    fn b03_the_time_of_a_token_is_rounded_up() {
        assert_eq!(
            Quota::new(7, Duration::from_secs(1), 7)
                .expect("valid")
                .interval(),
            142_858
        );
    }

    fn numbers(quota: Quota) -> (u64, u64, u64) {
        (quota.interval, quota.burst, quota.window)
    }

    #[test]
    fn b15_a_share_is_slower_and_smaller_and_still_pays_a_request() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!(quota.per_instance(1, 1), quota);
        assert_eq!(
            numbers(quota.per_instance(3, 1)),
            (1_800_000, 34, 61_200_000)
        );
        assert_eq!(
            numbers(quota.per_instance(10_000, 1)),
            (6_000_000_000, 1, 6_000_000_000)
        );
        assert_eq!(
            numbers(quota.per_instance(50, 7)),
            (30_000_000, 7, 210_000_000)
        );
    }

    #[test]
    fn b15_a_share_of_a_window_is_as_slow_as_it_is_rounded_up() {
        for quota in [
            Quota::fixed_window(100, MINUTE),
            Quota::sliding_window(100, MINUTE),
        ] {
            let quota = quota.expect("valid");
            assert_eq!(quota.per_instance(1, 1), quota);
            assert_eq!(numbers(quota.per_instance(3, 1)), (0, 34, 61_200_000));
            assert_eq!(numbers(quota.per_instance(200, 1)), (0, 1, 120_000_000));
            assert_eq!(numbers(quota.per_instance(50, 7)), (0, 7, 210_000_000));
        }
    }

    #[test]
    fn b15_the_share_of_the_slowest_limit_still_refills() {
        let quota = Quota::new(1, Duration::from_micros(LONGEST / 2), 2).expect("valid");
        assert!(quota.per_instance(10_000, 2).window() <= LONGEST);
        let quota = Quota::fixed_window(1, Duration::from_micros(LONGEST)).expect("valid");
        assert!(quota.per_instance(10_000, 1).window() <= LONGEST);
    }

    #[test]
    fn a_log_has_at_most_ten_thousand_tokens() {
        assert!(Quota::sliding_window(10_000, MINUTE).is_some());
        assert_eq!(Quota::sliding_window(10_001, MINUTE), None);
    }

    #[test]
    fn a_window_holds_at_most_one_token_a_microsecond() {
        assert!(Quota::fixed_window(1_000_000, Duration::from_secs(1)).is_some());
        assert_eq!(Quota::fixed_window(1_000_001, Duration::from_secs(1)), None);
    }

    #[test]
    fn nothing_is_zero_and_nothing_overflows() {
        assert_eq!(Quota::new(0, Duration::from_secs(1), 1), None);
        assert_eq!(Quota::new(1, Duration::ZERO, 1), None);
        assert_eq!(Quota::new(1, Duration::from_secs(1), 0), None);
        assert_eq!(Quota::new(1, Duration::from_hours(24), u64::MAX), None);
        for window in [Quota::fixed_window, Quota::sliding_window] {
            assert_eq!(window(0, Duration::from_secs(1)), None);
            assert_eq!(window(1, Duration::ZERO), None);
            assert_eq!(window(1, Duration::MAX), None);
        }
    }
}
