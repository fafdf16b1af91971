//! Failed authentication has a limit of its own, by address, and never uses up the limit of the caller
//! who was claimed. It tells a client that goes on failing to wait; valid credentials from the same
//! address, which many may share, are let through.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::memory::MemoryLimits;
use super::quota::Quota;
use super::store::{Bucket, LimitRequest, LimitSubject};
use crate::client::rate_limit_prefix;
use crate::clock::{Clock, SystemClock};
use crate::problem::{Problem, registry};

/// Counts failures in this process.
#[derive(Debug)]
pub(crate) struct Failures {
    limits: MemoryLimits,
    quota: Quota,
}

/// Addresses that are remembered at a time: 256 KiB.
const MAX_ADDRESSES: usize = 1 << 14;

/// Failures that an address has in a minute before it is told to wait.
const FAILURES_PER_MINUTE: u64 = 100;

impl Failures {
    pub(crate) fn new() -> Self {
        Self::by(Arc::new(SystemClock::new()))
    }

    fn by(clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::new(
            FAILURES_PER_MINUTE,
            Duration::from_mins(1),
            FAILURES_PER_MINUTE,
        )
        .expect("a rate above zero");
        Self {
            limits: MemoryLimits::with_capacity(MAX_ADDRESSES, clock),
            quota,
        }
    }

    /// Counts a failure: the 429 in place of the 401, where the address has had too many.
    pub(crate) fn count(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        let subject = client.map_or(LimitSubject::Everyone, |client| {
            LimitSubject::Address(rate_limit_prefix(client))
        });
        let claim = LimitRequest::new(Bucket { limit: 0, subject }, self.quota);
        match self.limits.take(&[claim]).statuses[0].wait {
            None => Ok(()),
            Some(wait) => Err(Problem::new(&registry::RATE_LIMITED)
                .with_detail("too many requests without valid credentials")
                .with_retry_after(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[test]
    fn b11_an_address_that_guesses_has_to_wait() {
        let clock = TestClock::new();
        let failures = Failures::by(Arc::new(clock.clone()));
        let (one, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for _ in 0..FAILURES_PER_MINUTE {
            assert!(failures.count(one).is_ok());
        }
        assert_eq!(failures.count(one).expect_err("too many").status(), 429);
        assert!(failures.count(other).is_ok());
        clock.advance(Duration::from_millis(600));
        assert!(failures.count(one).is_ok());
    }
}
