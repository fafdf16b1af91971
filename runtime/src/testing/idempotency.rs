//! What every [`IdempotencyStore`] must do.
//!
//! Each case takes a fresh store and a way to let its time pass.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use super::Elapse;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, EncryptionKeys, Fingerprint, IdempotencyStore,
    Lease, OnCrash, Outcome, RecordKey, RecordState, StoredResponse, Token,
};
use crate::store::EncryptedRecords;

/// Makes a test of every case: `idempotency_store_suite!(async { (store, time) })`, where `store`
/// is an `Arc` of a fresh [`IdempotencyStore`] and `time` an [`Elapse`](crate::testing::Elapse). One test of
/// all cases is made as by [`limit_store_suite!`](crate::limit_store_suite).
#[macro_export]
macro_rules! idempotency_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { idempotency, [$($setup)*],
            a07_a_record_is_compared_by_the_rule_that_made_it
            a08_of_concurrent_begins_one_starts
            a08_begin_is_idempotent_for_its_own_token
            a08_an_aborted_token_begins_no_more
            a08_abort_frees_the_key
            a08_abort_frees_a_key_that_was_unknown
            a08_abort_of_another_token_changes_nothing
            a08_abort_does_not_undo_an_answer
            a09_mismatch_outranks_every_state
            a10_a_running_record_is_in_flight
            a12_a_heartbeat_renews_a_lease
            a12_a_lapsed_or_lost_lease_is_not_renewed
            a12_complete_compares_the_token_and_never_the_lease
            a12_complete_of_a_lost_record_writes_it
            a12_a_hung_run_is_written_off
            a12_a_settled_run_is_not_written_off
            a14_a_lapsed_record_is_unknown
            a14_a_lapsed_record_is_run_again_where_declared
            a15_an_unknown_outcome_stays_unknown
            a19_operators_read_the_state_of_a_record
            a19_a_replaced_run_cannot_complete
            a19_a_run_whose_record_is_of_another_request_learns_that
            a19_a_replaced_run_learns_what_has_become_of_the_other
            a19_unknown_records_can_be_resolved
            a19_a_decision_is_kept_as_long_as_it_says
            a20_a_response_comes_back_as_it_was
            a21_a_response_without_its_body_comes_back_so
            a26_a_sealed_response_comes_back_as_it_was
            a26_operators_read_a_sealed_response
            a22_an_answer_lives_as_long_as_it_should
            a22_an_unknown_record_ends
            a22_a_run_that_was_written_off_is_unknown_as_long_as_it_says
            a22_a_run_that_was_forgotten_is_not_written_off
        }
    };
}

// Long enough that a slow machine does not let them pass.
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
    }
}

fn lease(begin: &Begin) -> Lease {
    Lease {
        key: begin.key,
        token: begin.token,
    }
}

fn kept(text: &'static str) -> StoredResponse {
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
    store.begin(begin).await.expect("the store answers")
}

async fn end(
    store: &Arc<impl IdempotencyStore>,
    begin: &Begin,
    text: &'static str,
) -> CompleteOutcome {
    let complete = complete(begin, Outcome::Response(kept(text)));
    store.complete(&complete).await.expect("the store answers")
}

async fn beat(store: &Arc<impl IdempotencyStore>, begin: &Begin) -> bool {
    store
        .heartbeat(&[lease(begin)], LEASE)
        .await
        .expect("the store answers")[0]
}

async fn abort(store: &Arc<impl IdempotencyStore>, begin: &Begin) {
    store
        .abort(lease(begin), LEASE)
        .await
        .expect("the store answers");
}

async fn mark_unknown(store: &Arc<impl IdempotencyStore>, begin: &Begin) -> bool {
    store
        .mark_unknown(lease(begin), TTL)
        .await
        .expect("the store answers")
}

/// What a retry with a token of its own meets.
async fn retry(store: &Arc<impl IdempotencyStore>) -> BeginOutcome {
    start(store, &begin()).await
}

/// A request that is known by the rules of two releases is the one that either has recorded; the same
/// digest by another rule is another request.
pub async fn a07_a_record_is_compared_by_the_rule_that_made_it(
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
    end(&store, &old, "done").await;
    assert_eq!(
        start(&store, &same()).await,
        BeginOutcome::Done(kept("done"))
    );
    for other in others() {
        assert_eq!(
            start(&store, &other).await,
            BeginOutcome::Mismatch,
            "{other:?}"
        );
    }
}

/// Of many begins at once exactly one starts; the others find it in flight.
pub async fn a08_of_concurrent_begins_one_starts(
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

/// Asked again with the same token, because the reply was lost, it is started again.
pub async fn a08_begin_is_idempotent_for_its_own_token(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let begin = begin();
    assert_eq!(start(&store, &begin).await, BeginOutcome::Started);
    assert_eq!(start(&store, &begin).await, BeginOutcome::Started);
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A begin that arrives after its abort takes nothing, for one lease.
pub async fn a08_an_aborted_token_begins_no_more(
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

/// After an abort the next request runs; aborting again is harmless.
pub async fn a08_abort_frees_the_key(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    abort(&store, &first).await;
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A run that was written off and then ends without effects frees its key after all.
pub async fn a08_abort_frees_a_key_that_was_unknown(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    store
        .complete(&complete(&first, Outcome::Unknown))
        .await
        .expect("the store answers");
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// Only the run itself can abort.
pub async fn a08_abort_of_another_token_changes_nothing(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    start(&store, &begin()).await;
    abort(&store, &begin()).await;
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// An answer that is written stays.
pub async fn a08_abort_does_not_undo_an_answer(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    end(&store, &first, "done").await;
    abort(&store, &first).await;
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("done")));
}

/// Another request under the key is told so, whatever the record's state.
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
    end(&store, &first, "done").await;
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
        .expect("the store answers");
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

/// While a run goes on, a retry is told so.
pub async fn a10_a_running_record_is_in_flight(store: Arc<impl IdempotencyStore>, _: &impl Elapse) {
    start(&store, &begin()).await;
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// With heartbeats a record runs longer than its lease.
pub async fn a12_a_heartbeat_renews_a_lease(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    for _ in 0..3 {
        time.elapse(LEASE / 2).await;
        assert!(beat(&store, &first).await);
    }
    assert_eq!(retry(&store).await, BeginOutcome::InFlight);
}

/// A heartbeat tells a run that it has lost its record.
pub async fn a12_a_lapsed_or_lost_lease_is_not_renewed(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    assert!(!beat(&store, &first).await, "absent");
    start(&store, &first).await;
    assert!(!beat(&store, &begin()).await, "another token");
    time.elapse(LEASE).await;
    assert!(!beat(&store, &first).await, "lapsed");
}

/// A run that was thought dead, and was not, still writes its answer.
pub async fn a12_complete_compares_the_token_and_never_the_lease(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert_eq!(end(&store, &first, "late").await, CompleteOutcome::Written);
    assert_eq!(
        end(&store, &first, "again").await,
        CompleteOutcome::Written,
        "told twice"
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("late")));
}

/// If the store lost the record, its answer is written all the same.
pub async fn a12_complete_of_a_lost_record_writes_it(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    assert_eq!(
        end(&store, &begin(), "kept").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("kept")));
}

/// A run that takes too long is given up, until it completes after all.
pub async fn a12_a_hung_run_is_written_off(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    let first = begin();
    start(&store, &first).await;
    assert!(!mark_unknown(&store, &begin()).await, "another token");
    assert!(mark_unknown(&store, &first).await);
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert!(!beat(&store, &first).await, "it holds no lease");
    time.elapse(LEASE).await;
    assert_eq!(end(&store, &first, "late").await, CompleteOutcome::Written);
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("late")));
}

/// What was settled in the meantime stays as it was settled.
pub async fn a12_a_settled_run_is_not_written_off(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, second) = (begin(), begin());
    start(&store, &first).await;
    abort(&store, &first).await;
    assert!(!mark_unknown(&store, &first).await, "absent");
    start(&store, &second).await;
    end(&store, &second, "done").await;
    assert!(!mark_unknown(&store, &second).await, "done");
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("done")));
}

/// Nobody knows what a dead run did.
pub async fn a14_a_lapsed_record_is_unknown(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    start(&store, &begin()).await;
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
}

/// Where the endpoint declares that a rerun is harmless, one retry runs.
pub async fn a14_a_lapsed_record_is_run_again_where_declared(
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

/// An outcome that nobody knows is told to every retry.
pub async fn a15_an_unknown_outcome_stays_unknown(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    let done = store.complete(&complete(&first, Outcome::Unknown)).await;
    assert_eq!(done.expect("the store answers"), CompleteOutcome::Written);
    for _ in 0..3 {
        assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    }
    assert_eq!(
        end(&store, &first, "known").await,
        CompleteOutcome::Written,
        "its own token may still tell"
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("known")));
}

/// An operator reads what a record is, and changes nothing.
pub async fn a19_operators_read_the_state_of_a_record(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let of = |record, on_crash| Begin {
        key: RecordKey::new([1; 16], [record; 16]),
        on_crash,
        ..begin()
    };
    let (first, rerun) = (of(7, OnCrash::Unknown), of(8, OnCrash::Rerun));
    let find = async |begin: &Begin| store.find(begin.key).await.expect("the store answers");
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
        "it was read, and not taken"
    );
    store
        .complete(&complete(&rerun, Outcome::Unknown))
        .await
        .expect("the store answers");
    assert_eq!(find(&rerun).await, Some(RecordState::Unknown));
    end(&store, &first, "done").await;
    assert_eq!(find(&first).await, Some(RecordState::Done(kept("done"))));
    time.elapse(TTL).await;
    assert_eq!(find(&first).await, None, "expired");
}

/// A run whose record another run has taken writes nothing and learns what is there.
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
        end(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::InFlight)
    );
    assert_eq!(
        end(&store, &second, "second").await,
        CompleteOutcome::Written
    );
    assert_eq!(
        end(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Done(kept("second")))
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("second")));
}

/// Of the run that has its record a replaced run learns that it goes on, or may run again; or that nobody
/// knows its outcome.
pub async fn a19_a_replaced_run_learns_what_has_become_of_the_other(
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
        end(&store, &firsts[0], "first").await,
        CompleteOutcome::Lost(BeginOutcome::InFlight),
        "may run again"
    );
    assert_eq!(
        end(&store, &firsts[1], "first").await,
        CompleteOutcome::Lost(BeginOutcome::Unknown),
        "lapsed"
    );
    store
        .complete(&complete(&seconds[0], Outcome::Unknown))
        .await
        .expect("the store answers");
    assert_eq!(
        end(&store, &firsts[0], "first").await,
        CompleteOutcome::Lost(BeginOutcome::Unknown),
        "unknown"
    );
}

/// A run whose record was lost, and taken by another request under the same key, does not answer
/// what that one did.
pub async fn a19_a_run_whose_record_is_of_another_request_learns_that(
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
        end(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Mismatch),
        "running"
    );
    end(&store, &other, "other").await;
    assert_eq!(
        end(&store, &first, "first").await,
        CompleteOutcome::Lost(BeginOutcome::Mismatch),
        "done"
    );
}

/// An operator decides what nobody knows, and nothing else.
pub async fn a19_unknown_records_can_be_resolved(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let key = begin().key;
    let resolve = async |response| {
        store
            .resolve(key, response, TTL)
            .await
            .expect("the store answers")
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
            .expect("the store answers"),
        "may run again"
    );
    assert!(resolve(Some(kept("decided"))).await);
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("decided")));
    assert!(!resolve(None).await, "done");

    let second = Begin {
        key: RecordKey::new([5; 16], [5; 16]),
        ..begin()
    };
    start(&store, &second).await;
    store
        .complete(&complete(&second, Outcome::Unknown))
        .await
        .expect("the store answers");
    assert!(
        store
            .resolve(second.key, None, TTL)
            .await
            .expect("the store answers")
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

/// What an operator decides is forgotten when the operator says, and not when the run would have been.
pub async fn a19_a_decision_is_kept_as_long_as_it_says(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    start(&store, &begin()).await;
    time.elapse(LEASE).await;
    let decided = store
        .resolve(begin().key, Some(kept("decided")), LEASE)
        .await;
    assert_eq!(decided, Ok(true));
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("decided")));
    time.elapse(LEASE).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// Status, fields and body survive the store.
pub async fn a20_a_response_comes_back_as_it_was(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    assert_eq!(
        end(&store, &first, "the answer").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("the answer")));
}

/// A response that was too large to keep is known to have been there.
pub async fn a21_a_response_without_its_body_comes_back_so(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, (head, ())) = (begin(), http::Response::new(()).into_parts());
    let large = StoredResponse::new(&head, None);
    start(&store, &first).await;
    let complete = complete(&first, Outcome::Response(large.clone()));
    store.complete(&complete).await.expect("the store answers");
    assert_eq!(retry(&store).await, BeginOutcome::Done(large));
}

/// A store keeps what it cannot read.
pub async fn a26_a_sealed_response_comes_back_as_it_was(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let keys = EncryptionKeys::new("suite", [7; 32]).expect("a valid id");
    let sealed = Arc::new(EncryptedRecords::new(Arc::clone(&store), keys));
    let in_the_clear = BeginOutcome::Done(kept("the answer"));
    let first = begin();
    start(&sealed, &first).await;
    assert_eq!(
        end(&sealed, &first, "the answer").await,
        CompleteOutcome::Written
    );
    assert_eq!(retry(&sealed).await, in_the_clear);
    assert_ne!(retry(&store).await, in_the_clear);
    let other = Begin {
        key: RecordKey::new([1; 16], [9; 16]),
        ..begin()
    };
    start(&sealed, &other).await;
    sealed
        .complete(&complete(&other, Outcome::Unknown))
        .await
        .expect("the store answers");
    assert_eq!(
        sealed
            .resolve(other.key, Some(kept("the answer")), TTL)
            .await,
        Ok(true)
    );
    assert_eq!(sealed.begin(&other).await.as_ref(), Ok(&in_the_clear));
    assert_ne!(store.begin(&other).await.as_ref(), Ok(&in_the_clear));
}

/// What was sealed is opened for an operator who has the key.
pub async fn a26_operators_read_a_sealed_response(
    store: Arc<impl IdempotencyStore>,
    _: &impl Elapse,
) {
    let keys = |key| EncryptionKeys::new("suite", [key; 32]).expect("a valid id");
    let sealed = Arc::new(EncryptedRecords::new(Arc::clone(&store), keys(7)));
    let first = begin();
    start(&sealed, &first).await;
    end(&sealed, &first, "the answer").await;
    assert_eq!(
        sealed.find(first.key).await,
        Ok(Some(RecordState::Done(kept("the answer"))))
    );
    let Ok(Some(RecordState::Done(closed))) = store.find(first.key).await else {
        panic!("not done")
    };
    assert_eq!(
        (closed.encrypted_with(), closed.body()),
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

/// An answer is there until its time to live has passed from completion, and then no more.
pub async fn a22_an_answer_lives_as_long_as_it_should(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE / 2).await;
    end(&store, &first, "done").await;
    time.elapse(TTL.saturating_sub(LEASE / 4)).await;
    assert_eq!(retry(&store).await, BeginOutcome::Done(kept("done")));
    time.elapse(LEASE / 4).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// An outcome that nobody knows is forgotten after its time to live.
pub async fn a22_an_unknown_record_ends(store: Arc<impl IdempotencyStore>, time: &impl Elapse) {
    start(&store, &begin()).await;
    time.elapse((LEASE + TTL).saturating_sub(LEASE / 4)).await;
    assert_eq!(retry(&store).await, BeginOutcome::Unknown);
    time.elapse(LEASE / 4).await;
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}

/// A run that took too long is unknown from then on for the time that is said.
pub async fn a22_a_run_that_was_written_off_is_unknown_as_long_as_it_says(
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

/// A run that nobody renewed, and whose record has ended, leaves nothing behind.
pub async fn a22_a_run_that_was_forgotten_is_not_written_off(
    store: Arc<impl IdempotencyStore>,
    time: &impl Elapse,
) {
    let first = begin();
    start(&store, &first).await;
    time.elapse(LEASE + TTL).await;
    assert!(!mark_unknown(&store, &first).await);
    assert_eq!(retry(&store).await, BeginOutcome::Started);
}
