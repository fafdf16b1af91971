//! The same requests, counted by each algorithm.

use core::time::Duration;
use std::sync::Arc;

use aplomb::clock::{Clock, Timestamp};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::{MemoryLimits, StoreError};
use aplomb::testing::TestClock;

/// When requests went, in seconds.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) moments: Vec<f64>,
}

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: u64 = 10;

/// All requests as they came, and those that each algorithm let go, when it did.
pub(crate) async fn all() -> Result<Vec<Line>, StoreError> {
    let quotas = [
        ("token bucket, burst 10", Quota::new(LIMIT, SECOND, LIMIT)),
        (
            "leaky bucket, queue of 10",
            Quota::leaky_bucket(LIMIT, SECOND, LIMIT),
        ),
        ("fixed window", Quota::fixed_window(LIMIT, SECOND)),
        ("sliding window", Quota::sliding_window(LIMIT, SECOND)),
    ];
    let mut lines = vec![Line {
        name: "requests",
        moments: arrivals().map(|at| at.as_secs_f64()).collect(),
    }];
    for (name, quota) in quotas {
        lines.push(Line {
            name,
            moments: gone(quota.expect("a valid quota")).await?,
        });
    }
    Ok(lines)
}

/// Forty a second from 0.55 s to 2 s, which is four times the limit; then, after a pause, five a second.
fn arrivals() -> impl Iterator<Item = Duration> {
    let rush = (22..80).map(|number| Duration::from_millis(25 * number));
    rush.chain((15..25).map(|number| Duration::from_millis(200 * number)))
}

async fn gone(quota: Quota) -> Result<Vec<f64>, StoreError> {
    let clock = TestClock::new();
    let (start, limits) = (
        clock.now(),
        MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
    );
    let claim = LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota,
    );
    let mut moments = Vec::new();
    for arrival in arrivals() {
        clock.advance(arrival.saturating_sub(elapsed(&clock, start)));
        let reading = limits.acquire(&[claim]).await?.statuses[0];
        if reading.wait.is_none() {
            moments.push((elapsed(&clock, start) + reading.turn).as_secs_f64());
        }
    }
    Ok(moments)
}

fn elapsed(clock: &TestClock, start: Timestamp) -> Duration {
    clock.now().since(start)
}
