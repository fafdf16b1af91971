//! Tests the algorithms of rate limits on a server with a simulated clock.

use core::cell::Cell;
use core::time::Duration;

use aplomb::clock::{Clock, Timestamp};
use aplomb::policies::rate_limit::{
    Acquired, Algorithm, Bucket, LimitRequest, LimitStatus, LimitStore, LimitSubject, Quota,
};
use aplomb::store::RedisStore;
use aplomb::testing::{RedisServer, ReferenceBucket, Reply, TestClock};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;

/// The period of the limits. It must be much longer than a test, because keys expire by the
/// server's own clock.
const PERIOD: Duration = Duration::from_secs(1_000);

/// A store on its own server, and the simulated clock.
struct TimedStore {
    runtime: Runtime,
    server: RedisServer,
    store: RedisStore,
    clock: TestClock,
}

impl TimedStore {
    fn new() -> Self {
        let (runtime, server) = (Runtime::new().expect("a runtime"), RedisServer::start());
        let store = runtime.block_on(crate::store_at_with_long_timeout(&server.url()));
        let store = store.__timed_by("test:seconds", "test:micros");
        Self {
            runtime,
            server,
            store,
            clock: TestClock::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn acquire_all(&self, requests: &[LimitRequest<'_>]) -> Acquired {
        let now = self.now().as_micros();
        let (seconds, micros) = ((now / 1_000_000).to_string(), (now % 1_000_000).to_string());
        let set = self
            .server
            .command(&["MSET", "test:seconds", &seconds, "test:micros", &micros]);
        assert_eq!(set, Reply::Status(String::from("OK")));
        self.runtime
            .block_on(self.store.acquire(requests))
            .expect("the store responds")
    }

    fn acquire_one(&self, request: LimitRequest<'_>) -> LimitStatus {
        self.acquire_all(&[request]).statuses[0]
    }

    fn count_admitted(&self, request: LimitRequest<'_>, tries: usize) -> usize {
        (0..tries)
            .filter(|_| self.acquire_one(request).wait.is_none())
            .count()
    }
}

fn quota(algorithm: Algorithm, permits: u64, burst: u64) -> Quota {
    let quota = match algorithm {
        Algorithm::LeakyBucket => Quota::leaky_bucket(permits, PERIOD, burst),
        Algorithm::FixedWindow => Quota::fixed_window(permits, PERIOD),
        Algorithm::SlidingWindow => Quota::sliding_window(permits, PERIOD),
        _ => Quota::new(permits, PERIOD, burst),
    };
    quota.expect("a valid quota")
}

fn limit_request(limit: u64, quota: Quota) -> LimitRequest<'static> {
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

/// Compares the scripts, for any arrivals and costs, with a reference that stores a list of all
/// admitted requests.
#[test]
fn b01_every_algorithm_agrees_with_a_list_of_admitted_requests() {
    let store = TimedStore::new();
    let arrival = prop_oneof![
        3 => Just(Duration::ZERO),
        4 => (0_u64..400_000).prop_map(Duration::from_millis),
        1 => (0_u64..5_000_000).prop_map(Duration::from_millis),
    ];
    let max_wait = prop_oneof![
        Just(Duration::MAX),
        (0_u64..1_000_000).prop_map(Duration::from_millis)
    ];
    let steps = prop::collection::vec((arrival, 0_u64..8, max_wait), 1..60);
    let strategy = (
        prop::sample::select(&ALGORITHMS[..]),
        1_u64..30,
        1_u64..30,
        steps,
    );
    let buckets = Cell::new(0);
    let result = TestRunner::default().run(&strategy, |(algorithm, permits, burst, steps)| {
        let bucket = buckets.replace(buckets.get() + 1);
        let mut reference = ReferenceBucket::default();
        let request = limit_request(bucket, quota(algorithm, permits, burst));
        for (wait, cost, max_wait) in steps {
            store.clock.advance(wait);
            let request = LimitRequest {
                cost: cost.min(request.quota.burst()),
                max_queue_wait: max_wait,
                ..request
            };
            prop_assert_eq!(
                store.acquire_one(request),
                reference.acquire(&request, store.now())
            );
        }
        Ok(())
    });
    result.expect("the store agrees with the reference");
}

/// Compares the decision of four limits of different kinds with four references.
#[test]
fn b02_limits_of_all_kinds_decide_all_or_nothing() {
    let store = TimedStore::new();
    let steps = prop::collection::vec((0_u64..300_000, prop::array::uniform4(0_u64..3)), 1..60);
    let buckets = Cell::new(0);
    let result = TestRunner::default().run(&steps, |steps| {
        let bucket = buckets.replace(buckets.get() + 4);
        let mut references: [ReferenceBucket; 4] = Default::default();
        for (wait, costs) in steps {
            store.clock.advance(Duration::from_millis(wait));
            let requests: Vec<LimitRequest<'_>> = (0..4)
                .zip(ALGORITHMS)
                .zip(costs)
                .map(|((index, algorithm), cost)| LimitRequest {
                    cost,
                    ..limit_request(bucket + index, quota(algorithm, 7, 5))
                })
                .collect();
            let fits = |(request, reference): (&LimitRequest<'_>, &ReferenceBucket)| {
                reference
                    .clone()
                    .acquire(request, store.now())
                    .wait
                    .is_none()
            };
            let admitted = requests.iter().zip(&references).all(fits);
            let acquired = store.acquire_all(&requests);
            prop_assert_eq!(acquired.admitted, admitted);
            for ((request, reference), status) in
                requests.iter().zip(&mut references).zip(acquired.statuses)
            {
                let counted = if admitted || status.wait.is_some() {
                    *request
                } else {
                    LimitRequest {
                        cost: 0,
                        ..*request
                    }
                };
                prop_assert_eq!(status, reference.acquire(&counted, store.now()));
            }
        }
        Ok(())
    });
    result.expect("the store agrees with the reference");
}

/// After its clock is set back, a server rejects requests for at most one refill period. Until then
/// it admits only requests for the tokens that were left.
#[test]
fn b04_a_clock_that_steps_back_adds_no_tokens_and_limits_recover_within_one_period() {
    let store = TimedStore::new();
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 10, 10));
        store.clock.advance(PERIOD * 3_600);
        store.count_admitted(request, 7);
        store.clock.step_back(PERIOD * 3_600);
        let admitted = store.count_admitted(request, 20);
        assert!(admitted <= 3, "{algorithm:?} admits {admitted} more");
        store.clock.advance(PERIOD);
        let admitted = store.count_admitted(request, 20);
        assert!(
            (1..=10).contains(&admitted),
            "{algorithm:?} admits {admitted} after a refill"
        );
        store.clock.advance(PERIOD * 2);
        assert_eq!(store.count_admitted(request, 20), 10, "{algorithm:?}");
    }
}

/// While operators lower a limit, some instances have the old limit, and others have the new one.
#[test]
fn b01_instances_with_the_old_limit_get_no_tokens_back_after_a_window_limit_is_lowered() {
    let store = TimedStore::new();
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let [old, new] = [100, 10].map(|permits| limit_request(1, quota(algorithm, permits, 1)));
        store.server.flush_all();
        store.clock.advance(PERIOD);
        assert_eq!(store.count_admitted(old, 100), 100);
        for _ in 0..3 {
            assert_eq!(
                (store.count_admitted(new, 3), store.count_admitted(old, 3)),
                (0, 0),
                "{algorithm:?}"
            );
        }
        store.clock.advance(PERIOD);
        assert_eq!(store.count_admitted(new, 20), 10, "{algorithm:?}");
    }
}

/// Each entry of a damaged log counts for at most one period, and the call does not fail.
#[test]
fn b16_a_damaged_log_rejects_for_at_most_one_period() {
    let store = TimedStore::new();
    let request = limit_request(1, quota(Algorithm::SlidingWindow, 2, 1));
    store.clock.advance(PERIOD * 3_600);
    assert_eq!(store.count_admitted(request, 1), 1);
    let key = crate::damage::single_key(&store.server, "*:l:*");
    let now = store.now().as_micros().to_string();
    for moments in [
        &["9000000000000000000", "5"][..],
        &[&now, "5"],
        &[&now, "-5"],
        &["9000000000000000000", &now, "5"],
        &[&now, &now, "1e300"],
        &["nan", &now, &now],
        &[&now, "nan", &now],
        &["inf", "-inf", &now],
        &["x", "", &now],
        &[&now, &now, "5"],
        &[&now, "nan"],
    ] {
        store.server.command(&["DEL", &key]);
        store.server.command(&[&["RPUSH", &key], moments].concat());
        let free = store.acquire_one(LimitRequest { cost: 0, ..request });
        assert!(free.resets_in <= PERIOD, "{moments:?}: {free:?}");
        let taken = store.acquire_one(LimitRequest { cost: 2, ..request });
        assert!(
            taken.wait.is_none_or(|wait| wait <= PERIOD),
            "{moments:?}: {taken:?}"
        );
        assert!(taken.resets_in <= PERIOD, "{moments:?}: {taken:?}");
    }
}

/// Checks that every key of an algorithm has an expiry.
#[test]
fn b04_every_bucket_expires() {
    let store = TimedStore::new();
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        store.count_admitted(limit_request(limit, quota(algorithm, 10, 10)), 3);
    }
    let Reply::Array(keys) = store.server.command(&["KEYS", "*:l:*"]) else {
        panic!("no keys")
    };
    assert_eq!(keys.len(), ALGORITHMS.len());
    for key in keys {
        let Reply::Bytes(key) = key else {
            panic!("no name")
        };
        let key = String::from_utf8(key.to_vec()).expect("plain text");
        let Reply::Integer(expiry) = store.server.command(&["PTTL", &key]) else {
            panic!("no expiry")
        };
        assert!((1..=1_000_000).contains(&expiry), "{key}: {expiry} ms");
    }
}

/// Takes `Quota::MAX_LOG` tokens, the maximum for one log, with one request.
#[test]
fn b01_the_longest_log_fits() {
    let store = TimedStore::new();
    let all = LimitRequest {
        cost: Quota::MAX_LOG,
        ..limit_request(1, quota(Algorithm::SlidingWindow, Quota::MAX_LOG, 1))
    };
    assert_eq!(store.acquire_one(all).remaining, 0);
    assert_eq!(
        store.acquire_one(LimitRequest { cost: 1, ..all }).wait,
        Some(PERIOD)
    );
    store.clock.advance(PERIOD);
    assert_eq!(store.acquire_one(all).wait, None);
}

/// Compares the scripts with the reference for the longest periods and the largest bursts.
#[test]
fn b03_the_scripts_count_exactly_for_the_longest_periods_and_largest_bursts() {
    let store = TimedStore::new();
    let century = 100 * 365 * 24 * 60 * 60 * 1_000_000_u64;
    let quota = |algorithm, permits: u64, micros: u64, burst: u64| {
        let period = Duration::from_micros(micros);
        match algorithm {
            Algorithm::LeakyBucket => Quota::leaky_bucket(permits, period, burst),
            Algorithm::FixedWindow => Quota::fixed_window(permits, period),
            Algorithm::SlidingWindow => Quota::sliding_window(permits, period),
            _ => Quota::new(permits, period, burst),
        }
    };
    let any_size = || {
        prop_oneof![
            Just(1),
            2_u64..20,
            Just(1_000_003),
            Just(3_153_600_007),
            Just(century / 7),
            Just(century)
        ]
    };
    let quotas = (
        prop::sample::select(&ALGORITHMS[..]),
        any_size(),
        any_size(),
        any_size(),
    )
        .prop_filter_map("valid", move |(algorithm, permits, micros, burst)| {
            quota(algorithm, permits, micros, burst)
        });
    let steps = prop::collection::vec((0_u64..=1_000, 0_u64..=4, any::<bool>(), any_size()), 1..20);
    let buckets = Cell::new(0);
    let result = TestRunner::default().run(&(quotas, steps), |(quota, steps)| {
        // Shorter windows expire by the server's own clock during the test.
        prop_assume!(Duration::from_micros(quota.window()) >= PERIOD);
        let started = store.now();
        let bucket = buckets.replace(buckets.get() + 1);
        let mut reference = ReferenceBucket::default();
        for (share, cost, exact, max_wait) in steps {
            store.clock.advance(Duration::from_micros(
                (quota.window() / 1_000)
                    .saturating_mul(share)
                    .min(century / 50),
            ));
            let cost = if exact {
                quota.burst() / (cost + 1)
            } else {
                quota.burst().min(cost)
            };
            let request = LimitRequest {
                cost,
                max_queue_wait: Duration::from_micros(max_wait),
                ..limit_request(bucket, quota)
            };
            prop_assert_eq!(
                store.acquire_one(request),
                reference.acquire(&request, store.now()),
                "{:?}",
                request
            );
        }
        store.clock.step_back(store.now().since(started));
        Ok(())
    });
    result.expect("the store agrees with the reference");
}
