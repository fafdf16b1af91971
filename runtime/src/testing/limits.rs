//! What every [`LimitStore`] must do.
//!
//! Each case takes a fresh store and a way to let its time pass.

use core::time::Duration;
use std::sync::Arc;

use super::Elapse;
use crate::policies::rate_limit::{
    Acquired, Algorithm, Bucket, LimitRequest, LimitStore, LimitSubject, Quota,
};
use crate::request::Caller;

/// Makes a test of every case: `limit_store_suite!(async { (store, time) })`, where `store` is an
/// `Arc` of a fresh [`LimitStore`] and `time` an [`Elapse`](crate::testing::Elapse).
///
/// Where servers are dear to start, all cases can share them, in one test:
/// `limit_store_suite!(all_cases: servers() => |servers, case| async { (store, time) })`, where `store` is as
/// fresh, such as by a namespace that is named after the case, and `time` a reference.
#[macro_export]
macro_rules! limit_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { limits, [$($setup)*],
            b01_a_bucket_admits_its_burst
            b01_a_token_comes_back_after_its_interval
            b01_a_leaky_bucket_gives_turns
            b01_a_fixed_window_begins_anew
            b01_a_sliding_window_slides
            b02_limits_of_all_kinds_decide_all_or_nothing
            b02_several_limits_decide_all_or_nothing
            b02_opposite_orders_do_not_lock
            b06_readings_tell_what_is_left
            b08_costs_take_several_tokens
            b08_a_cost_of_nothing_takes_nothing_and_is_admitted
            b09_subjects_have_buckets_of_their_own
            b17_a_shadow_takes_its_tokens_and_refuses_nothing
            b17_a_shadow_that_has_run_out_leaves_the_decision_to_the_others
            b17_a_refusal_takes_nothing_from_a_shadow
            concurrent_calls_admit_exactly_the_burst
        }
    };
}

/// Ten tokens, one every two seconds.
fn claim(limit: u64) -> LimitRequest<'static> {
    let quota = Quota::new(5, Duration::from_secs(10), 10).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

/// The same by another algorithm: ten tokens in twenty seconds, or in a day.
fn by(algorithm: Algorithm, limit: u64) -> LimitRequest<'static> {
    let quota = match algorithm {
        Algorithm::TokenBucket => Quota::new(5, Duration::from_secs(10), 10),
        Algorithm::LeakyBucket => Quota::leaky_bucket(5, Duration::from_secs(10), 10),
        // So long that it does not end while it is looked at.
        Algorithm::FixedWindow => Quota::fixed_window(10, DAY),
        Algorithm::SlidingWindow => Quota::sliding_window(10, Duration::from_secs(20)),
    };
    LimitRequest {
        quota: quota.expect("a valid quota"),
        ..claim(limit)
    }
}

const DAY: Duration = Duration::from_hours(24);

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

async fn take(store: &Arc<impl LimitStore>, claims: &[LimitRequest<'_>]) -> Acquired {
    store.acquire(claims).await.expect("the store answers")
}

async fn admitted(store: &Arc<impl LimitStore>, claim: LimitRequest<'_>, tries: usize) -> usize {
    let mut count = 0;
    for _ in 0..tries {
        count += usize::from(take(store, &[claim]).await.admitted);
    }
    count
}

/// A full bucket admits as many requests as its burst, then refuses with a wait.
pub async fn b01_a_bucket_admits_its_burst(store: Arc<impl LimitStore>, _: &impl Elapse) {
    assert_eq!(admitted(&store, claim(1), 10).await, 10);
    let refused = take(&store, &[claim(1)]).await;
    assert!(!refused.admitted);
    let wait = refused.statuses[0]
        .wait
        .expect("a refusal says how long to wait");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(2),
        "{wait:?}"
    );
}

/// After its interval a token is there again, and not two.
pub async fn b01_a_token_comes_back_after_its_interval(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    admitted(&store, claim(1), 10).await;
    time.elapse(Duration::from_secs(2)).await;
    assert_eq!(admitted(&store, claim(1), 1).await, 1);
    assert_eq!(admitted(&store, claim(1), 1).await, 0);
}

/// A leaky bucket admits as many requests as it holds, each with its turn; those whose turn comes too late
/// it refuses.
pub async fn b01_a_leaky_bucket_gives_turns(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let claim = by(Algorithm::LeakyBucket, 1);
    for place in 0..10 {
        let (turn, latest) = (
            take(&store, &[claim]).await.statuses[0].turn,
            Duration::from_secs(2) * place,
        );
        assert!(
            turn <= latest && turn + Duration::from_secs(2) > latest,
            "{turn:?}, and not {latest:?}"
        );
    }
    let refused = take(&store, &[claim]).await.statuses[0];
    assert!(
        refused
            .wait
            .is_some_and(|wait| wait <= Duration::from_secs(2))
            && refused.turn.is_zero()
    );
    let hasty = LimitRequest {
        max_queue_wait: Duration::from_secs(3),
        ..by(Algorithm::LeakyBucket, 2)
    };
    assert_eq!(admitted(&store, hasty, 5).await, 2);
}

/// A fixed window admits its limit, and again once the next has begun.
pub async fn b01_a_fixed_window_begins_anew(store: Arc<impl LimitStore>, time: &impl Elapse) {
    let claim = by(Algorithm::FixedWindow, 1);
    assert_eq!(admitted(&store, claim, 12).await, 10);
    let refused = take(&store, &[claim]).await.statuses[0];
    assert_eq!(refused.wait, Some(refused.resets_in));
    assert!(refused.resets_in <= DAY && refused.remaining == 0);
    if time.is_quick() {
        time.elapse(DAY).await;
        assert_eq!(admitted(&store, claim, 12).await, 10);
    }
}

/// A sliding window admits its limit; what has left it makes room for as many.
pub async fn b01_a_sliding_window_slides(store: Arc<impl LimitStore>, time: &impl Elapse) {
    let claim = by(Algorithm::SlidingWindow, 1);
    assert_eq!(admitted(&store, claim, 4).await, 4);
    time.elapse(Duration::from_secs(12)).await;
    assert_eq!(admitted(&store, claim, 12).await, 6);
    let refused = take(&store, &[claim]).await.statuses[0];
    assert!(
        refused
            .wait
            .is_some_and(|wait| wait <= Duration::from_secs(8)),
        "{:?}",
        refused.wait
    );
    time.elapse(Duration::from_secs(8)).await;
    assert_eq!(admitted(&store, claim, 12).await, 4);
}

/// Whichever of several limits refuses, and however it counts, the others are left untouched.
pub async fn b02_limits_of_all_kinds_decide_all_or_nothing(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let others: Vec<LimitRequest<'static>> = (1..)
            .zip(ALGORITHMS)
            .map(|(other, algorithm)| by(algorithm, 10 * limit + other))
            .collect();
        let exhausted = by(algorithm, limit);
        assert_eq!(admitted(&store, exhausted, 10).await, 10, "{algorithm:?}");
        let mut all = others.clone();
        all.push(exhausted);
        let refused = take(&store, &all).await;
        assert!(
            !refused.admitted && refused.statuses[4].wait.is_some(),
            "{algorithm:?}: {refused:?}"
        );
        assert!(
            refused.statuses[..4]
                .iter()
                .all(|reading| reading.remaining == 10 && reading.wait.is_none())
        );
        let admitted = take(&store, &others).await;
        assert!(
            admitted.admitted
                && admitted
                    .statuses
                    .iter()
                    .all(|reading| reading.remaining == 9)
        );
    }
}

/// A claim that is refused leaves every other bucket of the call untouched.
pub async fn b02_several_limits_decide_all_or_nothing(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    admitted(&store, claim(2), 10).await;
    for _ in 0..5 {
        let both = take(&store, &[claim(1), claim(2)]).await;
        assert!(!both.admitted);
        assert_eq!(
            (both.statuses[0].remaining, both.statuses[0].wait),
            (10, None)
        );
        assert!(both.statuses[1].wait.is_some());
    }
    assert_eq!(take(&store, &[claim(1)]).await.statuses[0].remaining, 9);
}

/// Calls that name the same buckets in opposite orders go on.
pub async fn b02_opposite_orders_do_not_lock(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let run = |claims: [LimitRequest<'static>; 2]| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut count = 0;
            for _ in 0..200 {
                count += usize::from(take(&store, &claims).await.admitted);
            }
            count
        })
    };
    let (forth, back) = (run([claim(1), claim(2)]), run([claim(2), claim(1)]));
    let count = forth.await.expect("no panic") + back.await.expect("no panic");
    assert!(count >= 10, "{count} admitted");
}

/// The readings say what is left and when the bucket is full.
pub async fn b06_readings_tell_what_is_left(store: Arc<impl LimitStore>, time: &impl Elapse) {
    for left in (7..10).rev() {
        assert_eq!(take(&store, &[claim(1)]).await.statuses[0].remaining, left);
    }
    time.elapse(Duration::from_secs(4)).await;
    let reading = take(&store, &[claim(1)]).await.statuses[0];
    assert_eq!(reading.remaining, 8);
    assert!(
        reading.resets_in <= Duration::from_secs(4),
        "{:?}",
        reading.resets_in
    );
}

/// A request takes as many tokens as it costs, or none.
pub async fn b08_costs_take_several_tokens(store: Arc<impl LimitStore>, _: &impl Elapse) {
    let dear = LimitRequest {
        cost: 4,
        ..claim(1)
    };
    assert_eq!(admitted(&store, dear, 3).await, 2);
    assert_eq!(admitted(&store, claim(1), 3).await, 2);
}

/// What costs nothing is admitted by an empty bucket, too, takes nothing, and does not wait for a turn.
pub async fn b08_a_cost_of_nothing_takes_nothing_and_is_admitted(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let claim = by(algorithm, limit);
        let free = LimitRequest {
            cost: 0,
            max_queue_wait: Duration::ZERO,
            ..claim
        };
        assert_eq!(
            take(&store, &[free]).await.statuses[0].remaining,
            10,
            "{algorithm:?}"
        );
        assert_eq!(admitted(&store, claim, 10).await, 10, "{algorithm:?}");
        let reading = take(&store, &[free]).await.statuses[0];
        assert_eq!(
            (reading.remaining, reading.wait, reading.turn),
            (0, None, Duration::ZERO),
            "{algorithm:?}"
        );
    }
}

/// Callers, addresses, keys and everyone are told apart.
pub async fn b09_subjects_have_buckets_of_their_own(store: Arc<impl LimitStore>, _: &impl Elapse) {
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
        let claim = LimitRequest {
            bucket: Bucket { limit: 1, subject },
            ..claim(1)
        };
        assert_eq!(admitted(&store, claim, 11).await, 10, "{subject:?}");
    }
}

/// A shadow limit takes what any limit takes; without tokens enough it admits, takes nothing, and
/// tells the wait of a refusal.
pub async fn b17_a_shadow_takes_its_tokens_and_refuses_nothing(
    store: Arc<impl LimitStore>,
    time: &impl Elapse,
) {
    let shadow = LimitRequest {
        cost: 4,
        shadow: true,
        ..claim(1)
    };
    for left in [6, 2] {
        let taken = take(&store, &[shadow]).await;
        assert_eq!(
            (
                taken.admitted,
                taken.statuses[0].remaining,
                taken.statuses[0].wait
            ),
            (true, left, None)
        );
    }
    for _ in 0..3 {
        let short = take(&store, &[shadow]).await;
        assert_eq!((short.admitted, short.statuses[0].remaining), (true, 2));
        assert!(
            short.statuses[0].wait.is_some(),
            "a limit that is enforced would have refused"
        );
    }
    assert_eq!(
        admitted(&store, claim(1), 3).await,
        2,
        "the same bucket, once it is enforced"
    );
    time.elapse(Duration::from_secs(8)).await;
    assert_eq!(take(&store, &[shadow]).await.statuses[0].wait, None);
}

/// Where a shadow limit has run out, those that are enforced decide, and take what they admit.
pub async fn b17_a_shadow_that_has_run_out_leaves_the_decision_to_the_others(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let shadow = LimitRequest {
        shadow: true,
        ..claim(2)
    };
    admitted(&store, claim(2), 10).await;
    for left in (0..10).rev() {
        let both = take(&store, &[claim(1), shadow]).await;
        assert_eq!((both.admitted, both.statuses[0].remaining), (true, left));
        assert!(both.statuses[0].wait.is_none() && both.statuses[1].wait.is_some());
    }
    assert!(!take(&store, &[claim(1), shadow]).await.admitted);
}

/// A request that an enforced limit refuses takes nothing from a shadow limit, whichever comes first.
pub async fn b17_a_refusal_takes_nothing_from_a_shadow(
    store: Arc<impl LimitStore>,
    _: &impl Elapse,
) {
    let shadow = LimitRequest {
        shadow: true,
        ..claim(2)
    };
    admitted(&store, claim(1), 10).await;
    for _ in 0..3 {
        assert!(!take(&store, &[shadow, claim(1)]).await.admitted);
        let refused = take(&store, &[claim(1), shadow]).await;
        assert!(!refused.admitted && refused.statuses[0].wait.is_some());
        assert_eq!(
            (refused.statuses[1].remaining, refused.statuses[1].wait),
            (10, None)
        );
    }
    assert_eq!(take(&store, &[shadow]).await.statuses[0].remaining, 9);
}

/// However many ask at once, and however it counts, the burst is not exceeded, and none of it is lost.
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
        let claim = LimitRequest {
            quota: quota.expect("a valid quota"),
            ..claim(limit)
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { admitted(&store, claim, 20).await })
            })
            .collect();
        let mut count = 0;
        for task in tasks {
            count += task.await.expect("no panic");
        }
        assert_eq!(count, 50, "{:?}", claim.quota.algorithm());
    }
}
