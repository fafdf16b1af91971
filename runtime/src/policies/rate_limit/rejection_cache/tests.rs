use std::sync::Arc;

use proptest::prelude::*;

use super::super::decide::State;
use super::super::quota::Quota;
use super::super::store::{Bucket, LimitSubject};
use super::*;
use crate::clock::Clock;
use crate::request::Caller;
use crate::store::MemoryLimits;
use crate::testing::TestClock;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// One of 10 tokens, of which one comes back every `seconds`.
fn claim(limit: u64, seconds: u64) -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_secs(seconds), 10).expect("valid");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

/// What comes of claims on empty buckets.
fn refusal(claims: &[LimitRequest<'_>]) -> Acquired {
    let empty = |claim: &LimitRequest<'_>| State::Ahead(claim.quota.window());
    Acquired::of(claims, &claims.iter().map(empty).collect::<Vec<_>>())
}

fn noted(claims: &[LimitRequest<'_>]) -> RejectionCache {
    let denials = RejectionCache::new();
    denials.insert(claims, &refusal(claims), START, START);
    denials
}

fn millis(count: u64) -> Timestamp {
    START.after(Duration::from_millis(count))
}

#[test]
fn b14_a_refusal_is_remembered_for_a_second_and_no_longer() {
    let claims = [claim(1, 60)];
    let denials = noted(&claims);
    for at in [0, 500, 999] {
        let told = denials.find(&claims, millis(at)).expect("still refused");
        assert_eq!((told.admitted, told.statuses[0].remaining), (false, 0));
        assert_eq!(
            told.statuses[0].wait,
            Some(Duration::from_millis(60_000 - at))
        );
        assert_eq!(
            told.statuses[0].resets_in,
            Duration::from_millis(600_000 - at)
        );
    }
    assert_eq!(denials.find(&claims, millis(1000)), None);
}

#[test]
fn b14_a_refusal_ends_with_its_wait() {
    let quota = Quota::new(4, Duration::from_secs(1), 10).expect("valid");
    let claims = [LimitRequest {
        quota,
        ..claim(1, 1)
    }];
    let denials = noted(&claims);
    assert!(denials.find(&claims, millis(249)).is_some());
    assert_eq!(
        denials.find(&claims, millis(250)),
        None,
        "a token is there again"
    );
}

#[test]
fn b14_other_claims_are_not_refused() {
    let claims = [claim(1, 60), claim(2, 60)];
    let denials = noted(&claims);
    let alice = Caller::new("alice");
    let hers = LimitRequest {
        bucket: Bucket {
            limit: 1,
            subject: LimitSubject::Caller(&alice),
        },
        ..claim(1, 60)
    };
    let dearer = LimitRequest {
        cost: 2,
        ..claim(1, 60)
    };
    for others in [
        &[claim(1, 60)][..],
        &[claim(2, 60), claim(1, 60)],
        &[claim(1, 60), claim(3, 60)],
        &[hers, claim(2, 60)],
        &[dearer, claim(2, 60)],
    ] {
        assert_eq!(denials.find(others, START), None, "{others:?}");
    }
    assert!(denials.find(&claims, START).is_some());
}

#[test]
fn b14_what_was_admitted_is_not_remembered() {
    let claims = [claim(1, 60)];
    let denials = RejectionCache::new();
    denials.insert(
        &claims,
        &Acquired::of(&claims, &[State::Ahead(0)]),
        START,
        START,
    );
    assert!(denials.find(&claims, START).is_none() && !denials.any(|| START));
}

#[test]
fn b14_a_shadow_neither_refuses_nor_prolongs() {
    let quota = Quota::new(4, Duration::from_secs(1), 10).expect("valid");
    let shadow = LimitRequest {
        shadow: true,
        ..claim(2, 60)
    };
    let claims = [
        LimitRequest {
            quota,
            ..claim(1, 1)
        },
        shadow,
    ];
    let denials = noted(&claims);
    assert!(denials.find(&claims, millis(249)).is_some());
    assert_eq!(
        denials.find(&claims, millis(250)),
        None,
        "the wait of the limit that is enforced"
    );
    let alone = [shadow];
    let denials = noted(&alone);
    assert!(denials.find(&alone, START).is_none());
}

#[test]
fn b14_a_slow_answer_neither_prolongs_a_refusal_nor_shortens_its_wait() {
    let claims = [claim(1, 1)];
    let denials = RejectionCache::new();
    denials.insert(&claims, &refusal(&claims), START, millis(200));
    let told = denials.find(&claims, millis(500)).expect("still refused");
    assert_eq!(
        told.statuses[0].wait,
        Some(Duration::from_millis(700)),
        "counted from the answer"
    );
    assert_eq!(
        denials.find(&claims, millis(1000)),
        None,
        "counted from the question"
    );
}

#[test]
fn b14_whoever_can_wait_longer_for_a_turn_is_not_refused_for_whoever_cannot() {
    let quota = Quota::leaky_bucket(1, Duration::from_secs(1), 10).expect("valid");
    let patient = |seconds| {
        [LimitRequest {
            quota,
            max_queue_wait: Duration::from_secs(seconds),
            ..claim(1, 1)
        }]
    };
    let refused = |claims: &[LimitRequest<'_>]| Acquired::of(claims, &[State::Ahead(5_000_000)]);
    assert!(!refused(&patient(3)).admitted && refused(&patient(6)).admitted);
    let denials = RejectionCache::new();
    denials.insert(&patient(3), &refused(&patient(3)), START, START);
    assert_eq!(
        denials.find(&patient(6), START),
        None,
        "the store gives it a turn"
    );
    assert_eq!(
        denials.find(&patient(5), START),
        None,
        "its turn comes just in time"
    );
    for seconds in [0, 3, 4] {
        assert!(
            denials.find(&patient(seconds), millis(999)).is_some(),
            "{seconds}"
        );
    }
}

#[test]
fn b14_a_clock_that_steps_back_ends_a_refusal() {
    let claims = [claim(1, 60)];
    let denials = noted(&claims);
    assert_eq!(
        denials.find(&claims, Timestamp::from_micros(START.as_micros() - 1)),
        None
    );
}

#[test]
fn b14_the_clock_is_looked_at_only_once_somebody_was_refused() {
    assert!(!RejectionCache::new().any(|| panic!("nobody was refused")));
    let denials = noted(&[claim(1, 60)]);
    assert!(denials.any(|| millis(999)) && !denials.any(|| millis(1000)));
}

#[test]
fn b14_memory_stays_within_its_bound() {
    let denials = RejectionCache::new();
    for limit in 0..10_000 {
        let claims = [claim(limit, 60)];
        denials.insert(&claims, &refusal(&claims), START, START);
    }
    let found = (0..10_000)
        .filter(|limit| denials.find(&[claim(*limit, 60)], START).is_some())
        .count();
    assert!((3_500..=4_096).contains(&found), "{found}");
    assert_eq!(found, denials.table.sum(|part| part.values().count()));
}

#[test]
fn b14_the_refusal_that_ends_soonest_makes_room() {
    let denials = RejectionCache::new();
    let note = |limit, asked| {
        let claims = [claim(limit, 60)];
        denials.insert(&claims, &refusal(&claims), asked, asked);
    };
    (0..10_000).for_each(|limit| note(limit, START));
    (10_000..10_200).for_each(|limit| note(limit, millis(500)));
    let found =
        (10_000..10_200).filter(|limit| denials.find(&[claim(*limit, 60)], millis(500)).is_some());
    assert_eq!(found.count(), 200);
}

/// A quota of each kind, of so many tokens.
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
    /// What is told later is what the bucket would say then, if nobody took tokens.
    #[test]
    fn b14_a_reading_ages_as_its_bucket_does(
        quota in quota(),
        taken in prop::collection::vec((0_u64..300_000, 1_u64..10), 1..6),
        cost in 1_u64..=BURST,
        elapsed in 0_u64..1_500_000,
    ) {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let ask = |cost| limits.take(&[LimitRequest { quota, cost, ..claim(1, 1) }]);
        for (pause, cost) in taken {
            clock.advance(Duration::from_micros(pause));
            ask(cost);
        }
        let now = ask(cost).statuses[0];
        clock.advance(Duration::from_micros(elapsed));
        let then = ask(cost).statuses[0];
        if now.wait.is_some() && then.wait.is_some() {
            let aged = after(now, quota, Duration::from_micros(elapsed));
            // What has left a log meanwhile nobody knows who does not ask.
            let told = if quota.algorithm() == Algorithm::SlidingWindow { aged.remaining } else { then.remaining };
            prop_assert!(aged.remaining <= then.remaining);
            prop_assert_eq!(aged, LimitStatus { remaining: told, ..then });
        }
    }

    /// Whatever was refused, and however long the answer took: it is refused again only while its store
    /// would refuse it, for a second at most, and never told to come before that.
    #[test]
    fn b14_nobody_is_refused_whom_the_store_would_admit(
        quota in quota(),
        used in 1_u64..=BURST,
        cost in 1_u64..=BURST,
        (trip, before) in (0_u64..300_000).prop_flat_map(|trip| (Just(trip), 0..=trip)),
        later in 0_u64..2_000_000,
    ) {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let claims = [LimitRequest { quota, cost, ..claim(1, 1) }];
        limits.take(&[LimitRequest { cost: used, ..claims[0] }]);
        let decided = clock.now();
        let refused = limits.take(&claims);
        let asked = Timestamp::from_micros(decided.as_micros() - before);
        let answered = asked.after(Duration::from_micros(trip));
        let denials = RejectionCache::new();
        denials.insert(&claims, &refused, asked, answered);
        let now = answered.after(Duration::from_micros(later));
        if let Some(told) = denials.find(&claims, now) {
            clock.advance(now.since(decided));
            let wait = limits.take(&claims).statuses[0].wait;
            prop_assert!(wait.is_some() && told.statuses[0].wait >= wait);
            prop_assert!(now.since(asked) < LONGEST);
        }
    }
}
