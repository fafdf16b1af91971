use core::time::Duration;

use super::spec::{Algorithm, RateLimitSpec};
use crate::clock::micros;

/// A limit with its times in whole microseconds. Every value of this type is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    algorithm: Algorithm,
    /// Microseconds per token; 0 for a window.
    interval: u64,
    burst: u64,
    window: u64,
}

impl Quota {
    /// Creates the quota of a token bucket: `permits` in each `period`, up to `burst` at once. The
    /// time per token is rounded up, so that the bucket never admits more than declared.
    ///
    /// Returns `None` if a parameter is zero, or if the bucket refills in more than a hundred
    /// years.
    pub fn new(permits: u64, period: Duration, burst: u64) -> Option<Self> {
        Self::new_bucket(Algorithm::TokenBucket, permits, period, burst)
    }

    /// Creates the quota of a leaky bucket: `permits` in each `period`, released one by one. The
    /// queue holds up to `depth` requests; the first one passes immediately and the others wait for
    /// their turn.
    ///
    /// Returns `None` if a parameter is zero, or if the queue empties in more than a hundred years.
    pub fn leaky_bucket(permits: u64, period: Duration, depth: u64) -> Option<Self> {
        Self::new_bucket(Algorithm::LeakyBucket, permits, period, depth)
    }

    /// Creates the quota of a fixed window: `permits` in each `period`. Periods are counted from
    /// 1970.
    ///
    /// Returns `None` if a parameter is zero, if `permits` exceeds one per microsecond, or if the
    /// period exceeds a hundred years.
    pub fn fixed_window(permits: u64, period: Duration) -> Option<Self> {
        Self::new_window(Algorithm::FixedWindow, permits, period)
            .filter(|quota| quota.burst <= quota.window)
    }

    /// Creates the quota of a sliding window: `permits` in any `period`, counted with a log of the
    /// tokens.
    ///
    /// Returns `None` if a parameter is zero, if `permits` exceeds [`MAX_LOG`](Self::MAX_LOG), or
    /// if the period exceeds a hundred years.
    pub fn sliding_window(permits: u64, period: Duration) -> Option<Self> {
        let quota = Self::new_window(Algorithm::SlidingWindow, permits, period);
        quota.filter(|quota| quota.burst <= Self::MAX_LOG)
    }

    /// The maximum number of tokens in the log of a sliding window. A full log takes 80 KB in
    /// memory.
    pub const MAX_LOG: u64 = 10_000;

    fn new_bucket(
        algorithm: Algorithm,
        permits: u64,
        period: Duration,
        burst: u64,
    ) -> Option<Self> {
        let period = micros(period);
        if permits == 0 || period == 0 || burst == 0 {
            return None;
        }
        let interval = period.div_ceil(permits);
        let window = interval.checked_mul(burst)?;
        (window <= MAX_WINDOW).then_some(Self {
            algorithm,
            interval,
            burst,
            window,
        })
    }

    fn new_window(algorithm: Algorithm, permits: u64, period: Duration) -> Option<Self> {
        let window = micros(period);
        let valid = permits > 0 && (1..=MAX_WINDOW).contains(&window);
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
        // `Quota::reserve` lowers the burst by one batch. The lowered burst must still cover one
        // request and the next batch. So the burst must cover two batches and one request.
        let (two_batches, prefetches) = (spec.prefetch.saturating_mul(2), spec.prefetch > 0);
        quota
            .filter(|quota| {
                spec.cost
                    .fixed()
                    .is_none_or(|cost| cost > 0 && cost <= quota.burst)
            })
            .filter(|_| !prefetches || spec.algorithm == Algorithm::TokenBucket)
            .filter(|quota| {
                !prefetches
                    || two_batches.saturating_add(spec.cost.fixed().unwrap_or(1)) <= quota.burst
            })
    }

    /// Returns one instance's share of this quota, for `instances` instances that decide without
    /// the store. The rate is divided by `instances`. The burst is also divided by `instances` and
    /// rounded up to a whole token, but it is at least the `cost` of a request.
    pub(crate) fn per_instance(self, instances: u64, cost: u64) -> Self {
        let burst = self.burst.div_ceil(instances).max(cost);
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                let interval = self
                    .interval
                    .saturating_mul(instances)
                    .min(MAX_WINDOW / burst);
                Self {
                    interval,
                    burst,
                    window: interval * burst,
                    ..self
                }
            }
            // The burst can be larger than the exact share, because it is rounded up and covers the
            // cost. The window gets longer by the same factor, so that the rate is exactly the
            // share.
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                let scaled = u128::from(self.window) * u128::from(burst) * u128::from(instances);
                let window =
                    u64::try_from(scaled.div_ceil(u128::from(self.burst))).unwrap_or(MAX_WINDOW);
                Self {
                    burst,
                    window: window.min(MAX_WINDOW),
                    ..self
                }
            }
        }
    }

    /// Returns this quota with a burst that is lower by `tokens`, which are reserved for
    /// prefetching.
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

    /// Returns the time in which `tokens` refill.
    pub(crate) fn refill_time(self, tokens: u64) -> Duration {
        Duration::from_micros(self.interval.saturating_mul(tokens))
    }

    /// Returns the algorithm.
    pub const fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// Returns the microseconds per token; 0 for windows, whose tokens do not come back one by one.
    pub const fn interval(self) -> u64 {
        self.interval
    }

    /// Returns the maximum number of tokens that are available at once.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Returns the microseconds in which an empty bucket refills, or the length of the window.
    pub const fn window(self) -> u64 {
        self.window
    }
}

/// The longest refill time and the longest window: a hundred years, in microseconds. With this
/// bound, the sum of the current time and several windows fits in 64 bits.
const MAX_WINDOW: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn b01_a_rate_of_100_per_minute_refills_a_token_every_600_ms() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!((quota.interval(), quota.window()), (600_000, 60_000_000));
    }

    #[test]
    fn b03_the_refill_time_of_a_token_is_rounded_up() {
        assert_eq!(
            Quota::new(7, Duration::from_secs(1), 7)
                .expect("valid")
                .interval(),
            142_858
        );
    }

    fn interval_burst_window(quota: Quota) -> (u64, u64, u64) {
        (quota.interval, quota.burst, quota.window)
    }

    #[test]
    fn b15_a_share_is_slower_and_smaller_and_still_admits_a_request() {
        let quota = Quota::new(100, Duration::from_mins(1), 100).expect("valid");
        assert_eq!(quota.per_instance(1, 1), quota);
        assert_eq!(
            interval_burst_window(quota.per_instance(3, 1)),
            (1_800_000, 34, 61_200_000)
        );
        assert_eq!(
            interval_burst_window(quota.per_instance(10_000, 1)),
            (6_000_000_000, 1, 6_000_000_000)
        );
        assert_eq!(
            interval_burst_window(quota.per_instance(50, 7)),
            (30_000_000, 7, 210_000_000)
        );
    }

    #[test]
    fn b15_the_window_of_a_share_is_longer_if_the_burst_is_rounded_up() {
        for quota in [
            Quota::fixed_window(100, MINUTE),
            Quota::sliding_window(100, MINUTE),
        ] {
            let quota = quota.expect("valid");
            assert_eq!(quota.per_instance(1, 1), quota);
            assert_eq!(
                interval_burst_window(quota.per_instance(3, 1)),
                (0, 34, 61_200_000)
            );
            assert_eq!(
                interval_burst_window(quota.per_instance(200, 1)),
                (0, 1, 120_000_000)
            );
            assert_eq!(
                interval_burst_window(quota.per_instance(50, 7)),
                (0, 7, 210_000_000)
            );
        }
    }

    #[test]
    fn b15_a_share_of_the_slowest_limit_refills_within_a_hundred_years() {
        let quota = Quota::new(1, Duration::from_micros(MAX_WINDOW / 2), 2).expect("valid");
        assert!(quota.per_instance(10_000, 2).window() <= MAX_WINDOW);
        let quota = Quota::fixed_window(1, Duration::from_micros(MAX_WINDOW)).expect("valid");
        assert!(quota.per_instance(10_000, 1).window() <= MAX_WINDOW);
    }

    #[test]
    fn a_sliding_window_of_more_than_ten_thousand_tokens_is_refused() {
        assert!(Quota::sliding_window(10_000, MINUTE).is_some());
        assert_eq!(Quota::sliding_window(10_001, MINUTE), None);
    }

    #[test]
    fn a_fixed_window_of_more_than_one_token_per_microsecond_is_refused() {
        assert!(Quota::fixed_window(1_000_000, Duration::from_secs(1)).is_some());
        assert_eq!(Quota::fixed_window(1_000_001, Duration::from_secs(1)), None);
    }

    #[test]
    fn zeros_and_overflows_are_refused() {
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
