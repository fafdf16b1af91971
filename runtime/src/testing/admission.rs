//! The test suite of an [`AdmissionStore`], which checks limits and begins a run in one step.
//!
//! [`admission_store_suite!`](crate::admission_store_suite) runs all cases. Each case takes an
//! empty store and an [`Elapse`] that advances the store's time. The case panics if the store
//! breaks the rule whose number is in the name of the case: B2 for `b02_…`. The guide lists the
//! rules (`docs/guide/rules.md`).
//!
//! To check the records that [`admit`](AdmissionStore::admit) creates, run the suite of
//! [`IdempotencyStore`] on [`ByAdmission`].

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use super::Elapse;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, IdempotencyStore, Lease, OnCrash,
    Outcome, RecordKey, RecordState, StoredResponse, Token,
};
use crate::policies::rate_limit::{Acquired, Bucket, LimitRequest, LimitSubject, Quota};
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// Defines a test for each rule of an [`AdmissionStore`].
///
/// `admission_store_suite!(async { (store, time) })` runs its block once per test. `store` is an
/// `Arc` of an empty store that implements [`AdmissionStore`] and [`IdempotencyStore`], and `time`
/// is an [`Elapse`](crate::testing::Elapse).
///
/// [`limit_store_suite!`](crate::limit_store_suite) describes a second form, which runs all cases
/// in one test on shared servers.
#[macro_export]
macro_rules! admission_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { admission, [$($setup)*],
            b02_an_admitted_request_takes_tokens_and_creates_its_record
            b02_a_rejected_request_creates_no_record
            b02_a_rejection_by_one_limit_takes_no_tokens_of_the_others
            b02_a_rejected_retry_leaves_the_record_unchanged
            b06_a_status_has_the_remaining_tokens_and_the_reset
            b08_a_request_takes_its_cost_in_tokens_or_none
            b12_every_begin_outcome_takes_tokens
            b17_an_exhausted_shadow_limit_rejects_no_request
            b17_a_rejected_request_takes_no_tokens_of_a_shadow_limit
            a_request_without_limits_creates_its_record
            a07_earlier_fingerprints_are_compared
            a08_concurrent_requests_start_one_run_per_key_within_the_burst
            a08_begin_is_idempotent_for_the_same_token
            a08_a_begin_after_its_abort_starts_no_run
            a14_a_lapsed_run_is_unknown_unless_a_rerun_is_declared
        }
    };
}

// With `RealTime` the cases wait for a lease, so the lease is short. It is still longer than any
// pause of a loaded machine between two calls of a case.
const LEASE: Duration = Duration::from_secs(4);
const TTL: Duration = Duration::from_mins(1);

/// Returns a request to a token bucket of ten tokens, which gets one token every two minutes.
fn limit_request(limit: u64) -> LimitRequest<'static> {
    let quota = Quota::new(5, Duration::from_mins(10), 10).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

fn begin(key: u8) -> Begin {
    let (key, fingerprint) = (
        RecordKey::new([1; 16], [key; 16]),
        Fingerprint::new(1, [2; 32]),
    );
    Begin::new(
        key,
        fingerprint,
        Token::random(),
        LEASE,
        OnCrash::Unknown,
        TTL,
    )
}

fn response() -> StoredResponse {
    let (head, ()) = http::Response::new(()).into_parts();
    StoredResponse::new(&head, Some(Bytes::from_static(b"done")))
}

async fn complete(store: &Arc<impl IdempotencyStore>, begin: &Begin, outcome: Outcome) {
    let complete = Complete::new(begin.lease(), begin.fingerprint, outcome, TTL);
    assert_eq!(
        store.complete(&complete).await,
        Ok(CompleteOutcome::Written)
    );
}

async fn admit(
    store: &Arc<impl AdmissionStore>,
    requests: &[LimitRequest<'_>],
    begin: &Begin,
) -> Admission {
    store
        .admit(requests, begin)
        .await
        .expect("the store responds")
}

/// Admits a request. Returns the statuses of its limits and the outcome of its begin.
async fn expect_admitted(
    store: &Arc<impl AdmissionStore>,
    requests: &[LimitRequest<'_>],
    begin: &Begin,
) -> (Acquired, BeginOutcome) {
    match admit(store, requests, begin).await {
        Admission::Admitted(acquired, outcome) => (acquired, outcome),
        Admission::Refused(acquired) => panic!("rejected: {acquired:?}"),
    }
}

async fn expect_rejected(
    store: &Arc<impl AdmissionStore>,
    requests: &[LimitRequest<'_>],
    begin: &Begin,
) -> Acquired {
    match admit(store, requests, begin).await {
        Admission::Refused(acquired) => acquired,
        Admission::Admitted(acquired, outcome) => panic!("admitted: {acquired:?}, {outcome:?}"),
    }
}

/// Returns the outcome of a begin that limit 1 admits.
async fn begin_outcome(store: &Arc<impl AdmissionStore>, begin: &Begin) -> BeginOutcome {
    expect_admitted(store, &[limit_request(1)], begin).await.1
}

/// Returns the remaining tokens of a limit.
async fn remaining(store: &Arc<impl AdmissionStore>, limit: u64) -> u64 {
    let free_requests = [LimitRequest {
        cost: 0,
        ..limit_request(limit)
    }];
    expect_admitted(store, &free_requests, &begin(255))
        .await
        .0
        .statuses[0]
        .remaining
}

async fn exhaust(store: &Arc<impl AdmissionStore>, limit: u64) {
    expect_admitted(
        store,
        &[LimitRequest {
            cost: 10,
            ..limit_request(limit)
        }],
        &begin(254),
    )
    .await;
}

/// An admitted request takes its tokens and creates its record.
pub async fn b02_an_admitted_request_takes_tokens_and_creates_its_record(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin(1);
    let (acquired, outcome) =
        expect_admitted(&store, &[limit_request(1), limit_request(2)], &first).await;
    assert_eq!((acquired.admitted, outcome), (true, BeginOutcome::Started));
    assert_eq!(
        [
            acquired.statuses[0].remaining,
            acquired.statuses[1].remaining
        ],
        [9, 9]
    );
    assert_eq!(
        (remaining(&store, 1).await, remaining(&store, 2).await),
        (9, 9)
    );
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    assert_eq!(
        store.heartbeat(&[first.lease()], LEASE).await,
        Ok(vec![true])
    );
}

/// A request that its limits reject creates no record, even if it is repeated.
pub async fn b02_a_rejected_request_creates_no_record(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    exhaust(&store, 1).await;
    for _ in 0..3 {
        let acquired = expect_rejected(&store, &[limit_request(1)], &begin(1)).await;
        assert!(!acquired.admitted && acquired.statuses[0].wait.is_some());
    }
    let (run, other) = (begin(1), begin(1));
    expect_rejected(&store, &[limit_request(1)], &run).await;
    assert_eq!(store.begin(&other).await, Ok(BeginOutcome::Started));
    assert_eq!(
        store.heartbeat(&[run.lease(), other.lease()], LEASE).await,
        Ok(vec![false, true])
    );
}

/// If one limit rejects, the other limits keep their tokens, in any order of the limits.
pub async fn b02_a_rejection_by_one_limit_takes_no_tokens_of_the_others(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    exhaust(&store, 2).await;
    for requests in [
        [limit_request(1), limit_request(2), limit_request(3)],
        [limit_request(2), limit_request(3), limit_request(1)],
    ] {
        let acquired = expect_rejected(&store, &requests, &begin(1)).await;
        for (request, status) in requests.iter().zip(&acquired.statuses) {
            let is_exhausted = request.bucket.limit == 2;
            assert_eq!(
                (status.wait.is_some(), status.remaining),
                (is_exhausted, if is_exhausted { 0 } else { 10 })
            );
        }
    }
    assert_eq!(
        (remaining(&store, 1).await, remaining(&store, 3).await),
        (10, 10)
    );
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
}

/// A rejected retry does not return or change the record of its key.
pub async fn b02_a_rejected_retry_leaves_the_record_unchanged(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin(1);
    assert_eq!(begin_outcome(&store, &first).await, BeginOutcome::Started);
    exhaust(&store, 2).await;
    expect_rejected(&store, &[limit_request(2)], &begin(1)).await;
    complete(&store, &first, Outcome::Response(response())).await;
    expect_rejected(&store, &[limit_request(2)], &begin(1)).await;
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::Done(response())
    );
}

/// An admission and a rejection have the same statuses as in a
/// [`LimitStore`](crate::policies::rate_limit::LimitStore).
pub async fn b06_a_status_has_the_remaining_tokens_and_the_reset(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    time: &impl Elapse,
) {
    for (key, remaining) in (1..).zip((0..10).rev()) {
        let (acquired, _) = expect_admitted(&store, &[limit_request(1)], &begin(key)).await;
        assert_eq!(
            (acquired.statuses[0].remaining, acquired.statuses[0].wait),
            (remaining, None)
        );
    }
    let status = expect_rejected(&store, &[limit_request(1)], &begin(1))
        .await
        .statuses[0];
    let wait = status.wait.expect("a rejection has a wait");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_mins(2),
        "{wait:?}"
    );
    assert!(
        status.resets_in > Duration::from_mins(18),
        "{:?}",
        status.resets_in
    );
    time.elapse(Duration::from_mins(2)).await;
    assert_eq!(
        expect_admitted(&store, &[limit_request(1)], &begin(20))
            .await
            .1,
        BeginOutcome::Started
    );
    expect_rejected(&store, &[limit_request(1)], &begin(21)).await;
}

/// A request takes as many tokens as it costs. If there are too few tokens, the request takes none,
/// and its run does not begin.
pub async fn b08_a_request_takes_its_cost_in_tokens_or_none(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let expensive = LimitRequest {
        cost: 4,
        ..limit_request(1)
    };
    for key in [1, 2] {
        assert_eq!(
            expect_admitted(&store, &[expensive], &begin(key)).await.1,
            BeginOutcome::Started
        );
    }
    expect_rejected(&store, &[expensive], &begin(3)).await;
    assert_eq!(
        expect_admitted(&store, &[limit_request(1)], &begin(3))
            .await
            .1,
        BeginOutcome::Started
    );
    assert_eq!(remaining(&store, 1).await, 1);
}

/// Every outcome of a begin takes the same tokens: started, in flight, done, mismatch and unknown.
pub async fn b12_every_begin_outcome_takes_tokens(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, unknown) = (begin(1), begin(2));
    let other = Begin {
        fingerprint: Fingerprint::new(1, [3; 32]),
        ..begin(1)
    };
    assert_eq!(begin_outcome(&store, &first).await, BeginOutcome::Started);
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::InFlight
    );
    assert_eq!(begin_outcome(&store, &other).await, BeginOutcome::Mismatch);
    complete(&store, &first, Outcome::Response(response())).await;
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::Done(response())
    );
    assert_eq!(begin_outcome(&store, &other).await, BeginOutcome::Mismatch);
    assert_eq!(begin_outcome(&store, &unknown).await, BeginOutcome::Started);
    complete(&store, &unknown, Outcome::Unknown).await;
    assert_eq!(
        begin_outcome(&store, &begin(2)).await,
        BeginOutcome::Unknown
    );
    assert_eq!(remaining(&store, 1).await, 3);
}

/// The run begins although a shadow limit is exhausted. The status of that limit has a wait.
pub async fn b17_an_exhausted_shadow_limit_rejects_no_request(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    exhaust(&store, 2).await;
    let requests = [
        limit_request(1),
        LimitRequest {
            shadow: true,
            ..limit_request(2)
        },
    ];
    let (acquired, outcome) = expect_admitted(&store, &requests, &begin(1)).await;
    assert_eq!((acquired.admitted, outcome), (true, BeginOutcome::Started));
    assert!(acquired.statuses[0].wait.is_none() && acquired.statuses[1].wait.is_some());
    assert_eq!(
        (remaining(&store, 1).await, remaining(&store, 2).await),
        (9, 0)
    );
}

/// A shadow limit keeps its tokens if an enforced limit rejects, in either order of the limits.
pub async fn b17_a_rejected_request_takes_no_tokens_of_a_shadow_limit(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    exhaust(&store, 1).await;
    let shadow = LimitRequest {
        shadow: true,
        ..limit_request(2)
    };
    for requests in [[limit_request(1), shadow], [shadow, limit_request(1)]] {
        expect_rejected(&store, &requests, &begin(1)).await;
    }
    assert_eq!(remaining(&store, 2).await, 10);
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
}

/// A request without limits is admitted and creates its record.
pub async fn a_request_without_limits_creates_its_record(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let (acquired, outcome) = expect_admitted(&store, &[], &begin(1)).await;
    assert_eq!(
        (acquired.admitted, acquired.statuses.len(), outcome),
        (true, 0, BeginOutcome::Started)
    );
    assert_eq!(
        expect_admitted(&store, &[], &begin(1)).await.1,
        BeginOutcome::InFlight
    );
}

/// A request matches a record whose fingerprint was made by an earlier version of the comparison
/// rule.
pub async fn a07_earlier_fingerprints_are_compared(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let old = begin(1);
    assert_eq!(begin_outcome(&store, &old).await, BeginOutcome::Started);
    let new = Begin {
        fingerprint: Fingerprint::new(2, [4; 32]),
        ..begin(1)
    };
    assert_eq!(begin_outcome(&store, &new).await, BeginOutcome::Mismatch);
    assert_eq!(
        begin_outcome(&store, &new.with_earlier(vec![old.fingerprint])).await,
        BeginOutcome::InFlight
    );
}

/// Simultaneous requests with four keys start one run per key, and exactly the burst is admitted.
pub async fn a08_concurrent_requests_start_one_run_per_key_within_the_burst(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let spawn_client = |client: u8| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let quota = Quota::new(1, Duration::from_hours(1), 50).expect("a valid quota");
            let (mut outcomes, request) = (
                Vec::new(),
                LimitRequest {
                    quota,
                    ..limit_request(1)
                },
            );
            for round in 0..10 {
                let key = (client + round) % 4;
                if let Admission::Admitted(_, outcome) =
                    admit(&store, &[request], &begin(key)).await
                {
                    outcomes.push((key, outcome));
                }
            }
            outcomes
        })
    };
    let mut outcomes = Vec::new();
    for client_task in (0..16).map(spawn_client).collect::<Vec<_>>() {
        outcomes.extend(client_task.await.expect("no panic"));
    }
    assert_eq!(outcomes.len(), 50);
    for key in 0..4 {
        let starts = outcomes
            .iter()
            .filter(|(of, outcome)| (*of, outcome) == (key, &BeginOutcome::Started))
            .count();
        assert_eq!(starts, 1, "key {key}");
    }
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| matches!(outcome, BeginOutcome::Started | BeginOutcome::InFlight))
    );
}

/// A repeated begin with the same token returns `Started` again. It takes tokens each time.
pub async fn a08_begin_is_idempotent_for_the_same_token(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let run = begin(1);
    for remaining in [9, 8, 7] {
        let (acquired, outcome) = expect_admitted(&store, &[limit_request(1)], &run).await;
        assert_eq!(
            (acquired.statuses[0].remaining, outcome),
            (remaining, BeginOutcome::Started)
        );
    }
}

/// A begin that arrives after the abort of its token is rejected.
pub async fn a08_a_begin_after_its_abort_starts_no_run(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let run = begin(1);
    assert_eq!(begin_outcome(&store, &run).await, BeginOutcome::Started);
    store
        .abort(run.lease(), LEASE)
        .await
        .expect("the store responds");
    assert_eq!(begin_outcome(&store, &run).await, BeginOutcome::Aborted);
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::Started
    );
}

/// A run whose lease has lapsed is unknown. With `on_crash = rerun` one retry runs.
pub async fn a14_a_lapsed_run_is_unknown_unless_a_rerun_is_declared(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    time: &impl Elapse,
) {
    let rerun = || Begin {
        on_crash: OnCrash::Rerun,
        ..begin(2)
    };
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::Started
    );
    assert_eq!(begin_outcome(&store, &rerun()).await, BeginOutcome::Started);
    time.elapse(LEASE).await;
    assert_eq!(
        begin_outcome(&store, &begin(1)).await,
        BeginOutcome::Unknown
    );
    assert_eq!(begin_outcome(&store, &rerun()).await, BeginOutcome::Started);
    assert_eq!(
        begin_outcome(&store, &rerun()).await,
        BeginOutcome::InFlight
    );
}

/// An [`IdempotencyStore`] whose [`begin`](IdempotencyStore::begin) calls
/// [`admit`](AdmissionStore::admit) with a limit that never rejects.
///
/// It lets [`idempotency_store_suite!`](crate::idempotency_store_suite) and the
/// [model](crate::testing::model) check the records of an [`AdmissionStore`].
#[derive(Debug, Clone)]
pub struct ByAdmission<S>(S);

impl<S: AdmissionStore + IdempotencyStore> ByAdmission<S> {
    /// Creates the adapter of this store.
    pub const fn new(store: S) -> Self {
        Self(store)
    }

    async fn admit(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let quota = Quota::new(1 << 20, Duration::from_secs(1), 1 << 20).expect("a valid quota");
        match self
            .0
            .admit(
                &[LimitRequest {
                    quota,
                    ..limit_request(0)
                }],
                begin,
            )
            .await?
        {
            Admission::Admitted(_, outcome) => Ok(outcome),
            Admission::Refused(acquired) => Err(StoreError::Failed(format!(
                "the limit rejected: {acquired:?}"
            ))),
        }
    }
}

impl<S: AdmissionStore + IdempotencyStore> IdempotencyStore for ByAdmission<S> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(self.admit(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.0.heartbeat(leases, lease)
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        self.0.complete(complete)
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.0.abort(lease, marker)
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        self.0.mark_unknown(lease, ttl)
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        self.0.find(key)
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        self.0.resolve(key, response, ttl)
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        self.0.for_heartbeat()
    }
}
