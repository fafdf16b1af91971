//! The limit of failed authentications, by client address.
//!
//! This limit is separate from the limits of callers. So an attacker who pretends to be a caller
//! cannot use up the tokens of this caller. A client whose authentication fails too often gets a
//! 429. Valid credentials from the same address are not affected, because many clients can share an
//! address.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::memory::MemoryLimits;
use super::quota::Quota;
use super::store::{Bucket, LimitRequest, LimitSubject};
use crate::client::rate_limit_prefix;
use crate::clock::{Clock, SystemClock};
use crate::problem::{Problem, registry};

/// A counter of the failed authentications in this process.
#[derive(Debug)]
pub(crate) struct AuthFailures {
    limits: MemoryLimits,
    quota: Quota,
}

/// The maximum number of addresses that are counted at a time. They take 256 KiB.
const MAX_ADDRESSES: usize = 1 << 14;

/// The failures per minute after which an address gets a 429. A client with a wrong setting stays
/// below this number, and an attacker cannot guess a key at this rate.
const FAILURES_PER_MINUTE: u64 = 100;

impl AuthFailures {
    pub(crate) fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::new(
            FAILURES_PER_MINUTE,
            Duration::from_mins(1),
            FAILURES_PER_MINUTE,
        )
        .expect("the rate is above zero");
        Self {
            limits: MemoryLimits::with_capacity(MAX_ADDRESSES, clock),
            quota,
        }
    }

    /// Counts a failure. Returns the 429 that replaces the 401 if the address has failed too often.
    pub(crate) fn record(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        let subject = client.map_or(LimitSubject::Everyone, |client| {
            LimitSubject::Address(rate_limit_prefix(client))
        });
        let request = LimitRequest::new(Bucket { limit: 0, subject }, self.quota);
        match self.limits.take(&[request]).statuses[0].wait {
            None => Ok(()),
            Some(wait) => Err(Problem::new(&registry::RATE_LIMITED)
                .with_detail("too many requests without valid credentials: retry after the number of seconds in `Retry-After`")
                .with_retry_after(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[test]
    fn b11_an_address_with_100_failures_in_a_minute_gets_a_429() {
        let clock = TestClock::new();
        let failures = AuthFailures::with_clock(Arc::new(clock.clone()));
        let (one, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for _ in 0..FAILURES_PER_MINUTE {
            assert!(failures.record(one).is_ok());
        }
        assert_eq!(failures.record(one).expect_err("too many").status(), 429);
        assert!(failures.record(other).is_ok());
        clock.advance(Duration::from_millis(600));
        assert!(failures.record(one).is_ok());
    }
}
