//! The test suite of a [`LimitStore`].
//!
//! [`limit_store_suite!`](crate::limit_store_suite) runs all cases. Each case takes an empty store
//! and an [`Elapse`] that advances the store's time. The case panics if the store breaks the rule
//! whose number is in the name of the case: B1 for `b01_…`. The guide lists the rules
//! (`docs/guide/rules.md`).

use core::time::Duration;
use std::sync::Arc;

use super::Elapse;
use crate::policies::rate_limit::{
    Acquired, Algorithm, Bucket, LimitRequest, LimitStore, LimitSubject, Quota,
};
use crate::request::Caller;

/// Defines a test for each rule of a [`LimitStore`].
///
/// `limit_store_suite!(async { (store, time) })` runs its block once per test. `store` is an `Arc`
/// of an empty store, and `time` is an [`Elapse`](crate::testing::Elapse).
///
/// ```
/// use std::sync::Arc;
/// use aplomb::store::MemoryLimits;
/// use aplomb::testing::TestClock;
///
/// aplomb::limit_store_suite!(async {
///     let clock = TestClock::new();
///     (Arc::new(MemoryLimits::with_capacity(1 << 16, Arc::new(clock.clone()))), clock)
/// });
/// # fn main() {}
/// ```
///
/// # One test on shared servers
///
/// If servers are slow to start, a second form runs all cases in one test, named `all_cases` here:
///
/// ```text
/// limit_store_suite!(all_cases: start_servers() => |servers, case| async { (store, time) });
/// ```
///
/// `start_servers()` runs once. The block runs once per case: `servers` is a reference to the
/// servers, and `case` is the name of the case (`&'static str`). `store` must be empty in each
/// case, so use a namespace that contains `case`, for example. `time` is a reference to an
/// `Elapse`.
#[macro_export]
macro_rules! limit_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { limits, [$($setup)*],
            b01_a_bucket_admits_its_burst
            b01_a_token_is_refilled_after_its_interval
            b01_a_leaky_bucket_queues_requests
            b01_the_next_fixed_window_admits_the_limit_again
            b01_a_sliding_window_admits_again_as_requests_leave_it
            b02_limits_of_all_kinds_decide_all_or_nothing
            b02_several_limits_decide_all_or_nothing
            b02_opposite_orders_do_not_deadlock
            b02_concurrent_calls_in_any_order_admit_exactly_the_burst
            b06_a_status_has_the_remaining_tokens_and_the_reset
            b08_a_request_takes_its_cost_in_tokens_or_none
            b08_a_cost_of_zero_is_admitted_and_takes_no_tokens
            b08_a_cost_of_zero_for_an_exhausted_limit_rejects_no_other_limit
            b09_each_subject_has_its_own_bucket
            b17_a_shadow_limit_takes_tokens_and_rejects_no_request
            b17_enforced_limits_decide_if_a_shadow_limit_is_exhausted
            b17_a_rejected_request_takes_no_tokens_of_a_shadow_limit
            concurrent_calls_admit_exactly_the_burst
        }
    };
}

/// Returns a request to a token bucket of ten tokens, which gets one token every two seconds.
fn request(limit: u64) -> LimitRequest<'static> {
    let quota = Quota::new(5, Duration::from_secs(10), 10).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

/// Returns a request to a limit of ten tokens with this algorithm. The period is twenty seconds, or
/// a day for the fixed window.
fn request_with(algorithm: Algorithm, limit: u64) -> LimitRequest<'static> {
    let quota = match algorithm {
        Algorithm::TokenBucket => Quota::new(5, Duration::from_secs(10), 10),
        Algorithm::LeakyBucket => Quota::leaky_bucket(5, Duration::from_secs(10), 10),
        // A short window could end between two calls of a case, and then admit twice the limit.
        Algorithm::FixedWindow => Quota::fixed_window(10, DAY),
        Algorithm::SlidingWindow => Quota::sliding_window(10, Duration::from_secs(20)),
    };
    LimitRequest {
        quota: quota.expect("a valid quota"),
        ..request(limit)
    }
}

const DAY: Duration = Duration::from_hours(24);

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

async fn acquire(store: &Arc<impl LimitStore>, requests: &[LimitRequest<'_>]) -> Acquired {
    store.acquire(requests).await.expect("the store responds")
}

async fn count_admitted(
    store: &Arc<impl LimitStore>,
    request: LimitRequest<'_>,
    attempts: usize,
) -> usize {
    let mut count = 0;
    for _ in 0..attempts {
        count += usize::from(acquire(store, &[request]).await.admitted);
    }
    count
}

/// A full bucket admits its burst, and then rejects with the time until the next token.
pub async fn b01_a_bucket_admits_its_burst(store: Arc<impl LimitStore>, _: &impl Elapse) {
    assert_eq!(count_admitted(&store, request(1), 10).await, 10);
    let rejected = acquire(&store, &[request(1)]).await;
    assert!(!rejected.admitted);
    let wait = rejected.statuses[0].wait.expect("a rejection has a wait");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(2),
        "{wait:?}"
    );
}

/// After the interval of a token, a bucket has exactly one token again.
pub async fn b01_a_token_is_refilled_after_its_interval(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    count_admitted(&store, request(1), 10).await;
    time.elapse(Duration::from_secs(2)).await;
    assert_eq!(count_admitted(&store, request(1), 1).await, 1);
    assert_eq!(count_admitted(&store, request(1), 1).await, 0);
}

/// A leaky bucket queues its burst, with one interval between two requests. It rejects requests
/// that would wait longer than their `max_queue_wait`.
pub async fn b01_a_leaky_bucket_queues_requests(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let request = request_with(Algorithm::LeakyBucket, 1);
    for position in 0..10 {
        let (turn, latest) = (
            acquire(&store, &[request]).await.statuses[0].queue_delay,
            Duration::from_secs(2) * position,
        );
        assert!(
            turn <= latest && turn + Duration::from_secs(2) > latest,
            "queued for {turn:?} instead of {latest:?}"
        );
    }
    let rejected = acquire(&store, &[request]).await.statuses[0];
    assert!(
        rejected
            .wait
            .is_some_and(|wait| wait <= Duration::from_secs(2))
            && rejected.queue_delay.is_zero()
    );
    let short_wait = LimitRequest {
        max_queue_wait: Duration::from_secs(3),
        ..request_with(Algorithm::LeakyBucket, 2)
    };
    assert_eq!(count_admitted(&store, short_wait, 5).await, 2);
}

/// A fixed window admits its limit. The next window admits it again.
pub async fn b01_the_next_fixed_window_admits_the_limit_again(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    let request = request_with(Algorithm::FixedWindow, 1);
    assert_eq!(count_admitted(&store, request, 12).await, 10);
    let rejected = acquire(&store, &[request]).await.statuses[0];
    assert_eq!(rejected.wait, Some(rejected.resets_in));
    assert!(rejected.resets_in <= DAY && rejected.remaining == 0);
    if time.is_quick() {
        time.elapse(DAY).await;
        assert_eq!(count_admitted(&store, request, 12).await, 10);
    }
}

/// A sliding window admits its limit. For each request that leaves the window, it admits one more.
pub async fn b01_a_sliding_window_admits_again_as_requests_leave_it(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    let request = request_with(Algorithm::SlidingWindow, 1);
    assert_eq!(count_admitted(&store, request, 4).await, 4);
    time.elapse(Duration::from_secs(12)).await;
    assert_eq!(count_admitted(&store, request, 12).await, 6);
    let rejected = acquire(&store, &[request]).await.statuses[0];
    assert!(
        rejected
            .wait
            .is_some_and(|wait| wait <= Duration::from_secs(8)),
        "{:?}",
        rejected.wait
    );
    time.elapse(Duration::from_secs(8)).await;
    assert_eq!(count_admitted(&store, request, 12).await, 4);
}

/// A rejection by one limit takes no tokens of the other limits, for each combination of
/// algorithms.
pub async fn b02_limits_of_all_kinds_decide_all_or_nothing(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let others: Vec<LimitRequest<'static>> = (1..)
            .zip(ALGORITHMS)
            .map(|(other, algorithm)| request_with(algorithm, 10 * limit + other))
            .collect();
        let exhausted = request_with(algorithm, limit);
        assert_eq!(
            count_admitted(&store, exhausted, 10).await,
            10,
            "{algorithm:?}"
        );
        let mut all = others.clone();
        all.push(exhausted);
        let rejected = acquire(&store, &all).await;
        assert!(
            !rejected.admitted && rejected.statuses[4].wait.is_some(),
            "{algorithm:?}: {rejected:?}"
        );
        assert!(
            rejected.statuses[..4]
                .iter()
                .all(|status| status.remaining == 10 && status.wait.is_none())
        );
        let admitted = acquire(&store, &others).await;
        assert!(admitted.admitted && admitted.statuses.iter().all(|status| status.remaining == 9));
    }
}

/// A rejection by one bucket takes no tokens of the other bucket in the call.
pub async fn b02_several_limits_decide_all_or_nothing(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    count_admitted(&store, request(2), 10).await;
    for _ in 0..5 {
        let both = acquire(&store, &[request(1), request(2)]).await;
        assert!(!both.admitted);
        assert_eq!(
            (both.statuses[0].remaining, both.statuses[0].wait),
            (10, None)
        );
        assert!(both.statuses[1].wait.is_some());
    }
    assert_eq!(
        acquire(&store, &[request(1)]).await.statuses[0].remaining,
        9
    );
}

/// Simultaneous calls with the same two buckets in opposite orders do not deadlock.
pub async fn b02_opposite_orders_do_not_deadlock(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let run = |requests: [LimitRequest<'static>; 2]| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut count = 0;
            for _ in 0..200 {
                count += usize::from(acquire(&store, &requests).await.admitted);
            }
            count
        })
    };
    let (forward, backward) = (run([request(1), request(2)]), run([request(2), request(1)]));
    let count = forward.await.expect("no panic") + backward.await.expect("no panic");
    assert!(count >= 10, "{count} admitted");
}

/// Simultaneous calls with the same buckets of one caller, each call in another order, together
/// admit exactly the smallest burst. A rejected call takes no tokens of the other buckets.
pub async fn b02_concurrent_calls_in_any_order_admit_exactly_the_burst(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let caller = Caller::new("alice");
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (store, caller) = (Arc::clone(&store), caller.clone());
            tokio::spawn(async move {
                let mut requests = requests_of(&caller);
                requests.rotate_left(number % 4);
                if number >= 4 {
                    requests.reverse();
                }
                let mut count = 0;
                for _ in 0..10 {
                    count += u64::from(acquire(&store, &requests).await.admitted);
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("no panic");
    }
    assert_eq!(count, 30);
    for request in requests_of(&caller) {
        let free = LimitRequest { cost: 0, ..request };
        let remaining = acquire(&store, &[free]).await.statuses[0].remaining;
        assert_eq!(remaining, request.quota.burst() - 30, "{:?}", request.quota);
    }
}

/// Returns a request of this caller for a limit of each algorithm. The smallest burst is 30.
fn requests_of(caller: &Caller) -> [LimitRequest<'_>; 4] {
    let hour = Duration::from_hours(1);
    let quotas = [
        Quota::new(1, hour, 30),
        Quota::fixed_window(40, DAY),
        Quota::sliding_window(50, hour),
        Quota::leaky_bucket(1, hour, 60),
    ];
    let mut limits = 1..;
    quotas.map(|quota| {
        let limit = limits.next().expect("an endless range");
        let subject = LimitSubject::Caller(caller);
        LimitRequest::new(Bucket { limit, subject }, quota.expect("a valid quota"))
    })
}

/// A status has the remaining tokens, and the time until the bucket is full.
pub async fn b06_a_status_has_the_remaining_tokens_and_the_reset(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    for remaining in (7..10).rev() {
        assert_eq!(
            acquire(&store, &[request(1)]).await.statuses[0].remaining,
            remaining
        );
    }
    time.elapse(Duration::from_secs(4)).await;
    let status = acquire(&store, &[request(1)]).await.statuses[0];
    assert_eq!(status.remaining, 8);
    assert!(
        status.resets_in <= Duration::from_secs(4),
        "{:?}",
        status.resets_in
    );
}

/// A request takes as many tokens as it costs, or no tokens if there are fewer.
pub async fn b08_a_request_takes_its_cost_in_tokens_or_none(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let expensive = LimitRequest {
        cost: 4,
        ..request(1)
    };
    assert_eq!(count_admitted(&store, expensive, 3).await, 2);
    assert_eq!(count_admitted(&store, request(1), 3).await, 2);
}

/// A request with cost 0 is admitted even by an empty bucket, takes no tokens, and does not queue.
pub async fn b08_a_cost_of_zero_is_admitted_and_takes_no_tokens(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = request_with(algorithm, limit);
        let free = LimitRequest {
            cost: 0,
            max_queue_wait: Duration::ZERO,
            ..request
        };
        assert_eq!(
            acquire(&store, &[free]).await.statuses[0].remaining,
            10,
            "{algorithm:?}"
        );
        assert_eq!(
            count_admitted(&store, request, 10).await,
            10,
            "{algorithm:?}"
        );
        let status = acquire(&store, &[free]).await.statuses[0];
        assert_eq!(
            (status.remaining, status.wait, status.queue_delay),
            (0, None, Duration::ZERO),
            "{algorithm:?}"
        );
    }
}

/// A request with cost 0 for an exhausted limit does not reject the requests of the same call for
/// other limits, with each algorithm.
pub async fn b08_a_cost_of_zero_for_an_exhausted_limit_rejects_no_other_limit(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let exhausted = request_with(algorithm, limit);
        count_admitted(&store, exhausted, 10).await;
        let free = LimitRequest {
            cost: 0,
            max_queue_wait: Duration::ZERO,
            ..exhausted
        };
        for (other, algorithm) in (1..).zip(ALGORITHMS) {
            let taking = request_with(algorithm, 10 * limit + other);
            for remaining in [9, 8] {
                let both = acquire(&store, &[free, taking]).await;
                assert!(both.admitted, "{algorithm:?}: {both:?}");
                let statuses = both.statuses;
                assert_eq!((statuses[0].remaining, statuses[0].wait), (0, None));
                assert!(statuses[0].resets_in > Duration::ZERO, "{statuses:?}");
                assert_eq!(statuses[1].remaining, remaining, "{algorithm:?}");
            }
        }
    }
}

/// Each caller, address and key has its own bucket. `Everyone` also has its own bucket.
pub async fn b09_each_subject_has_its_own_bucket(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
    let address = |text: &str| LimitSubject::Address(text.parse().expect("an address"));
    let subjects = [
        LimitSubject::Caller(&alice),
        LimitSubject::Caller(&bob),
        address("192.0.2.1"),
        address("2001:db8::"),
        LimitSubject::Key("alice"),
        LimitSubject::Key("acme"),
        LimitSubject::Everyone,
    ];
    for subject in subjects {
        let request = LimitRequest {
            bucket: Bucket { limit: 1, subject },
            ..request(1)
        };
        assert_eq!(count_admitted(&store, request, 11).await, 10, "{subject:?}");
    }
}

/// A shadow limit takes tokens like any limit. If it has too few, it admits the request, takes no
/// tokens, and returns the wait that a rejection would have.
pub async fn b17_a_shadow_limit_takes_tokens_and_rejects_no_request(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    let shadow = LimitRequest {
        cost: 4,
        shadow: true,
        ..request(1)
    };
    for remaining in [6, 2] {
        let taken = acquire(&store, &[shadow]).await;
        assert_eq!(
            (
                taken.admitted,
                taken.statuses[0].remaining,
                taken.statuses[0].wait
            ),
            (true, remaining, None)
        );
    }
    for _ in 0..3 {
        let exceeded = acquire(&store, &[shadow]).await;
        assert_eq!(
            (exceeded.admitted, exceeded.statuses[0].remaining),
            (true, 2)
        );
        assert!(
            exceeded.statuses[0].wait.is_some(),
            "an enforced limit would have rejected"
        );
    }
    assert_eq!(
        count_admitted(&store, request(1), 3).await,
        2,
        "the same bucket with an enforced limit"
    );
    time.elapse(Duration::from_secs(8)).await;
    assert_eq!(acquire(&store, &[shadow]).await.statuses[0].wait, None);
}

/// The enforced limits decide, and take their tokens, even if a shadow limit is exhausted.
pub async fn b17_enforced_limits_decide_if_a_shadow_limit_is_exhausted(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let shadow = LimitRequest {
        shadow: true,
        ..request(2)
    };
    count_admitted(&store, request(2), 10).await;
    for remaining in (0..10).rev() {
        let both = acquire(&store, &[request(1), shadow]).await;
        assert_eq!(
            (both.admitted, both.statuses[0].remaining),
            (true, remaining)
        );
        assert!(both.statuses[0].wait.is_none() && both.statuses[1].wait.is_some());
    }
    assert!(!acquire(&store, &[request(1), shadow]).await.admitted);
}

/// A request that an enforced limit rejects takes no tokens of a shadow limit, in either order of
/// the limits.
pub async fn b17_a_rejected_request_takes_no_tokens_of_a_shadow_limit(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let shadow = LimitRequest {
        shadow: true,
        ..request(2)
    };
    count_admitted(&store, request(1), 10).await;
    for _ in 0..3 {
        assert!(!acquire(&store, &[shadow, request(1)]).await.admitted);
        let rejected = acquire(&store, &[request(1), shadow]).await;
        assert!(!rejected.admitted && rejected.statuses[0].wait.is_some());
        assert_eq!(
            (rejected.statuses[1].remaining, rejected.statuses[1].wait),
            (10, None)
        );
    }
    assert_eq!(acquire(&store, &[shadow]).await.statuses[0].remaining, 9);
}

/// Simultaneous calls together admit exactly the burst, with each algorithm.
pub async fn concurrent_calls_admit_exactly_the_burst(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let quotas = [
        Quota::new(1, Duration::from_hours(1), 50),
        Quota::leaky_bucket(1, Duration::from_hours(1), 50),
        Quota::fixed_window(50, DAY),
        Quota::sliding_window(50, Duration::from_hours(1)),
    ];
    for (limit, quota) in (1..).zip(quotas) {
        let request = LimitRequest {
            quota: quota.expect("a valid quota"),
            ..request(limit)
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { count_admitted(&store, request, 20).await })
            })
            .collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.expect("no panic");
        }
        assert_eq!(count, 50, "{:?}", request.quota.algorithm());
    }
}
