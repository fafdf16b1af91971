use core::time::Duration;

use http::request::Parts;

use super::cost::Cost;
use super::key::KeyKind;
use crate::describe::{InUnits, with_options};

/// One declared limit, such as `rate_limit("100/min", burst = 20)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitSpec {
    /// Tokens added in each `period`.
    pub permits: u64,
    /// The period of `permits`.
    pub period: Duration,
    /// The most tokens that a bucket holds; of a leaky bucket, the requests in its queue. Windows have none of
    /// their own.
    pub burst: u64,
    /// Tokens that one request takes.
    pub cost: Cost,
    /// How requests are counted.
    pub algorithm: Algorithm,
    /// Whose requests share a bucket.
    pub by: LimitBy,
    /// Who decides what the store does not.
    pub on_error: OnError,
    /// A name that several endpoints can share; they then share the bucket.
    pub name: Option<&'static str>,
    /// How many tokens an instance takes ahead with a request that has none left; 0 for none.
    pub prefetch: u64,
    /// Whether it only counts: what it would refuse is written to the log, and admitted.
    pub shadow: bool,
}

/// How requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// A bucket that refills at a constant rate, kept as one theoretical arrival time (GCRA, ITU-T
    /// I.371). In any period at most burst + limit tokens pass.
    TokenBucket,
    /// A queue that is served at a constant rate: a request waits its turn, and is refused where the queue
    /// is full or its turn would come after its deadline. In any period at most limit requests are let
    /// go that take one token each, evenly spaced.
    LeakyBucket,
    /// A count that begins anew with every period, all of them counted from 1970: minutes are those
    /// of the clock, days are days of UTC. In any period at most 2 × limit tokens pass.
    FixedWindow,
    /// A log of the moments of the last period. In any period at most limit tokens pass, exactly; at
    /// most 10,000, for each is remembered by itself.
    SlidingWindow,
}

/// Whose requests share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitBy {
    /// The authenticated caller; the client's address where there is none.
    Caller,
    /// The client's address, [behind proxies](super#clients-behind-proxies) too: IPv4 whole, IPv6 by its
    /// /64 network.
    Ip,
    /// All requests of the endpoint.
    Route,
    /// The key that the header of this name gives, in lower case, once it is
    /// [verified](super#counted-by-a-tenant); as [`Caller`](Self::Caller) where it is not.
    Header(&'static str, KeyKind),
    /// The key that the path parameter of this name gives, just so.
    Param(&'static str, KeyKind),
}

/// Who decides while the store of limits is slow or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// Each instance, [at its share of the limit](super#while-the-store-is-slow-or-down).
    Local,
    /// Nobody: requests are a 503, and their handler does not run.
    Deny,
}

impl Algorithm {
    /// Whether tokens come back all at once or as they were taken, and not at a rate.
    pub(crate) const fn is_window(self) -> bool {
        matches!(self, Self::FixedWindow | Self::SlidingWindow)
    }
}

impl RateLimitSpec {
    /// `permits` in each `period`, with as large a burst, one token a request, by caller.
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

    /// Lets `burst` tokens gather.
    #[must_use]
    pub const fn with_burst(mut self, burst: u64) -> Self {
        self.burst = burst;
        self
    }

    /// Takes `cost` tokens a request.
    #[must_use]
    pub const fn with_cost(mut self, cost: u64) -> Self {
        self.cost = Cost::Fixed(cost);
        self
    }

    /// Takes as many tokens as `cost` says of a request, and at most the burst.
    #[must_use]
    pub const fn with_cost_of(mut self, cost: fn(&Parts) -> u64) -> Self {
        self.cost = Cost::Of(cost);
        self
    }

    /// Counts by `algorithm`.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Counts requests of the same `by` together.
    #[must_use]
    pub const fn with_by(mut self, by: LimitBy) -> Self {
        self.by = by;
        self
    }

    /// Lets this one decide what the store does not.
    #[must_use]
    pub const fn with_on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Names the limit; endpoints that name the same limit share its buckets.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Lets each instance take `prefetch` tokens ahead.
    #[must_use]
    pub const fn with_prefetch(mut self, prefetch: u64) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Counts and never refuses.
    #[must_use]
    pub const fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }
}

impl RateLimitSpec {
    /// Describes the limit: its rate, such as `100/min`, and every option that is not the default.
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
    /// The name that attributes have for it.
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
    fn a_description_shows_the_rate_and_what_is_not_the_default() {
        let rates = [
            (1, "9/s"),
            (60, "9/min"),
            (3_600, "9/h"),
            (86_400, "9/day"),
            (90, "9/90s"),
        ];
        for (seconds, said) in rates {
            assert_eq!(
                RateLimitSpec::new(9, Duration::from_secs(seconds)).describe(),
                said
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
        let said = "100/min(name=payments, algorithm=leaky_bucket, burst=20, by=ip, cost=5, on_error=deny, prefetch=4, shadow)";
        assert_eq!(all.describe(), said);
        let weighed = RateLimitSpec::new(1, Duration::from_secs(1)).with_cost_of(|_| 1);
        assert_eq!(weighed.describe(), "1/s(cost=function)");
    }
}
