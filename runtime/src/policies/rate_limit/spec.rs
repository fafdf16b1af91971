use core::time::Duration;

use http::request::Parts;

use super::cost::Cost;
use super::key::LimitKeyType;
use crate::describe::{InUnits, with_options};

/// One declared limit, such as `rate_limit("100/min", burst = 20)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitSpec {
    /// Tokens added in each `period`.
    pub permits: u64,
    /// The period of `permits`.
    pub period: Duration,
    /// The most tokens that a bucket holds. For a leaky bucket, the number of requests in its
    /// queue. A window ignores this field: its burst is `permits`.
    pub burst: u64,
    /// The tokens that one request takes.
    pub cost: Cost,
    /// The algorithm that counts requests.
    pub algorithm: Algorithm,
    /// The property that requests in one bucket have in common.
    pub by: LimitBy,
    /// The behaviour while the store does not decide.
    pub on_error: OnError,
    /// The name of a limit that endpoints can share. Limits with the same name share their buckets.
    pub name: Option<&'static str>,
    /// The number of tokens that an instance takes in advance when it has none left; 0 disables
    /// prefetching.
    pub prefetch: u64,
    /// Disables rejections: requests that the limit would reject are logged and admitted.
    pub shadow: bool,
}

/// The algorithm that counts requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// A bucket that refills at a constant rate, stored as one theoretical arrival time (GCRA,
    /// ITU-T I.371). In any period at most burst + limit tokens pass.
    TokenBucket,
    /// A queue that releases requests at a constant rate. A request waits for its turn. It is
    /// rejected if the queue is full or if its turn would come after its deadline. In any period at
    /// most `limit` requests of one token each are released, evenly spaced.
    LeakyBucket,
    /// A counter that restarts with every period. Periods are counted from 1970, so a window of a
    /// minute starts with the clock's minute, and a window of a day with the UTC day. In any period
    /// at most 2 × limit tokens pass.
    FixedWindow,
    /// A log of the tokens of the last period. In any period at most `limit` tokens pass; this
    /// bound is exact. The limit is at most 10,000, because every token is stored separately.
    SlidingWindow,
}

/// The property that requests in one bucket have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitBy {
    /// The authenticated caller, or the client address of a request without a caller.
    Caller,
    /// The client address, also [behind proxies](super#clients-behind-proxies): a whole IPv4
    /// address or the /64 network of an IPv6 address.
    Ip,
    /// The endpoint: all of its requests share one bucket.
    Route,
    /// The [verified](super#buckets-and-tenants) key of the header with this lower-case name.
    /// A request without a verified key counts as with [`Caller`](Self::Caller).
    Header(&'static str, LimitKeyType),
    /// The verified key of the path parameter with this name. A request without a verified key
    /// counts as with [`Caller`](Self::Caller).
    Param(&'static str, LimitKeyType),
}

/// The behaviour while the store of a rate limit is slow or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// Each instance decides by [its share of the limit](super#while-the-store-is-slow-or-down).
    Local,
    /// Requests get a 503, and their handler does not run.
    Deny,
}

impl Algorithm {
    /// Returns `true` for a window. The tokens of a window do not refill at a constant rate.
    pub(crate) const fn is_window(self) -> bool {
        matches!(self, Self::FixedWindow | Self::SlidingWindow)
    }
}

impl RateLimitSpec {
    /// Creates a token bucket with `permits` in each `period`. The burst is `permits`, a request
    /// costs one token, and the limit counts by caller.
    pub const fn new(permits: u64, period: Duration) -> Self {
        Self {
            permits,
            period,
            burst: permits,
            cost: Cost::Fixed(1),
            algorithm: Algorithm::TokenBucket,
            by: LimitBy::Caller,
            on_error: OnError::Local,
            name: None,
            prefetch: 0,
            shadow: false,
        }
    }

    /// Sets the maximum number of tokens in a bucket.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        self.burst = burst;
        self
    }

    /// Sets the tokens that one request takes.
    #[must_use]
    pub const fn with_cost(mut self, cost: u64) -> Self {
        self.cost = Cost::Fixed(cost);
        self
    }

    /// Sets a function that returns the tokens of a request. Its result is lowered to the burst.
    #[must_use]
    pub const fn with_cost_of(mut self, cost: fn(&Parts) -> u64) -> Self {
        self.cost = Cost::Of(cost);
        self
    }

    /// Sets the algorithm.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets the property that requests in one bucket have in common.
    #[must_use]
    pub const fn with_by(mut self, by: LimitBy) -> Self {
        self.by = by;
        self
    }

    /// Sets the behaviour while the store does not decide.
    #[must_use]
    pub const fn with_on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Names the limit. Endpoints that name the same limit share its buckets.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Lets each instance take `prefetch` tokens in advance.
    #[must_use]
    pub const fn with_prefetch(mut self, prefetch: u64) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Disables rejections: the limit only counts and logs.
    #[must_use]
    pub const fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }
}

impl RateLimitSpec {
    /// Describes the limit: its rate, such as `100/min`, and every option that differs from the
    /// default.
    pub(crate) fn describe(&self) -> String {
        let default = Self::new(self.permits, self.period);
        let mut options = Vec::new();
        let mut option = |is_set: bool, text: String| options.extend(is_set.then_some(text));
        option(
            self.name.is_some(),
            format!("name={}", self.name.unwrap_or_default()),
        );
        option(
            self.algorithm != default.algorithm,
            format!("algorithm={}", self.algorithm.as_str()),
        );
        option(self.burst != default.burst, format!("burst={}", self.burst));
        option(self.by != default.by, format!("by={}", self.by.describe()));
        option(
            self.cost != default.cost,
            format!("cost={}", self.cost.describe()),
        );
        option(
            self.on_error == OnError::Deny,
            String::from("on_error=deny"),
        );
        option(self.prefetch > 0, format!("prefetch={}", self.prefetch));
        option(self.shadow, String::from("shadow"));
        with_options(&self.rate(), &options)
    }

    fn rate(&self) -> String {
        let permits = self.permits;
        match self.period.as_millis() {
            1_000 => format!("{permits}/s"),
            60_000 => format!("{permits}/min"),
            3_600_000 => format!("{permits}/h"),
            86_400_000 => format!("{permits}/day"),
            _ => format!("{permits}/{}", InUnits(self.period)),
        }
    }
}

impl Algorithm {
    /// Returns the algorithm's name in the attribute.
    const fn as_str(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
        }
    }
}

impl LimitBy {
    fn describe(&self) -> String {
        match self {
            Self::Caller => String::from("caller"),
            Self::Ip => String::from("ip"),
            Self::Route => String::from("route"),
            Self::Header(name, _) => format!("header({name})"),
            Self::Param(name, _) => format!("param({name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_shows_the_rate_and_the_options_that_differ_from_the_default() {
        let rates = [
            (1, "9/s"),
            (60, "9/min"),
            (3_600, "9/h"),
            (86_400, "9/day"),
            (90, "9/90s"),
        ];
        for (seconds, expected) in rates {
            assert_eq!(
                RateLimitSpec::new(9, Duration::from_secs(seconds)).describe(),
                expected
            );
        }
        let all = RateLimitSpec::new(100, Duration::from_mins(1))
            .with_name("payments")
            .with_algorithm(Algorithm::LeakyBucket)
            .with_burst(20)
            .with_by(LimitBy::Ip)
            .with_cost(5)
            .with_on_error(OnError::Deny)
            .with_prefetch(4)
            .shadow();
        let expected = "100/min(name=payments, algorithm=leaky_bucket, burst=20, by=ip, cost=5, on_error=deny, prefetch=4, shadow)";
        assert_eq!(all.describe(), expected);
        let with_function = RateLimitSpec::new(1, Duration::from_secs(1)).with_cost_of(|_| 1);
        assert_eq!(with_function.describe(), "1/s(cost=function)");
    }
}
