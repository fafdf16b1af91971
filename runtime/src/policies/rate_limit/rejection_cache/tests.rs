use std::sync::Arc;

use proptest::prelude::*;

use super::super::decide::BucketState;
use super::super::quota::Quota;
use super::super::store::{Bucket, LimitSubject};
use super::*;
use crate::clock::Clock;
use crate::request::Caller;
use crate::store::MemoryLimits;
use crate::testing::TestClock;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// Returns a request for one token of a bucket of 10 tokens. One token refills every `seconds`.
fn request(limit: u64, seconds: u64) -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_secs(seconds), 10).expect("valid");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

/// Returns the rejection of requests whose buckets are empty.
fn reject(requests: &[LimitRequest<'_>]) -> Acquired {
    let empty = |request: &LimitRequest<'_>| BucketState::Ahead(request.quota.window());
    Acquired::decide(requests, &requests.iter().map(empty).collect::<Vec<_>>())
}

fn cache_of(requests: &[LimitRequest<'_>]) -> RejectionCache {
    let cache = RejectionCache::new();
    cache.insert(requests, &reject(requests), START, START);
    cache
}

fn millis(count: u64) -> Timestamp {
    START.after(Duration::from_millis(count))
}

#[test]
fn b14_a_rejection_is_cached_for_a_second() {
    let requests = [request(1, 60)];
    let cache = cache_of(&requests);
    for at in [0, 500, 999] {
        let found = cache.find(&requests, millis(at)).expect("still cached");
        assert_eq!((found.admitted, found.statuses[0].remaining), (false, 0));
        assert_eq!(
            found.statuses[0].wait,
            Some(Duration::from_millis(60_000 - at))
        );
        assert_eq!(
            found.statuses[0].resets_in,
            Duration::from_millis(600_000 - at)
        );
    }
    assert_eq!(cache.find(&requests, millis(1000)), None);
}

#[test]
fn b14_a_rejection_expires_when_its_wait_has_passed() {
    let quota = Quota::new(4, Duration::from_secs(1), 10).expect("valid");
    let requests = [LimitRequest {
        quota,
        ..request(1, 1)
    }];
    let cache = cache_of(&requests);
    assert!(cache.find(&requests, millis(249)).is_some());
    assert_eq!(
        cache.find(&requests, millis(250)),
        None,
        "a token has refilled"
    );
}

#[test]
fn b14_a_rejection_applies_only_to_the_same_requests() {
    let requests = [request(1, 60), request(2, 60)];
    let cache = cache_of(&requests);
    let alice = Caller::new("alice");
    let by_alice = LimitRequest {
        bucket: Bucket {
            limit: 1,
            subject: LimitSubject::Caller(&alice),
        },
        ..request(1, 60)
    };
    let cost_2 = LimitRequest {
        cost: 2,
        ..request(1, 60)
    };
    for others in [
        &[request(1, 60)][..],
        &[request(2, 60), request(1, 60)],
        &[request(1, 60), request(3, 60)],
        &[by_alice, request(2, 60)],
        &[cost_2, request(2, 60)],
    ] {
        assert_eq!(cache.find(others, START), None, "{others:?}");
    }
    assert!(cache.find(&requests, START).is_some());
}

#[test]
fn b14_an_admission_is_not_cached() {
    let requests = [request(1, 60)];
    let cache = RejectionCache::new();
    cache.insert(
        &requests,
        &Acquired::decide(&requests, &[BucketState::Ahead(0)]),
        START,
        START,
    );
    assert!(cache.find(&requests, START).is_none() && !cache.may_have_entries(|| START));
}

#[test]
fn b14_a_shadow_limit_neither_rejects_nor_prolongs_a_rejection() {
    let quota = Quota::new(4, Duration::from_secs(1), 10).expect("valid");
    let shadow = LimitRequest {
        shadow: true,
        ..request(2, 60)
    };
    let requests = [
        LimitRequest {
            quota,
            ..request(1, 1)
        },
        shadow,
    ];
    let cache = cache_of(&requests);
    assert!(cache.find(&requests, millis(249)).is_some());
    assert_eq!(
        cache.find(&requests, millis(250)),
        None,
        "the wait of the enforced limit has passed"
    );
    let only_shadow = [shadow];
    let cache = cache_of(&only_shadow);
    assert!(cache.find(&only_shadow, START).is_none());
}

#[test]
fn b14_a_slow_reply_neither_prolongs_a_rejection_nor_shortens_its_wait() {
    let requests = [request(1, 1)];
    let cache = RejectionCache::new();
    cache.insert(&requests, &reject(&requests), START, millis(200));
    let found = cache.find(&requests, millis(500)).expect("still cached");
    assert_eq!(
        found.statuses[0].wait,
        Some(Duration::from_millis(700)),
        "the wait counts from the reply"
    );
    assert_eq!(
        cache.find(&requests, millis(1000)),
        None,
        "the expiry counts from the call"
    );
}

#[test]
fn b14_a_request_that_can_wait_longer_is_not_rejected() {
    let quota = Quota::leaky_bucket(1, Duration::from_secs(1), 10).expect("valid");
    let waiting = |seconds| {
        [LimitRequest {
            quota,
            max_queue_wait: Duration::from_secs(seconds),
            ..request(1, 1)
        }]
    };
    let decide = |requests: &[LimitRequest<'_>]| {
        Acquired::decide(requests, &[BucketState::Ahead(5_000_000)])
    };
    assert!(!decide(&waiting(3)).admitted && decide(&waiting(6)).admitted);
    let cache = RejectionCache::new();
    cache.insert(&waiting(3), &decide(&waiting(3)), START, START);
    assert_eq!(
        cache.find(&waiting(6), START),
        None,
        "the store admits the request"
    );
    assert_eq!(
        cache.find(&waiting(5), START),
        None,
        "the turn of the request comes just in time"
    );
    for seconds in [0, 3, 4] {
        assert!(
            cache.find(&waiting(seconds), millis(999)).is_some(),
            "{seconds}"
        );
    }
}

#[test]
fn b14_a_clock_that_steps_back_ends_a_rejection() {
    let requests = [request(1, 60)];
    let cache = cache_of(&requests);
    assert_eq!(
        cache.find(&requests, Timestamp::from_micros(START.as_micros() - 1)),
        None
    );
}

#[test]
fn b14_the_clock_is_not_read_before_the_first_rejection() {
    assert!(!RejectionCache::new().may_have_entries(|| panic!("no request was rejected")));
    let cache = cache_of(&[request(1, 60)]);
    assert!(cache.may_have_entries(|| millis(999)) && !cache.may_have_entries(|| millis(1000)));
}

#[test]
fn b14_the_number_of_cached_rejections_is_bounded() {
    let cache = RejectionCache::new();
    for limit in 0..10_000 {
        let requests = [request(limit, 60)];
        cache.insert(&requests, &reject(&requests), START, START);
    }
    let found = (0..10_000)
        .filter(|limit| cache.find(&[request(*limit, 60)], START).is_some())
        .count();
    assert!((3_500..=4_096).contains(&found), "{found}");
    assert_eq!(found, cache.table.sum(|part| part.values().count()));
}

#[test]
fn b14_the_rejection_that_expires_first_is_dropped() {
    let cache = RejectionCache::new();
    let insert = |limit, asked_at| {
        let requests = [request(limit, 60)];
        cache.insert(&requests, &reject(&requests), asked_at, asked_at);
    };
    (0..10_000).for_each(|limit| insert(limit, START));
    (10_000..10_200).for_each(|limit| insert(limit, millis(500)));
    let found =
        (10_000..10_200).filter(|limit| cache.find(&[request(*limit, 60)], millis(500)).is_some());
    assert_eq!(found.count(), 200);
}

/// Generates quotas of all four algorithms.
fn quota() -> impl Strategy<Value = Quota> {
    let kinds = [
        |permits| Quota::new(permits, SECOND, BURST),
        |permits| Quota::leaky_bucket(permits, SECOND, BURST),
        |_| Quota::fixed_window(BURST, SECOND),
        |_| Quota::sliding_window(BURST, SECOND),
    ];
    (prop::sample::select(kinds.to_vec()), 1_u64..1000)
        .prop_map(|(kind, permits)| kind(permits).expect("valid"))
}

const SECOND: Duration = Duration::from_secs(1);
const BURST: u64 = 20;

proptest! {
    /// An aged status equals the later status of the bucket, if no tokens are taken in between.
    #[test]
    fn b14_an_aged_status_equals_the_later_status_of_the_bucket(
        quota in quota(),
        taken in prop::collection::vec((0_u64..300_000, 1_u64..10), 1..6),
        cost in 1_u64..=BURST,
        elapsed in 0_u64..1_500_000,
    ) {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let take = |cost| limits.take(&[LimitRequest { quota, cost, ..request(1, 1) }]);
        for (pause, cost) in taken {
            clock.advance(Duration::from_micros(pause));
            take(cost);
        }
        let now = take(cost).statuses[0];
        clock.advance(Duration::from_micros(elapsed));
        let then = take(cost).statuses[0];
        if now.wait.is_some() && then.wait.is_some() {
            let aged = status_after(now, quota, Duration::from_micros(elapsed));
            // The cache does not know which tokens have left a log.
            let remaining = if quota.algorithm() == Algorithm::SlidingWindow { aged.remaining } else { then.remaining };
            prop_assert!(aged.remaining <= then.remaining);
            prop_assert_eq!(aged, LimitStatus { remaining, ..then });
        }
    }

    /// A cached rejection applies only while the store would reject the request, for a second at
    /// most, and its wait is never too short. The duration of the call does not matter.
    #[test]
    fn b14_the_cache_rejects_no_request_that_the_store_would_admit(
        quota in quota(),
        used in 1_u64..=BURST,
        cost in 1_u64..=BURST,
        (delay, before) in (0_u64..300_000).prop_flat_map(|delay| (Just(delay), 0..=delay)),
        later in 0_u64..2_000_000,
    ) {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let requests = [LimitRequest { quota, cost, ..request(1, 1) }];
        limits.take(&[LimitRequest { cost: used, ..requests[0] }]);
        let decided = clock.now();
        let rejected = limits.take(&requests);
        let asked_at = Timestamp::from_micros(decided.as_micros() - before);
        let answered_at = asked_at.after(Duration::from_micros(delay));
        let cache = RejectionCache::new();
        cache.insert(&requests, &rejected, asked_at, answered_at);
        let now = answered_at.after(Duration::from_micros(later));
        if let Some(found) = cache.find(&requests, now) {
            clock.advance(now.since(decided));
            let wait = limits.take(&requests).statuses[0].wait;
            prop_assert!(wait.is_some() && found.statuses[0].wait >= wait);
            prop_assert!(now.since(asked_at) < MAX_AGE);
        }
    }
}
