//! The test suite of an [`IdempotencyStore`].
//!
//! [`idempotency_store_suite!`](crate::idempotency_store_suite) runs all cases. Each case takes an
//! empty store and an [`Elapse`] that advances the store's time. The case panics if the store
//! breaks the rule whose number is in the name of the case: A8 for `a08_…`. The guide lists the
//! rules (`docs/guide/rules.md`).

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use super::Elapse;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, EncryptionKeys, Fingerprint, IdempotencyStore,
    Lease, OnCrash, Outcome, RecordHolder, RecordKey, RecordState, StoredResponse, Token,
};
use crate::store::EncryptedRecords;

/// Defines a test for each rule of an [`IdempotencyStore`].
///
/// `idempotency_store_suite!(async { (store, time) })` runs its block once per test. `store` is an
/// `Arc` of an empty store, and `time` is an [`Elapse`](crate::testing::Elapse).
///
/// ```
/// use std::sync::Arc;
/// use aplomb::store::MemoryRecords;
/// use aplomb::testing::TestClock;
///
/// aplomb::idempotency_store_suite!(async {
///     let clock = TestClock::new();
///     (Arc::new(MemoryRecords::with_bounds(1_000, 1 << 20, Arc::new(clock.clone()))), clock)
/// });
/// # fn main() {}
/// ```
///
/// [`limit_store_suite!`](crate::limit_store_suite) describes a second form, which runs all cases
/// in one test on shared servers.
#[macro_export]
macro_rules! idempotency_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { idempotency, [$($setup)*],
            a07_a_record_is_compared_by_the_rule_that_created_it
            a08_concurrent_begins_start_one_run
            a08_begin_is_idempotent_for_the_same_token
            a08_a_begin_after_its_abort_starts_no_run
            a08_a_begin_beside_its_abort_leaves_no_run
            a08_an_abort_keeps_the_markers_of_other_runs
            a08_abort_frees_the_key
            a08_abort_frees_a_key_with_an_unknown_outcome
            a08_abort_of_another_token_changes_nothing
            a08_abort_keeps_a_stored_response
            a09_mismatch_outranks_every_state
            a10_a_running_record_is_in_flight
            a12_a_heartbeat_renews_a_lease
            a12_a_lapsed_or_lost_lease_is_not_renewed
            a12_a_run_completes_after_its_lease_has_lapsed
            a12_complete_of_a_lost_record_stores_the_response
            a12_a_run_that_was_marked_unknown_can_complete
            a12_a_settled_run_is_not_marked_unknown
            a14_a_lapsed_record_is_unknown
            a14_a_lapsed_record_is_rerun_if_declared
            a15_an_unknown_outcome_stays_unknown
            a19_find_returns_the_state_and_changes_nothing
            a19_a_replaced_run_cannot_complete
            a19_a_run_replaced_by_another_request_gets_a_mismatch
            a19_a_replaced_run_gets_the_state_of_the_other_run
            a19_unknown_records_can_be_resolved
            a19_a_resolved_record_expires_after_the_given_ttl
            a20_a_stored_response_is_returned_unchanged
            a21_a_response_stored_without_its_body_is_returned_without_it
            a26_an_encrypted_response_is_returned_decrypted
            a26_find_decrypts_a_response
            a22_a_response_expires_after_its_ttl
            a22_an_unknown_record_expires_after_its_ttl
            a22_a_run_that_was_marked_unknown_expires_after_the_given_ttl
            a22_an_expired_run_is_not_marked_unknown
        }
    };
}

// With `RealTime` the tests wait for these times, so they are short. They are still longer than any
// pause of a loaded machine between two calls of a case.
const LEASE: Duration = Duration::from_secs(4);
const TTL: Duration = Duration::from_secs(12);

fn begin() -> Begin {
    Begin {
        key: RecordKey::new([1; 16], [1; 16]),
        fingerprint: Fingerprint::new(1, [2; 32]),
        earlier: Vec::new(),
        token: Token::random(),
        lease: LEASE,
        on_crash: OnCrash::Unknown,
        ttl: TTL,
        holder: RecordHolder::Caller([1; 16]),
        transactional: false,
    }
}

fn lease(begin: &Begin) -> Lease {
    Lease {
        key: begin.key,
        token: begin.token,
    }
}

fn response(text: &'static str) -> StoredResponse {
    let response = http::Response::builder()
        .status(201)
        .header("location", "/x")
        .header("content-type", "text/plain")
        .header("link", "</a>")
        .header("link", "</b>");
    let (head, ()) = response.body(()).expect("a response").into_parts();
    StoredResponse::new(&head, Some(Bytes::from_static(text.as_bytes())))
}

fn complete(begin: &Begin, outcome: Outcome) -> Complete {
    Complete::new(lease(begin), begin.fingerprint, outcome, TTL)
}

async fn start(store: &Arc<impl IdempotencyStore>, begin: &Begin) -> BeginOutcome {
    store.begin(begin).await.expect("the store responds")
}

async fn complete_with(
    store: &Arc<impl IdempotencyStore>,
    begin: &Begin,
    text: &'static str,
) -> CompleteOutcome {
    let complete = complete(begin, Outcome::Response(response(text)));
    store.complete(&complete).await.expect("the store responds")
}

async fn renew(store: &Arc<impl IdempotencyStore>, begin: &Begin) -> bool {
    store
        .heartbeat(&[lease(begin)], LEASE)
        .await
        .expect("the store responds")[0]
}

async fn abort(store: &Arc<impl IdempotencyStore>, begin: &Begin) {
    store
        .abort(lease(begin), LEASE)
        .await
        .expect("the store responds");
}

async fn mark_unknown(store: &Arc<impl IdempotencyStore>, begin: &Begin) -> bool {
    store
        .mark_unknown(lease(begin), TTL)
        .await
        .expect("the store responds")
}

/// Begins the same request with a new token, as a retry does.
async fn retry(store: &Arc<impl IdempotencyStore>) -> BeginOutcome {
    start(store, &begin()).await
}

/// A request matches the record if one of its fingerprints has the record's version and digest. The
/// same digest with another version is a different request.
pub async fn a07_a_record_is_compared_by_the_rule_that_created_it(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let by = |version, digest| Fingerprint::new(version, [digest; 32]);
    let old = Begin {
        fingerprint: by(1, 1),
        ..begin()
    };
    start(&store, &old).await;
    let new = |fingerprint, earlier| Begin {
        fingerprint,
        earlier,
        ..begin()
    };
    let same = || new(by(3, 3), vec![by(2, 2), by(1, 1)]);
    let others = || {
        [
            new(by(3, 3), vec![by(1, 9)]),
            new(by(3, 1), vec![by(2, 1)]),
            new(by(3, 3), Vec::new()),
        ]
    };
    assert_eq!(start(&store, &same()).await, BeginOutcome::InFlight);
    for other in others() {
        assert_eq!(
            start(&store, &other).await,
            BeginOutcome::Mismatch,
            "{other:?}"
        );
    }
    complete_with(&store, &old, "done").await;
    assert_eq!(
        start(&store, &same()).await,
        BeginOutcome::Done(response("done"))
    );
    for other in others() {
        assert_eq!(
            start(&store, &other).await,
            BeginOutcome::Mismatch,
            "{other:?}"
        );
    }
}

/// One of 32 simultaneous begins starts the run. The others are in flight.
pub async fn a08_concurrent_begins_start_one_run(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { retry(&store).await })
        })
        .collect();
    let mut started = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            BeginOutcome::Started => started += 1,
            other => assert_eq!(other, BeginOutcome::InFlight),
        }
    }
    assert_eq!(started, 1);
}

/// A begin that is repeated with the same token, after its reply was lost, returns `Started` again.
pub async fn a08_begin_is_idempotent_for_the_same_token(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let begin = begin();
    assert_eq!(start(&store, &begin).await, BeginOutcome::Started);
    assert_eq!(start(&store, &begin).await, BeginOutcome::Started);
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A begin that arrives after its abort is rejected. The abort marker of its token lasts for one
/// lease.
pub async fn a08_a_begin_after_its_abort_starts_no_run(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let late = begin();
    abort(&store, &late).await;
    assert_eq!(start(&store, &late).await, BeginOutcome::Aborted);
    assert_eq!(retry(&store).await, BeginOutcome::Started);
    time.elapse(LEASE).await;
    assert_ne!(start(&store, &late).await, BeginOutcome::Aborted);
}

/// A begin and an abort of the same token, at the same time, leave no running record: either the
/// abort removes the record, or its marker rejects the begin.
pub async fn a08_a_begin_beside_its_abort_leaves_no_run(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    for number in 0..50 {
        let of = || Begin {
            key: RecordKey::new([1; 16], [number; 16]),
            ..begin()
        };
        // In half of the rounds the store has seen the key before.
        if number % 2 == 0 {
            abort(&store, &of()).await;
        }
        let late = of();
        let (begun, aborted) = (Arc::clone(&store), Arc::clone(&store));
        let lease = lease(&late);
        let begins = tokio::spawn(async move { begun.begin(&late).await });
        let aborts = tokio::spawn(async move { aborted.abort(lease, LEASE).await });
        let outcome = begins.await.expect("no panic").expect("the store responds");
        aborts.await.expect("no panic").expect("the store responds");
        assert!(
            matches!(outcome, BeginOutcome::Started | BeginOutcome::Aborted),
            "{outcome:?}"
        );
        assert_eq!(start(&store, &of()).await, BeginOutcome::Started);
    }
}

/// An abort without a marker keeps the marker of an earlier run of the same key.
pub async fn a08_an_abort_keeps_the_markers_of_other_runs(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (late, first) = (begin(), begin());
    abort(&store, &late).await;
    start(&store, &first).await;
    let aborted = store.abort(lease(&first), Duration::ZERO).await;
    aborted.expect("the store responds");
    assert_eq!(start(&store, &late).await, BeginOutcome::Aborted);
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// The next request runs after an abort. A repeated abort changes nothing.
pub async fn a08_abort_frees_the_key(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    abort(&store, &first).await;
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A run whose outcome was stored as unknown can still abort, which frees its key.
pub async fn a08_abort_frees_a_key_with_an_unknown_outcome(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    store
        .complete(&complete(&first, Outcome::Unknown))
        .await
        .expect("the store responds");
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// Another run cannot abort a running record.
pub async fn a08_abort_of_another_token_changes_nothing(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    start(&store, &begin()).await;
    abort(&store, &begin()).await;
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A run that has stored its response cannot abort.
pub async fn a08_abort_keeps_a_stored_response(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    complete_with(&store, &first, "done").await;
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("done")));
}

/// A different request with the same key is a mismatch in every state of the record.
pub async fn a09_mismatch_outranks_every_state(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    let other = || Begin {
        fingerprint: Fingerprint::new(1, [3; 32]),
        ..begin()
    };
    start(&store, &first).await;
    assert_eq!(
        start(&store, &other()).await,
        BeginOutcome::Mismatch,
        "running"
    );
    time.elapse(LEASE).await;
    assert_eq!(
        start(&store, &other()).await,
        BeginOutcome::Mismatch,
        "lapsed"
    );
    complete_with(&store, &first, "done").await;
    assert_eq!(
        start(&store, &other()).await,
        BeginOutcome::Mismatch,
        "done"
    );

    let second = Begin {
        key: RecordKey::new([4; 16], [4; 16]),
        ..begin()
    };
    start(&store, &second).await;
    store
        .complete(&complete(&second, Outcome::Unknown))
        .await
        .expect("the store responds");
    let other = Begin {
        key: second.key,
        ..other()
    };
    assert_eq!(
        start(&store, &other).await,
        BeginOutcome::Mismatch,
        "unknown"
    );

    let third = Begin {
        key: RecordKey::new([5; 16], [5; 16]),
        on_crash: OnCrash::Rerun,
        ..begin()
    };
    start(&store, &third).await;
    time.elapse(LEASE).await;
    let other = Begin {
        key: third.key,
        on_crash: OnCrash::Rerun,
        ..other
    };
    assert_eq!(
        start(&store, &other).await,
        BeginOutcome::Mismatch,
        "lapsed, and may run again"
    );
}

/// A retry during the run is in flight.
pub async fn a10_a_running_record_is_in_flight(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    start(&store, &begin()).await;
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A record with heartbeats is in flight for longer than one lease.
pub async fn a12_a_heartbeat_renews_a_lease(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    for _ in 0..3 {
        time.elapse(LEASE / 2).await;
        assert!(renew(&store, &first).await);
    }
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A heartbeat returns `false` for a record that is absent, lapsed, or taken by another run.
pub async fn a12_a_lapsed_or_lost_lease_is_not_renewed(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    assert!(!renew(&store, &first).await, "absent");
    start(&store, &first).await;
    assert!(!renew(&store, &begin()).await, "another token");
    time.elapse(LEASE).await;
    assert!(!renew(&store, &first).await, "lapsed");
}

/// A run that resumes after its lease has lapsed still stores its response. `complete` checks the
/// token, and not the lease.
pub async fn a12_a_run_completes_after_its_lease_has_lapsed(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert_eq!(
        complete_with(&store, &first, "late").await,
        CompleteOutcome::Written
    );
    assert_eq!(
        complete_with(&store, &first, "again").await,
        CompleteOutcome::Written,
        "a repeated complete"
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("late")));
}

/// A run whose record the store has lost stores its response in a new record.
pub async fn a12_complete_of_a_lost_record_stores_the_response(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    assert_eq!(
        complete_with(&store, &begin(), "kept").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("kept")));
}

/// A run that takes too long is marked unknown. It can still complete.
pub async fn a12_a_run_that_was_marked_unknown_can_complete(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    assert!(!mark_unknown(&store, &begin()).await, "another token");
    assert!(mark_unknown(&store, &first).await);
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert!(
        !renew(&store, &first).await,
        "a run that was marked unknown has no lease"
    );
    time.elapse(LEASE).await;
    assert_eq!(
        complete_with(&store, &first, "late").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("late")));
}

/// An aborted or completed run keeps its outcome.
pub async fn a12_a_settled_run_is_not_marked_unknown(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, second) = (begin(), begin());
    start(&store, &first).await;
    abort(&store, &first).await;
    assert!(!mark_unknown(&store, &first).await, "absent");
    start(&store, &second).await;
    complete_with(&store, &second, "done").await;
    assert!(!mark_unknown(&store, &second).await, "done");
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("done")));
}

/// The outcome of a run whose lease has lapsed is unknown.
pub async fn a14_a_lapsed_record_is_unknown(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    start(&store, &begin()).await;
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
}

/// One retry runs if the endpoint declares that a rerun is safe (`on_crash = rerun`).
pub async fn a14_a_lapsed_record_is_rerun_if_declared(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let rerun = || Begin {
        on_crash: OnCrash::Rerun,
        ..begin()
    };
    start(&store, &rerun()).await;
    assert_eq!(start(&store, &rerun()).await, BeginOutcome::InFlight);
    time.elapse(LEASE).await;
    assert_eq!(start(&store, &rerun()).await, BeginOutcome::Started);
    assert_eq!(start(&store, &rerun()).await, BeginOutcome::InFlight);
}

/// Every retry gets the unknown outcome, until the run itself completes.
pub async fn a15_an_unknown_outcome_stays_unknown(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    let done = store.complete(&complete(&first, Outcome::Unknown)).await;
    assert_eq!(done.expect("the store responds"), CompleteOutcome::Written);
    for _ in 0..3 {
        assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    }
    assert_eq!(
        complete_with(&store, &first, "known").await,
        CompleteOutcome::Written,
        "the run itself can still complete"
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("known")));
}

/// `find` returns the state of a record and changes nothing.
pub async fn a19_find_returns_the_state_and_changes_nothing(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let of = |record, on_crash| Begin {
        key: RecordKey::new([1; 16], [record; 16]),
        on_crash,
        ..begin()
    };
    let (first, rerun) = (of(7, OnCrash::Unknown), of(8, OnCrash::Rerun));
    let find = async |begin: &Begin| store.find(begin.key).await.expect("the store responds");
    assert_eq!(find(&first).await, None, "absent");
    for begin in [&first, &rerun] {
        start(&store, begin).await;
        assert_eq!(find(begin).await, Some(RecordState::Running));
    }
    time.elapse(LEASE).await;
    assert_eq!(find(&first).await, Some(RecordState::Unknown), "lapsed");
    assert_eq!(find(&rerun).await, Some(RecordState::Lapsed));
    assert_eq!(
        find(&rerun).await,
        Some(RecordState::Lapsed),
        "`find` took the lapsed record"
    );
    store
        .complete(&complete(&rerun, Outcome::Unknown))
        .await
        .expect("the store responds");
    assert_eq!(find(&rerun).await, Some(RecordState::Unknown));
    complete_with(&store, &first, "done").await;
    assert_eq!(
        find(&first).await,
        Some(RecordState::Done(response("done")))
    );
    time.elapse(TTL).await;
    assert_eq!(find(&first).await, None, "expired");
}

/// If another run has taken the record of a run, the first run stores nothing. It gets the state of
/// the record.
pub async fn a19_a_replaced_run_cannot_complete(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let rerun = || Begin {
        on_crash: OnCrash::Rerun,
        ..begin()
    };
    let (first, second) = (rerun(), rerun());
    start(&store, &first).await;
    time.elapse(LEASE).await;
    start(&store, &second).await;
    assert_eq!(
        complete_with(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::InFlight)
    );
    assert_eq!(
        complete_with(&store, &second, "second").await,
        CompleteOutcome::Written
    );
    assert_eq!(
        complete_with(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Done(response("second")))
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("second")));
}

/// A replaced run gets the state of the run that has taken its record. The state is in flight if
/// that run is running or can be rerun, and otherwise unknown.
pub async fn a19_a_replaced_run_gets_the_state_of_the_other_run(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let of = |record, on_crash| Begin {
        key: RecordKey::new([1; 16], [record; 16]),
        on_crash,
        ..begin()
    };
    let firsts = [of(7, OnCrash::Rerun), of(8, OnCrash::Rerun)];
    for first in &firsts {
        start(&store, first).await;
    }
    time.elapse(LEASE).await;
    let seconds = [of(7, OnCrash::Rerun), of(8, OnCrash::Unknown)];
    for second in &seconds {
        assert_eq!(start(&store, second).await, BeginOutcome::Started);
    }
    time.elapse(LEASE).await;
    assert_eq!(
        complete_with(&store, &firsts[0], "first").await,
        CompleteOutcome::Lost(BeginOutcome::InFlight),
        "may run again"
    );
    assert_eq!(
        complete_with(&store, &firsts[1], "first").await,
        CompleteOutcome::Lost(BeginOutcome::Unknown),
        "lapsed"
    );
    store
        .complete(&complete(&seconds[0], Outcome::Unknown))
        .await
        .expect("the store responds");
    assert_eq!(
        complete_with(&store, &firsts[0], "first").await,
        CompleteOutcome::Lost(BeginOutcome::Unknown),
        "unknown"
    );
}

/// A run gets a mismatch if its record was lost and then taken by a different request with the same
/// key. The run must not respond with the result of that request.
pub async fn a19_a_run_replaced_by_another_request_gets_a_mismatch(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, other) = (
        begin(),
        Begin {
            fingerprint: Fingerprint::new(1, [3; 32]),
            ..begin()
        },
    );
    start(&store, &other).await;
    assert_eq!(
        complete_with(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Mismatch),
        "running"
    );
    complete_with(&store, &other, "other").await;
    assert_eq!(
        complete_with(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Mismatch),
        "done"
    );
}

/// An operator can resolve unknown records, but no other records.
pub async fn a19_unknown_records_can_be_resolved(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let key = begin().key;
    let resolve = async |response| {
        store
            .resolve(key, response, TTL)
            .await
            .expect("the store responds")
    };
    assert!(!resolve(None).await, "absent");
    start(&store, &begin()).await;
    assert!(!resolve(None).await, "running");
    let rerun = Begin {
        key: RecordKey::new([6; 16], [6; 16]),
        on_crash: OnCrash::Rerun,
        ..begin()
    };
    start(&store, &rerun).await;
    time.elapse(LEASE).await;
    assert!(
        !store
            .resolve(rerun.key, None, TTL)
            .await
            .expect("the store responds"),
        "may run again"
    );
    assert!(resolve(Some(response("decided"))).await);
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("decided")));
    assert!(!resolve(None).await, "done");

    let second = Begin {
        key: RecordKey::new([5; 16], [5; 16]),
        ..begin()
    };
    start(&store, &second).await;
    store
        .complete(&complete(&second, Outcome::Unknown))
        .await
        .expect("the store responds");
    assert!(
        store
            .resolve(second.key, None, TTL)
            .await
            .expect("the store responds")
    );
    assert_eq!(
        start(
            &store,
            &Begin {
                token: Token::random(),
                ..second
            }
        )
        .await,
        BeginOutcome::Started
    );
}

/// A resolved record expires after the TTL that the operator sets, and not after the TTL of the
/// run.
pub async fn a19_a_resolved_record_expires_after_the_given_ttl(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    start(&store, &begin()).await;
    time.elapse(LEASE).await;
    let decided = store
        .resolve(begin().key, Some(response("decided")), LEASE)
        .await;
    assert_eq!(decided, Ok(true));
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("decided")));
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A stored response keeps its status, its header fields with their order, and its body.
pub async fn a20_a_stored_response_is_returned_unchanged(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    assert_eq!(
        complete_with(&store, &first, "the response").await,
        CompleteOutcome::Written
    );
    assert_eq!(
        retry(&store).await,
        BeginOutcome::Done(response("the response"))
    );
}

/// A response without its body, which was too large to store, keeps its status and its header
/// fields.
pub async fn a21_a_response_stored_without_its_body_is_returned_without_it(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, (head, ())) = (begin(), http::Response::new(()).into_parts());
    let large = StoredResponse::new(&head, None);
    start(&store, &first).await;
    let complete = complete(&first, Outcome::Response(large.clone()));
    store.complete(&complete).await.expect("the store responds");
    assert_eq!(retry(&store).await, BeginOutcome::Done(large));
}

/// The encrypting store returns the response decrypted. The inner store returns it only encrypted.
pub async fn a26_an_encrypted_response_is_returned_decrypted(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let keys = EncryptionKeys::new("suite", [7; 32]).expect("a valid id");
    let encrypted = Arc::new(EncryptedRecords::new(Arc::clone(&store), keys));
    let plain = BeginOutcome::Done(response("the response"));
    let first = begin();
    start(&encrypted, &first).await;
    assert_eq!(
        complete_with(&encrypted, &first, "the response").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&encrypted).await, plain);
    assert_ne!(retry(&store).await, plain);
    let other = Begin {
        key: RecordKey::new([1; 16], [9; 16]),
        ..begin()
    };
    start(&encrypted, &other).await;
    encrypted
        .complete(&complete(&other, Outcome::Unknown))
        .await
        .expect("the store responds");
    assert_eq!(
        encrypted
            .resolve(other.key, Some(response("the response")), TTL)
            .await,
        Ok(true)
    );
    assert_eq!(encrypted.begin(&other).await.as_ref(), Ok(&plain));
    assert_ne!(store.begin(&other).await.as_ref(), Ok(&plain));
}

/// `find` decrypts a response with the right key, and returns an error with another key.
pub async fn a26_find_decrypts_a_response(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    let keys = |key| EncryptionKeys::new("suite", [key; 32]).expect("a valid id");
    let encrypted = Arc::new(EncryptedRecords::new(Arc::clone(&store), keys(7)));
    let first = begin();
    start(&encrypted, &first).await;
    complete_with(&encrypted, &first, "the response").await;
    assert_eq!(
        encrypted.find(first.key).await,
        Ok(Some(RecordState::Done(response("the response"))))
    );
    let Ok(Some(RecordState::Done(ciphertext))) = store.find(first.key).await else {
        panic!("not done")
    };
    assert_eq!(
        (ciphertext.encrypted_with(), ciphertext.body()),
        (Some("suite"), None)
    );
    assert!(
        EncryptedRecords::new(store, keys(8))
            .find(first.key)
            .await
            .is_err(),
        "another key"
    );
}

/// A response is stored for its TTL, which begins when the run completes.
pub async fn a22_a_response_expires_after_its_ttl(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE / 2).await;
    complete_with(&store, &first, "done").await;
    time.elapse(TTL.saturating_sub(LEASE / 4)).await;
    assert_eq!(retry(&store).await, BeginOutcome::Done(response("done")));
    time.elapse(LEASE / 4).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// If a run stops renewing its lease, its record is unknown after the end of the lease. The record
/// stays unknown for its TTL, and then expires.
pub async fn a22_an_unknown_record_expires_after_its_ttl(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    start(&store, &begin()).await;
    time.elapse((LEASE + TTL).saturating_sub(LEASE / 4)).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    time.elapse(LEASE / 4).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A run that was marked unknown expires after the TTL of the `mark_unknown` call, and not after
/// the TTL of its `begin`.
pub async fn a22_a_run_that_was_marked_unknown_expires_after_the_given_ttl(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    assert_eq!(store.mark_unknown(lease(&first), LEASE).await, Ok(true));
    time.elapse(LEASE / 2).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    time.elapse(LEASE / 2).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A run whose record has expired cannot be marked unknown.
pub async fn a22_an_expired_run_is_not_marked_unknown(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE + TTL).await;
    assert!(!mark_unknown(&store, &first).await);
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}
