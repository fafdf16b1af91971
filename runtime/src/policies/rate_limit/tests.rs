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

/// A store of buckets, and its clock.
struct Bench {
    limits: MemoryLimits,
    clock: TestClock,
}

impl Bench {
    fn new() -> Self {
        let clock = TestClock::new();
        Self {
            limits: MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
            clock,
        }
    }

    fn take(&self, claim: LimitRequest<'_>) -> LimitStatus {
        self.limits.take(&[claim]).statuses[0]
    }

    fn admits(&self, claim: LimitRequest<'_>) -> bool {
        self.take(claim).wait.is_none()
    }

    /// How many of so many requests are admitted.
    fn count(&self, claim: LimitRequest<'_>, tries: usize) -> usize {
        (0..tries).filter(|_| self.admits(claim)).count()
    }
}

fn claim(quota: Option<Quota>) -> LimitRequest<'static> {
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
fn b01_a_full_bucket_admits_its_burst_and_no_more() {
    let (bench, claim) = (Bench::new(), claim(Quota::new(100, SECOND * 60, 20)));
    for left in (0..20).rev() {
        assert_eq!(bench.take(claim).remaining, left);
    }
    assert_eq!(bench.take(claim).wait, Some(Duration::from_millis(600)));
}

#[test]
fn b01_one_token_comes_back_after_its_interval() {
    let (bench, claim) = (Bench::new(), claim(Quota::new(100, SECOND * 60, 1)));
    assert!(bench.admits(claim));
    bench.clock.advance(Duration::from_micros(599_999));
    assert!(!bench.admits(claim));
    bench.clock.advance(MICRO);
    assert!(bench.admits(claim));
}

#[test]
fn b01_a_leaky_bucket_gives_each_request_its_turn() {
    let (bench, claim) = (Bench::new(), claim(Quota::leaky_bucket(10, SECOND, 3)));
    let turns: Vec<_> = (0..3).map(|_| bench.take(claim).turn.as_millis()).collect();
    assert_eq!(turns, [0, 100, 200]);
    assert_eq!(
        bench.take(claim).wait,
        Some(Duration::from_millis(100)),
        "the queue is full"
    );
    bench.clock.advance(Duration::from_millis(150));
    assert_eq!(bench.take(claim).turn, Duration::from_millis(150));
}

#[test]
fn b01_a_leaky_bucket_refuses_whose_turn_comes_too_late() {
    let (bench, claim) = (Bench::new(), claim(Quota::leaky_bucket(10, SECOND, 100)));
    let hasty = LimitRequest {
        max_queue_wait: Duration::from_millis(250),
        ..claim
    };
    assert_eq!(bench.count(hasty, 10), 3);
    assert_eq!(bench.take(hasty).wait, Some(Duration::from_millis(50)));
    assert_eq!(
        bench.take(claim).turn,
        Duration::from_millis(300),
        "who refused has taken nothing"
    );
    bench.clock.advance(Duration::from_millis(150));
    assert!(bench.admits(hasty));
}

#[test]
fn b01_a_fixed_window_begins_anew_with_the_period() {
    let (bench, claim) = (Bench::new(), claim(Quota::fixed_window(5, SECOND * 60)));
    bench.clock.advance(SECOND * 59);
    assert_eq!(bench.count(claim, 9), 5);
    assert_eq!(bench.take(claim).wait, Some(SECOND));
    bench.clock.advance(SECOND);
    assert_eq!(
        bench.count(claim, 9),
        5,
        "twice the limit within a second: the published worst case"
    );
}

#[test]
fn b01_a_sliding_window_admits_the_limit_in_any_period() {
    let (bench, claim) = (Bench::new(), claim(Quota::sliding_window(5, SECOND * 60)));
    bench.clock.advance(SECOND * 59);
    assert_eq!(bench.count(claim, 3), 3);
    bench.clock.advance(SECOND * 30);
    assert_eq!(bench.count(claim, 9), 2);
    assert_eq!(bench.take(claim).wait, Some(SECOND * 30));
    assert_eq!(
        bench.take(LimitRequest { cost: 4, ..claim }).wait,
        Some(SECOND * 60)
    );
    bench.clock.advance(SECOND * 30);
    assert_eq!(bench.count(claim, 9), 3);
}

#[test]
fn b06_reset_is_when_the_bucket_is_full() {
    let all = ALGORITHMS.map(|algorithm| {
        let bench = Bench::new();
        let dear = LimitRequest {
            cost: 3,
            ..claim(quota(algorithm, 100, SECOND * 60, 100))
        };
        bench.clock.advance(SECOND);
        let reading = bench.take(dear);
        (reading.remaining, reading.resets_in.as_millis())
    });
    assert_eq!(all, [(97, 1_800), (97, 1_800), (97, 59_000), (97, 60_000)]);
}

#[test]
fn peeking_takes_nothing_and_waits_for_nothing() {
    for algorithm in ALGORITHMS {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, 10, SECOND, 10)));
        let peek = LimitRequest { cost: 0, ..claim };
        assert_eq!(
            bench.take(peek),
            LimitStatus {
                remaining: 10,
                ..LimitStatus::default()
            }
        );
        assert_eq!(bench.limits.active(), 0);
        bench.take(LimitRequest { cost: 10, ..claim });
        let peeked = bench.take(peek);
        assert_eq!(
            (peeked.remaining, peeked.wait, peeked.turn),
            (0, None, Duration::ZERO),
            "{algorithm:?}"
        );
        assert_eq!(bench.take(peek), peeked);
    }
}

#[test]
fn a_clock_that_steps_back_takes_all_and_gives_it_back_within_one_refill() {
    for algorithm in ALGORITHMS {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, 10, SECOND, 10)));
        bench.clock.advance(SECOND * 3_600);
        bench.count(claim, 7);
        bench.clock.step_back(SECOND * 3_600);
        let admitted = bench.count(claim, 20);
        assert!(admitted <= 3, "{algorithm:?} admits {admitted} more");
        bench.clock.advance(SECOND);
        let admitted = bench.count(claim, 20);
        assert!(
            (1..=10).contains(&admitted),
            "{algorithm:?} admits {admitted} after a refill"
        );
        bench.clock.advance(SECOND * 2);
        assert_eq!(bench.count(claim, 20), 10, "{algorithm:?}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_refills_and_no_more() {
    for algorithm in ALGORITHMS {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, 10, SECOND, 10)));
        bench.count(claim, 10);
        bench.clock.advance(SECOND * 3_600 * 24 * 365 * 200);
        assert_eq!(bench.count(claim, 20), 10, "{algorithm:?}");
    }
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(&ALGORITHMS[..])
}

proptest! {
    /// Whatever the arrivals and costs, each algorithm says what a list of all that was admitted says.
    #[test]
    fn b01_every_algorithm_agrees_with_a_list_of_moments(
        algorithm in algorithm(),
        permits in 1_u64..30,
        burst in 1_u64..30,
        steps in prop::collection::vec((arrival(), 0_u64..8, patience()), 1..200),
    ) {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, permits, SECOND, burst)));
        let mut reference = ReferenceBucket::default();
        for (wait, cost, patience) in steps {
            bench.clock.advance(wait);
            let claim = LimitRequest { cost: cost.min(claim.quota.burst()), max_queue_wait: patience, ..claim };
            prop_assert_eq!(bench.take(claim), reference.acquire(&claim, bench.clock.now()));
        }
        let most = match algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => burst + permits,
            Algorithm::FixedWindow => 2 * permits,
            Algorithm::SlidingWindow => permits,
        };
        prop_assert!(reference.most_in_any(SECOND) <= most);
    }

    /// Requests of one token that wait their turn are let go at the rate: no more than the limit in any period.
    #[test]
    fn b01_a_leaky_bucket_lets_go_no_more_than_the_limit(
        permits in 1_u64..30,
        depth in 1_u64..60,
        steps in prop::collection::vec(arrival(), 1..200),
    ) {
        let (bench, claim) = (Bench::new(), claim(Quota::leaky_bucket(permits, SECOND, depth)));
        let mut gone = Vec::new();
        for wait in steps {
            bench.clock.advance(wait);
            let reading = bench.take(claim);
            if reading.wait.is_none() {
                gone.push(bench.clock.now().after(reading.turn));
            }
        }
        for (index, from) in gone.iter().enumerate() {
            let within = gone[index..].iter().filter(|at| at.since(*from) < SECOND).count();
            prop_assert!(within as u64 <= permits);
        }
    }

    /// A client that waits as long as it is told is admitted, and not a microsecond earlier.
    #[test]
    fn b06_the_wait_is_exact(
        algorithm in algorithm(),
        permits in 1_u64..1000,
        burst in 1_u64..20,
        steps in prop::collection::vec((arrival(), 1_u64..20, patience()), 1..20),
    ) {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, permits, SECOND, burst)));
        for (wait, cost, patience) in steps {
            bench.clock.advance(wait);
            let claim = LimitRequest { cost: cost.min(claim.quota.burst()), max_queue_wait: patience, ..claim };
            if let Some(wait) = bench.take(claim).wait {
                bench.clock.advance(wait.checked_sub(MICRO).expect("a wait is not nothing"));
                prop_assert!(!bench.admits(claim));
                bench.clock.advance(MICRO);
                prop_assert!(bench.admits(claim));
            }
        }
    }

    /// Wherever the clock goes, nothing panics, and a bucket that is left alone for a refill and a window is
    /// full.
    #[test]
    fn a_clock_that_jumps_does_no_lasting_harm(
        algorithm in algorithm(),
        steps in prop::collection::vec((any::<bool>(), 0_u64..10_000_000_000, 0_u64..8), 1..60),
    ) {
        let (bench, claim) = (Bench::new(), claim(quota(algorithm, 10, SECOND, 10)));
        for (back, micros, cost) in steps {
            let by = Duration::from_micros(micros);
            if back { bench.clock.step_back(by) } else { bench.clock.advance(by) }
            let reading = bench.take(LimitRequest { cost, ..claim });
            prop_assert!(reading.remaining <= 10 && reading.resets_in <= SECOND);
            prop_assert!(reading.wait.is_none_or(|wait| wait <= SECOND));
        }
        bench.take(claim);
        bench.clock.advance(SECOND * 2);
        prop_assert_eq!(bench.take(LimitRequest { cost: 0, ..claim }).remaining, 10);
    }
}

/// Often at once, sometimes after a while, now and then after much longer.
fn arrival() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => Just(Duration::ZERO),
        4 => (0_u64..400_000).prop_map(Duration::from_micros),
        1 => (0_u64..5_000_000).prop_map(Duration::from_micros),
    ]
}

fn patience() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::MAX),
        (0_u64..1_000_000).prop_map(Duration::from_micros)
    ]
}
