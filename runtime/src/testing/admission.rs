//! What every [`AdmissionStore`] must do.
//!
//! Each case takes a fresh store and a way to let its time pass. That its records are those of the
//! [`IdempotencyStore`] shows the suite of that, run over [`ByAdmission`].

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

/// Makes a test of every case: `admission_store_suite!(async { (store, time) })`, where `store` is an
/// `Arc` of a fresh [`AdmissionStore`] that is an [`IdempotencyStore`], too, and `time` an
/// [`Elapse`](crate::testing::Elapse).
#[macro_export]
macro_rules! admission_store_suite {
    ($($setup:tt)*) => {
        $crate::__suite! { admission, [$($setup)*],
            b02_an_admitted_request_has_paid_and_begun
            b02_a_refusal_begins_nothing
            b02_a_refusal_by_one_of_several_takes_from_none
            b02_a_refusal_leaves_what_is_there
            b06_readings_tell_what_is_left
            b08_costs_take_several_tokens
            b12_whatever_is_found_has_paid
            b17_a_shadow_refuses_no_run
            b17_a_refusal_takes_nothing_from_a_shadow
            without_claims_a_run_begins
            a07_earlier_fingerprints_are_compared
            a08_of_concurrent_requests_one_starts_and_the_burst_is_kept
            a08_begin_is_idempotent_for_its_own_token
            a08_an_aborted_token_begins_no_more
            a14_a_lapsed_run_is_unknown_or_runs_again
        }
    };
}

// Long enough that a slow machine does not let them pass.
const LEASE: Duration = Duration::from_secs(4);
const TTL: Duration = Duration::from_mins(1);

/// Ten tokens, one every two minutes.
fn claim(limit: u64) -> LimitRequest<'static> {
    let quota = Quota::new(5, Duration::from_mins(10), 10).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

fn begin(name: u8) -> Begin {
    let (key, fingerprint) = (
        RecordKey::new([1; 16], [name; 16]),
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

fn kept() -> StoredResponse {
    let (head, ()) = http::Response::new(()).into_parts();
    StoredResponse::new(&head, Some(Bytes::from_static(b"done")))
}

async fn end(store: &Arc<impl IdempotencyStore>, begin: &Begin, outcome: Outcome) {
    let complete = Complete::new(begin.lease(), begin.fingerprint, outcome, TTL);
    assert_eq!(
        store.complete(&complete).await,
        Ok(CompleteOutcome::Written)
    );
}

async fn admit(
    store: &Arc<impl AdmissionStore>,
    claims: &[LimitRequest<'_>],
    begin: &Begin,
) -> Admission {
    store.admit(claims, begin).await.expect("the store answers")
}

/// Of a request that is admitted: what its limits say, and what it meets.
async fn admitted(
    store: &Arc<impl AdmissionStore>,
    claims: &[LimitRequest<'_>],
    begin: &Begin,
) -> (Acquired, BeginOutcome) {
    match admit(store, claims, begin).await {
        Admission::Admitted(acquired, found) => (acquired, found),
        Admission::Refused(acquired) => panic!("{acquired:?}"),
    }
}

async fn refused(
    store: &Arc<impl AdmissionStore>,
    claims: &[LimitRequest<'_>],
    begin: &Begin,
) -> Acquired {
    match admit(store, claims, begin).await {
        Admission::Refused(acquired) => acquired,
        Admission::Admitted(acquired, found) => panic!("{acquired:?}, {found:?}"),
    }
}

/// What a request meets that nobody limits much.
async fn met(store: &Arc<impl AdmissionStore>, begin: &Begin) -> BeginOutcome {
    admitted(store, &[claim(1)], begin).await.1
}

/// What is left of a limit of ten.
async fn left(store: &Arc<impl AdmissionStore>, limit: u64) -> u64 {
    let reads = [LimitRequest {
        cost: 0,
        ..claim(limit)
    }];
    admitted(store, &reads, &begin(255)).await.0.statuses[0].remaining
}

async fn use_up(store: &Arc<impl AdmissionStore>, limit: u64) {
    admitted(
        store,
        &[LimitRequest {
            cost: 10,
            ..claim(limit)
        }],
        &begin(254),
    )
    .await;
}

/// The tokens are taken, and the record is there.
pub async fn b02_an_admitted_request_has_paid_and_begun(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin(1);
    let (acquired, begun) = admitted(&store, &[claim(1), claim(2)], &first).await;
    assert_eq!((acquired.admitted, begun), (true, BeginOutcome::Started));
    assert_eq!(
        [
            acquired.statuses[0].remaining,
            acquired.statuses[1].remaining
        ],
        [9, 9]
    );
    assert_eq!((left(&store, 1).await, left(&store, 2).await), (9, 9));
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    assert_eq!(
        store.heartbeat(&[first.lease()], LEASE).await,
        Ok(vec![true])
    );
}

/// A request that its limits refuse leaves no record, however often it is asked.
pub async fn b02_a_refusal_begins_nothing(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    use_up(&store, 1).await;
    for _ in 0..3 {
        let acquired = refused(&store, &[claim(1)], &begin(1)).await;
        assert!(!acquired.admitted && acquired.statuses[0].wait.is_some());
    }
    let (run, other) = (begin(1), begin(1));
    refused(&store, &[claim(1)], &run).await;
    assert_eq!(store.begin(&other).await, Ok(BeginOutcome::Started));
    assert_eq!(
        store.heartbeat(&[run.lease(), other.lease()], LEASE).await,
        Ok(vec![false, true])
    );
}

/// A limit that would have admitted keeps its tokens, in whatever order the limits are asked.
pub async fn b02_a_refusal_by_one_of_several_takes_from_none(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    use_up(&store, 2).await;
    for claims in [
        [claim(1), claim(2), claim(3)],
        [claim(2), claim(3), claim(1)],
    ] {
        let acquired = refused(&store, &claims, &begin(1)).await;
        for (claim, reading) in claims.iter().zip(&acquired.statuses) {
            let is_out = claim.bucket.limit == 2;
            assert_eq!(
                (reading.wait.is_some(), reading.remaining),
                (is_out, if is_out { 0 } else { 10 })
            );
        }
    }
    assert_eq!((left(&store, 1).await, left(&store, 3).await), (10, 10));
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
}

/// A refused retry neither sees nor changes the record of its key.
pub async fn b02_a_refusal_leaves_what_is_there(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let first = begin(1);
    assert_eq!(met(&store, &first).await, BeginOutcome::Started);
    use_up(&store, 2).await;
    refused(&store, &[claim(2)], &begin(1)).await;
    end(&store, &first, Outcome::Response(kept())).await;
    refused(&store, &[claim(2)], &begin(1)).await;
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::Done(kept()));
}

/// The readings of both outcomes are those of the limits alone.
pub async fn b06_readings_tell_what_is_left(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    time: &impl Elapse,
) {
    for (name, left) in (1..).zip((0..10).rev()) {
        let (acquired, _) = admitted(&store, &[claim(1)], &begin(name)).await;
        assert_eq!(
            (acquired.statuses[0].remaining, acquired.statuses[0].wait),
            (left, None)
        );
    }
    let reading = refused(&store, &[claim(1)], &begin(1)).await.statuses[0];
    let wait = reading.wait.expect("a refusal says how long to wait");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_mins(2),
        "{wait:?}"
    );
    assert!(
        reading.resets_in > Duration::from_mins(18),
        "{:?}",
        reading.resets_in
    );
    time.elapse(Duration::from_mins(2)).await;
    assert_eq!(
        admitted(&store, &[claim(1)], &begin(20)).await.1,
        BeginOutcome::Started
    );
    refused(&store, &[claim(1)], &begin(21)).await;
}

/// A request takes as many tokens as it costs, or none, and then does not begin.
pub async fn b08_costs_take_several_tokens(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let dear = LimitRequest {
        cost: 4,
        ..claim(1)
    };
    for name in [1, 2] {
        assert_eq!(
            admitted(&store, &[dear], &begin(name)).await.1,
            BeginOutcome::Started
        );
    }
    refused(&store, &[dear], &begin(3)).await;
    assert_eq!(
        admitted(&store, &[claim(1)], &begin(3)).await.1,
        BeginOutcome::Started
    );
    assert_eq!(left(&store, 1).await, 1);
}

/// A request that runs, one that is in flight, a replay, another request, and one whose outcome nobody
/// knows pay alike.
pub async fn b12_whatever_is_found_has_paid(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let (first, unknown) = (begin(1), begin(2));
    let other = Begin {
        fingerprint: Fingerprint::new(1, [3; 32]),
        ..begin(1)
    };
    assert_eq!(met(&store, &first).await, BeginOutcome::Started);
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::InFlight);
    assert_eq!(met(&store, &other).await, BeginOutcome::Mismatch);
    end(&store, &first, Outcome::Response(kept())).await;
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::Done(kept()));
    assert_eq!(met(&store, &other).await, BeginOutcome::Mismatch);
    assert_eq!(met(&store, &unknown).await, BeginOutcome::Started);
    end(&store, &unknown, Outcome::Unknown).await;
    assert_eq!(met(&store, &begin(2)).await, BeginOutcome::Unknown);
    assert_eq!(left(&store, 1).await, 3);
}

/// A shadow limit that has run out says so, and the run begins.
pub async fn b17_a_shadow_refuses_no_run(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    use_up(&store, 2).await;
    let claims = [
        claim(1),
        LimitRequest {
            shadow: true,
            ..claim(2)
        },
    ];
    let (acquired, begun) = admitted(&store, &claims, &begin(1)).await;
    assert_eq!((acquired.admitted, begun), (true, BeginOutcome::Started));
    assert!(acquired.statuses[0].wait.is_none() && acquired.statuses[1].wait.is_some());
    assert_eq!((left(&store, 1).await, left(&store, 2).await), (9, 0));
}

/// Where an enforced limit refuses, a shadow limit keeps its tokens.
pub async fn b17_a_refusal_takes_nothing_from_a_shadow(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    use_up(&store, 1).await;
    let shadow = LimitRequest {
        shadow: true,
        ..claim(2)
    };
    for claims in [[claim(1), shadow], [shadow, claim(1)]] {
        refused(&store, &claims, &begin(1)).await;
    }
    assert_eq!(left(&store, 2).await, 10);
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
}

/// Nothing limits what claims nothing.
pub async fn without_claims_a_run_begins(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let (acquired, begun) = admitted(&store, &[], &begin(1)).await;
    assert_eq!(
        (acquired.admitted, acquired.statuses.len(), begun),
        (true, 0, BeginOutcome::Started)
    );
    assert_eq!(
        admitted(&store, &[], &begin(1)).await.1,
        BeginOutcome::InFlight
    );
}

/// A record that an earlier rule made is the request's.
pub async fn a07_earlier_fingerprints_are_compared(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let old = begin(1);
    assert_eq!(met(&store, &old).await, BeginOutcome::Started);
    let new = Begin {
        fingerprint: Fingerprint::new(2, [4; 32]),
        ..begin(1)
    };
    assert_eq!(met(&store, &new).await, BeginOutcome::Mismatch);
    assert_eq!(
        met(&store, &new.with_earlier(vec![old.fingerprint])).await,
        BeginOutcome::InFlight
    );
}

/// However many ask at once with few keys, each key has one run, and no more are admitted than the burst.
pub async fn a08_of_concurrent_requests_one_starts_and_the_burst_is_kept(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let ask = |client: u8| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let quota = Quota::new(1, Duration::from_hours(1), 50).expect("a valid quota");
            let (mut found, claim) = (Vec::new(), LimitRequest { quota, ..claim(1) });
            for round in 0..10 {
                let key = (client + round) % 4;
                if let Admission::Admitted(_, begun) = admit(&store, &[claim], &begin(key)).await {
                    found.push((key, begun));
                }
            }
            found
        })
    };
    let mut found = Vec::new();
    for asking in (0..16).map(ask).collect::<Vec<_>>() {
        found.extend(asking.await.expect("no panic"));
    }
    assert_eq!(found.len(), 50);
    for key in 0..4 {
        let starts = found
            .iter()
            .filter(|(name, begun)| (*name, begun) == (key, &BeginOutcome::Started))
            .count();
        assert_eq!(starts, 1, "key {key}");
    }
    assert!(
        found
            .iter()
            .all(|(_, begun)| matches!(begun, BeginOutcome::Started | BeginOutcome::InFlight))
    );
}

/// A token that has begun has begun, however often it is asked; its limits are asked each time.
pub async fn a08_begin_is_idempotent_for_its_own_token(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let run = begin(1);
    for left in [9, 8, 7] {
        let (acquired, begun) = admitted(&store, &[claim(1)], &run).await;
        assert_eq!(
            (acquired.statuses[0].remaining, begun),
            (left, BeginOutcome::Started)
        );
    }
}

/// A run that was given up does not begin behind that.
pub async fn a08_an_aborted_token_begins_no_more(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    _: &impl Elapse,
) {
    let run = begin(1);
    assert_eq!(met(&store, &run).await, BeginOutcome::Started);
    store
        .abort(run.lease(), LEASE)
        .await
        .expect("the store answers");
    assert_eq!(met(&store, &run).await, BeginOutcome::Aborted);
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::Started);
}

/// What a lapsed run means is what it has declared.
pub async fn a14_a_lapsed_run_is_unknown_or_runs_again(
    store: Arc<impl AdmissionStore + IdempotencyStore>,
    time: &impl Elapse,
) {
    let rerun = || Begin {
        on_crash: OnCrash::Rerun,
        ..begin(2)
    };
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::Started);
    assert_eq!(met(&store, &rerun()).await, BeginOutcome::Started);
    time.elapse(LEASE).await;
    assert_eq!(met(&store, &begin(1)).await, BeginOutcome::Unknown);
    assert_eq!(met(&store, &rerun()).await, BeginOutcome::Started);
    assert_eq!(met(&store, &rerun()).await, BeginOutcome::InFlight);
}

/// Records whose [`begin`](IdempotencyStore::begin) goes through [`admit`](AdmissionStore::admit), with a
/// limit that refuses nobody: for the suite and the model of records.
#[derive(Debug, Clone)]
pub struct ByAdmission<S>(S);

impl<S: AdmissionStore + IdempotencyStore> ByAdmission<S> {
    /// The records of this store.
    pub const fn new(store: S) -> Self {
        Self(store)
    }

    async fn admit(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let quota = Quota::new(1 << 20, Duration::from_secs(1), 1 << 20).expect("a valid quota");
        match self
            .0
            .admit(&[LimitRequest { quota, ..claim(0) }], begin)
            .await?
        {
            Admission::Admitted(_, found) => Ok(found),
            Admission::Refused(acquired) => {
                Err(StoreError::Failed(format!("it refuses: {acquired:?}")))
            }
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
