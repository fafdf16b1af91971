use core::time::Duration;
use std::sync::Arc;

use proptest::prelude::*;

use super::decide::LimitStatus;
use super::quota::Quota;
use super::spec::Algorithm;
use super::store::{Bucket, LimitRequest, LimitSubject};
use crate::clock::Clock;
use crate::store::MemoryLimits;
use crate::testing::{ReferenceBucket, TestClock};

const SECOND: Duration = Duration::from_secs(1);
const MICRO: Duration = Duration::from_micros(1);

/// An in-memory store with its clock.
struct TestStore {
    limits: MemoryLimits,
    clock: TestClock,
}

impl TestStore {
    fn new() -> Self {
        let clock = TestClock::new();
        Self {
            limits: MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
            clock,
        }
    }

    fn take(&self, request: LimitRequest<'_>) -> LimitStatus {
        self.limits.take(&[request]).statuses[0]
    }

    fn admits(&self, request: LimitRequest<'_>) -> bool {
        self.take(request).wait.is_none()
    }

    /// Sends `tries` requests, and returns the number of admitted requests.
    fn count_admitted(&self, request: LimitRequest<'_>, tries: usize) -> usize {
        (0..tries).filter(|_| self.admits(request)).count()
    }
}

fn request(quota: Option<Quota>) -> LimitRequest<'static> {
    LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota.expect("a valid quota"),
    )
}

fn quota(algorithm: Algorithm, permits: u64, period: Duration, burst: u64) -> Option<Quota> {
    match algorithm {
        Algorithm::TokenBucket => Quota::new(permits, period, burst),
        Algorithm::LeakyBucket => Quota::leaky_bucket(permits, period, burst),
        Algorithm::FixedWindow => Quota::fixed_window(permits, period),
        Algorithm::SlidingWindow => Quota::sliding_window(permits, period),
    }
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

#[test]
fn b01_a_full_bucket_admits_its_burst() {
    let (store, request) = (TestStore::new(), request(Quota::new(100, SECOND * 60, 20)));
    for left in (0..20).rev() {
        assert_eq!(store.take(request).remaining, left);
    }
    assert_eq!(store.take(request).wait, Some(Duration::from_millis(600)));
}

#[test]
fn b01_one_token_refills_after_its_interval() {
    let (store, request) = (TestStore::new(), request(Quota::new(100, SECOND * 60, 1)));
    assert!(store.admits(request));
    store.clock.advance(Duration::from_micros(599_999));
    assert!(!store.admits(request));
    store.clock.advance(MICRO);
    assert!(store.admits(request));
}

#[test]
fn b01_a_leaky_bucket_spaces_requests_evenly() {
    let (store, request) = (
        TestStore::new(),
        request(Quota::leaky_bucket(10, SECOND, 3)),
    );
    let turns: Vec<_> = (0..3)
        .map(|_| store.take(request).queue_delay.as_millis())
        .collect();
    assert_eq!(turns, [0, 100, 200]);
    assert_eq!(
        store.take(request).wait,
        Some(Duration::from_millis(100)),
        "the queue is full"
    );
    store.clock.advance(Duration::from_millis(150));
    assert_eq!(store.take(request).queue_delay, Duration::from_millis(150));
}

#[test]
fn b01_a_leaky_bucket_rejects_requests_whose_turn_is_after_their_deadline() {
    let (store, request) = (
        TestStore::new(),
        request(Quota::leaky_bucket(10, SECOND, 100)),
    );
    let with_short_wait = LimitRequest {
        max_queue_wait: Duration::from_millis(250),
        ..request
    };
    assert_eq!(store.count_admitted(with_short_wait, 10), 3);
    assert_eq!(
        store.take(with_short_wait).wait,
        Some(Duration::from_millis(50))
    );
    assert_eq!(
        store.take(request).queue_delay,
        Duration::from_millis(300),
        "a rejected request takes nothing"
    );
    store.clock.advance(Duration::from_millis(150));
    assert!(store.admits(with_short_wait));
}

#[test]
fn b01_a_fixed_window_restarts_with_the_period() {
    let (store, request) = (
        TestStore::new(),
        request(Quota::fixed_window(5, SECOND * 60)),
    );
    store.clock.advance(SECOND * 59);
    assert_eq!(store.count_admitted(request, 9), 5);
    assert_eq!(store.take(request).wait, Some(SECOND));
    store.clock.advance(SECOND);
    assert_eq!(
        store.count_admitted(request, 9),
        5,
        "twice the limit within a second is the documented worst case"
    );
}

#[test]
fn b01_a_sliding_window_admits_the_limit_in_any_period() {
    let (store, request) = (
        TestStore::new(),
        request(Quota::sliding_window(5, SECOND * 60)),
    );
    store.clock.advance(SECOND * 59);
    assert_eq!(store.count_admitted(request, 3), 3);
    store.clock.advance(SECOND * 30);
    assert_eq!(store.count_admitted(request, 9), 2);
    assert_eq!(store.take(request).wait, Some(SECOND * 30));
    assert_eq!(
        store.take(LimitRequest { cost: 4, ..request }).wait,
        Some(SECOND * 60)
    );
    store.clock.advance(SECOND * 30);
    assert_eq!(store.count_admitted(request, 9), 3);
}

#[test]
fn b06_reset_is_the_time_until_the_bucket_is_full() {
    let all = ALGORITHMS.map(|algorithm| {
        let store = TestStore::new();
        let cost_3 = LimitRequest {
            cost: 3,
            ..request(quota(algorithm, 100, SECOND * 60, 100))
        };
        store.clock.advance(SECOND);
        let status = store.take(cost_3);
        (status.remaining, status.resets_in.as_millis())
    });
    assert_eq!(all, [(97, 1_800), (97, 1_800), (97, 59_000), (97, 60_000)]);
}

#[test]
fn a_request_of_cost_0_takes_nothing_and_does_not_wait() {
    for algorithm in ALGORITHMS {
        let (store, request) = (TestStore::new(), request(quota(algorithm, 10, SECOND, 10)));
        let peek = LimitRequest { cost: 0, ..request };
        assert_eq!(
            store.take(peek),
            LimitStatus {
                remaining: 10,
                ..LimitStatus::default()
            }
        );
        assert_eq!(store.limits.active(), 0);
        store.take(LimitRequest {
            cost: 10,
            ..request
        });
        let peeked = store.take(peek);
        assert_eq!(
            (peeked.remaining, peeked.wait, peeked.queue_delay),
            (0, None, Duration::ZERO),
            "{algorithm:?}"
        );
        assert_eq!(store.take(peek), peeked);
    }
}

#[test]
fn after_the_clock_steps_back_a_bucket_is_exhausted_for_at_most_one_refill_time() {
    for algorithm in ALGORITHMS {
        let (store, request) = (TestStore::new(), request(quota(algorithm, 10, SECOND, 10)));
        store.clock.advance(SECOND * 3_600);
        store.count_admitted(request, 7);
        store.clock.step_back(SECOND * 3_600);
        let admitted = store.count_admitted(request, 20);
        assert!(admitted <= 3, "{algorithm:?} admits {admitted} more");
        store.clock.advance(SECOND);
        let admitted = store.count_admitted(request, 20);
        assert!(
            (1..=10).contains(&admitted),
            "{algorithm:?} admits {admitted} after a refill"
        );
        store.clock.advance(SECOND * 2);
        assert_eq!(store.count_admitted(request, 20), 10, "{algorithm:?}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_only_refills_the_bucket() {
    for algorithm in ALGORITHMS {
        let (store, request) = (TestStore::new(), request(quota(algorithm, 10, SECOND, 10)));
        store.count_admitted(request, 10);
        store.clock.advance(SECOND * 3_600 * 24 * 365 * 200);
        assert_eq!(store.count_admitted(request, 20), 10, "{algorithm:?}");
    }
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(&ALGORITHMS[..])
}

proptest! {
    /// For any arrivals and costs, each algorithm decides in the same way as a list of all admitted
    /// requests.
    #[test]
    fn b01_every_algorithm_agrees_with_a_list_of_admitted_requests(
        algorithm in algorithm(),
        permits in 1_u64..30,
        burst in 1_u64..30,
        steps in prop::collection::vec((arrival(), 0_u64..8, max_queue_wait()), 1..200),
    ) {
        let (store, request) = (TestStore::new(), request(quota(algorithm, permits, SECOND, burst)));
        let mut reference = ReferenceBucket::default();
        for (wait, cost, max_queue_wait) in steps {
            store.clock.advance(wait);
            let request = LimitRequest { cost: cost.min(request.quota.burst()), max_queue_wait, ..request };
            prop_assert_eq!(store.take(request), reference.acquire(&request, store.clock.now()));
        }
        let most = match algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => burst + permits,
            Algorithm::FixedWindow => 2 * permits,
            Algorithm::SlidingWindow => permits,
        };
        prop_assert!(reference.most_in_any(SECOND) <= most);
    }

    /// In any period, a leaky bucket releases at most `permits` requests, if each request costs one
    /// token.
    #[test]
    fn b01_a_leaky_bucket_releases_at_most_the_limit(
        permits in 1_u64..30,
        depth in 1_u64..60,
        steps in prop::collection::vec(arrival(), 1..200),
    ) {
        let (store, request) = (TestStore::new(), request(Quota::leaky_bucket(permits, SECOND, depth)));
        let mut released = Vec::new();
        for wait in steps {
            store.clock.advance(wait);
            let status = store.take(request);
            if status.wait.is_none() {
                released.push(store.clock.now().after(status.queue_delay));
            }
        }
        for (index, from) in released.iter().enumerate() {
            let within = released[index..].iter().filter(|at| at.since(*from) < SECOND).count();
            prop_assert!(within as u64 <= permits);
        }
    }

    /// A client is admitted after exactly `wait`. A microsecond earlier, it is still rejected.
    #[test]
    fn b06_a_rejected_request_is_admitted_after_its_wait_and_not_earlier(
        algorithm in algorithm(),
        permits in 1_u64..1000,
        burst in 1_u64..20,
        steps in prop::collection::vec((arrival(), 1_u64..20, max_queue_wait()), 1..20),
    ) {
        let (store, request) = (TestStore::new(), request(quota(algorithm, permits, SECOND, burst)));
        for (wait, cost, max_queue_wait) in steps {
            store.clock.advance(wait);
            let request = LimitRequest { cost: cost.min(request.quota.burst()), max_queue_wait, ..request };
            if let Some(wait) = store.take(request).wait {
                store.clock.advance(wait.checked_sub(MICRO).expect("a wait is at least a microsecond"));
                prop_assert!(!store.admits(request));
                store.clock.advance(MICRO);
                prop_assert!(store.admits(request));
            }
        }
    }

    /// If the clock jumps, nothing panics. After two seconds without requests, which is twice the
    /// refill time, the bucket is full.
    #[test]
    fn a_clock_that_jumps_has_no_lasting_effect(
        algorithm in algorithm(),
        steps in prop::collection::vec((any::<bool>(), 0_u64..10_000_000_000, 0_u64..8), 1..60),
    ) {
        let (store, request) = (TestStore::new(), request(quota(algorithm, 10, SECOND, 10)));
        for (back, micros, cost) in steps {
            let by = Duration::from_micros(micros);
            if back { store.clock.step_back(by) } else { store.clock.advance(by) }
            let status = store.take(LimitRequest { cost, ..request });
            prop_assert!(status.remaining <= 10 && status.resets_in <= SECOND);
            prop_assert!(status.wait.is_none_or(|wait| wait <= SECOND));
        }
        store.take(request);
        store.clock.advance(SECOND * 2);
        prop_assert_eq!(store.take(LimitRequest { cost: 0, ..request }).remaining, 10);
    }
}

/// Generates the time until the next request: often zero, sometimes short, rarely long.
fn arrival() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => Just(Duration::ZERO),
        4 => (0_u64..400_000).prop_map(Duration::from_micros),
        1 => (0_u64..5_000_000).prop_map(Duration::from_micros),
    ]
}

fn max_queue_wait() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::MAX),
        (0_u64..1_000_000).prop_map(Duration::from_micros)
    ]
}
