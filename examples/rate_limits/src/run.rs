//! Sends the same requests to a limit with each algorithm.

use core::time::Duration;
use std::sync::Arc;

use aplomb::clock::{Clock, Timestamp};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::{MemoryLimits, StoreError};
use aplomb::testing::TestClock;

/// A line of the plot: the times of requests, in seconds.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) moments: Vec<f64>,
}

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: u64 = 10;

/// Returns the line of all sent requests, and one line for each algorithm with the requests that it
/// admitted.
pub(crate) async fn all_lines() -> Result<Vec<Line>, StoreError> {
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
            moments: admission_times(quota.expect("a valid quota")).await?,
        });
    }
    Ok(lines)
}

/// Returns the times of the requests: 40 per second from 0.55 s to 2 s, which is four times the
/// limit, and 5 per second from 3 s to 5 s.
fn arrivals() -> impl Iterator<Item = Duration> {
    let rush = (22..80).map(|number| Duration::from_millis(25 * number));
    rush.chain((15..25).map(|number| Duration::from_millis(200 * number)))
}

/// Returns the times at which a limit admits requests. A leaky bucket queues a request, so the time
/// of the request is the end of its wait in the queue.
async fn admission_times(quota: Quota) -> Result<Vec<f64>, StoreError> {
    let clock = TestClock::new();
    let (start, limits) = (
        clock.now(),
        MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
    );
    let request = LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota,
    );
    let mut moments = Vec::new();
    for arrival in arrivals() {
        clock.advance(arrival.saturating_sub(elapsed(&clock, start)));
        let status = limits.acquire(&[request]).await?.statuses[0];
        if status.wait.is_none() {
            moments.push((elapsed(&clock, start) + status.queue_delay).as_secs_f64());
        }
    }
    Ok(moments)
}

fn elapsed(clock: &TestClock, start: Timestamp) -> Duration {
    clock.now().since(start)
}
