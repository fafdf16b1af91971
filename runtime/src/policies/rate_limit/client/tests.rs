use std::sync::atomic::AtomicUsize;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::Level;

use super::super::breaker::PAUSE;
use super::super::decide::State;
use super::super::quota::Quota;
use super::super::store::{Bucket, LimitSubject};
use super::*;
use crate::facet::StoreFuture;
use crate::testing::{FaultyLimits, LogLine, TestClock, TestLog};

/// Counts how often it is asked, and answers as it is told.
#[derive(Debug)]
struct Asked {
    calls: AtomicUsize,
    refusal: Option<StoreError>,
    inner: MemoryLimits,
}

impl LimitStore for Asked {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.refusal {
            Some(error) => StoreFuture::ready(Err(error.clone())),
            None => self.inner.acquire(claims),
        }
    }
}

/// A guard, with all that a test moves.
struct Bench {
    guard: LimitClient,
    store: FaultyLimits<Arc<Asked>>,
    asked: Arc<Asked>,
    clock: TestClock,
}

fn bench(instances: u32) -> Bench {
    refusing(None, instances)
}

fn refusing(refusal: Option<StoreError>, instances: u32) -> Bench {
    let clock = TestClock::new();
    let inner = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
    let asked = Arc::new(Asked {
        calls: AtomicUsize::new(0),
        refusal,
        inner,
    });
    let store = FaultyLimits::new(Arc::clone(&asked));
    let instances = Instances::new(instances).expect("a number of instances");
    let guard = LimitClient::by(Arc::new(clock.clone()), Arc::new(store.clone()), instances);
    Bench {
        guard,
        store,
        asked,
        clock,
    }
}

/// One of 10 tokens, of which one comes back every second.
fn claim() -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_secs(1), 10).expect("valid");
    LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

impl Bench {
    async fn decided(&self) -> Decision {
        self.guard
            .acquire(&[claim()], OnError::Local)
            .await
            .expect("a decision")
    }

    async fn is_local(&self) -> bool {
        matches!(self.decided().await, Decision::Locally(_))
    }

    fn calls(&self) -> usize {
        self.asked.calls.load(Ordering::SeqCst)
    }

    /// Breaks the store down, and lets three requests find out.
    async fn go_local(&self) {
        self.store.break_down(true);
        for _ in 0..3 {
            assert!(self.is_local().await);
        }
    }
}

#[test]
fn a_store_in_this_process_answers_at_once() {
    let clock = TestClock::new();
    let memory = Arc::new(MemoryLimits::with_capacity(1024, Arc::new(clock.clone())));
    let guard = LimitClient::by(
        Arc::new(clock),
        memory,
        Instances::new(1).expect("a number of instances"),
    );
    let acquired = guard
        .acquire_in_process(&[claim()])
        .expect("memory answers");
    assert!(acquired.admitted && acquired.statuses[0].remaining == 9);
}

#[tokio::test]
async fn a_store_that_has_to_be_waited_for_takes_nothing_at_once() {
    let bench = bench(1);
    assert_eq!(bench.guard.acquire_in_process(&[claim()]), None);
    assert_eq!(bench.calls(), 0);
    assert_eq!(bench.decided().await.acquired().statuses[0].remaining, 9);
}

#[tokio::test]
async fn b15_a_store_that_is_well_decides() {
    let bench = bench(1);
    let Decision::ByStore(acquired) = bench.decided().await else {
        panic!("the store is well")
    };
    assert!(acquired.admitted);
    assert_eq!(acquired.statuses[0].remaining, 9);
}

#[tokio::test(start_paused = true)]
async fn b15_an_answer_is_waited_for_250_ms_three_times_and_then_no_more() {
    let bench = bench(1);
    bench.store.hang(true);
    for waited in [250, 250, 250, 0, 0] {
        let start = Instant::now();
        assert!(bench.is_local().await);
        // Tokio's timers are exact to a millisecond.
        assert!(
            start.elapsed().abs_diff(Duration::from_millis(waited)) <= Duration::from_millis(1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn b15_after_a_second_one_of_many_probes() {
    let bench = bench(1);
    bench.store.hang(true);
    for _ in 0..3 {
        assert!(bench.is_local().await);
    }
    bench.clock.advance(PAUSE);
    let waits = join_all((0..16).map(|_| async {
        let start = Instant::now();
        assert!(bench.is_local().await);
        start.elapsed() >= STORE_TIMEOUT
    }));
    assert_eq!(waits.await.into_iter().filter(|waited| *waited).count(), 1);
    bench.store.hang(false);
    assert!(bench.is_local().await, "the probe failed: another second");
    bench.clock.advance(PAUSE);
    assert!(!bench.is_local().await);
    assert!(!bench.is_local().await, "a good answer ends it");
    assert_eq!(bench.calls(), 2);
}

#[test]
fn b15_of_many_threads_one_probes() {
    let bench = bench(1);
    for _ in 0..3 {
        bench
            .guard
            .failed(&bench.guard.breakers[0], Permit::Normal, &"a test");
    }
    bench.clock.advance(PAUSE);
    let probes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let passed = (0..1000)
                    .filter(|_| {
                        bench.guard.breakers[0]
                            .admit(|| bench.clock.now())
                            .is_some()
                    })
                    .count();
                probes.fetch_add(passed, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(probes.into_inner(), 1);
}

#[tokio::test]
async fn b15_two_failures_are_local_and_the_store_is_asked_on() {
    let bench = bench(1);
    bench.store.break_down(true);
    assert!(bench.is_local().await && bench.is_local().await);
    bench.store.break_down(false);
    assert!(!bench.is_local().await);
    bench.store.break_down(true);
    assert!(bench.is_local().await && bench.is_local().await);
    bench.store.break_down(false);
    assert!(!bench.is_local().await, "not in a row");
}

#[tokio::test]
async fn b15_a_local_limit_is_an_instances_share_of_it() {
    let bench = bench(4);
    bench.store.break_down(true);
    for _ in 0..3 {
        assert!(
            bench.decided().await.acquired().admitted,
            "a quarter of ten, rounded up"
        );
    }
    let refused = bench.decided().await;
    assert!(!refused.acquired().admitted);
    assert_eq!(
        refused.acquired().statuses[0].wait,
        Some(Duration::from_secs(4))
    );
    assert!(matches!(refused, Decision::Locally(_)));
    bench.clock.advance(Duration::from_secs(4));
    assert!(bench.decided().await.acquired().admitted);
}

#[tokio::test]
async fn b15_a_bucket_that_cannot_be_read_is_no_outage() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("of tomorrow"),
    };
    let bench = refusing(Some(error.clone()), 1);
    for calls in 1..10 {
        assert_eq!(
            bench.guard.acquire(&[claim()], OnError::Local).await,
            Err(error.clone())
        );
        assert_eq!(bench.calls(), calls);
    }
}

#[tokio::test]
async fn b15_a_store_that_is_full_or_broken_is_an_outage() {
    for error in [
        StoreError::Full,
        StoreError::Failed(String::from("no such command")),
    ] {
        let bench = refusing(Some(error), 1);
        for _ in 0..10 {
            assert!(matches!(
                bench.guard.acquire(&[claim()], OnError::Local).await,
                Ok(Decision::Locally(_))
            ));
        }
        assert_eq!(bench.calls(), 3);
    }
}

/// Answers as it is told, after a trip that takes its time.
#[derive(Debug)]
struct Both {
    calls: AtomicUsize,
    trip: Duration,
    answer: Result<Answer, StoreError>,
}

/// What the limits say, and what the rest of the call found if they admit.
type Answer = (Acquired, Option<Found>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found;

impl Both {
    fn after(trip: Duration, answer: Result<Answer, StoreError>) -> Self {
        Self {
            calls: AtomicUsize::new(0),
            trip,
            answer,
        }
    }

    /// Of a request that is admitted, and runs.
    fn admitting(trip: Duration) -> Self {
        let acquired = Acquired::of(&[claim()], &[State::Ahead(0)]);
        Self::after(trip, Ok((acquired, Some(Found))))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn call(&self) -> Result<Answer, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.trip).await;
        self.answer.clone()
    }
}

/// What a request meets that goes to the store with its record.
async fn together(bench: &Bench, store: &Both) -> Result<(Decision, Option<Found>), StoreError> {
    together_or(OnError::Local, bench, store).await
}

async fn together_or(
    on_error: OnError,
    bench: &Bench,
    store: &Both,
) -> Result<(Decision, Option<Found>), StoreError> {
    bench
        .guard
        .acquire_by(&[claim()], on_error, store.call())
        .await
}

#[tokio::test(start_paused = true)]
async fn b15_a_trip_for_both_is_waited_for_as_long_as_it_takes() {
    let (bench, store) = (bench(1), Both::admitting(Duration::from_millis(900)));
    let found = together(&bench, &store).await;
    assert!(
        matches!(found, Ok((Decision::ByStore(_), Some(Found)))),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn b15_after_three_late_trips_for_both_the_limits_are_decided_locally() {
    let (bench, store) = (
        bench(1),
        Both::admitting(STORE_TIMEOUT + Duration::from_millis(10)),
    );
    for _ in 0..3 {
        assert!(matches!(
            together(&bench, &store).await,
            Ok((Decision::ByStore(_), Some(_)))
        ));
    }
    let found = together(&bench, &store).await;
    assert!(
        matches!(found, Ok((Decision::Locally(_), None))),
        "{found:?}"
    );
    assert_eq!(
        (store.calls(), bench.calls()),
        (3, 0),
        "neither store is asked for limits"
    );
    bench.clock.advance(PAUSE);
    assert!(
        matches!(
            together(&bench, &store).await,
            Ok((Decision::ByStore(_), None))
        ),
        "limits alone probe"
    );
    assert_eq!((store.calls(), bench.calls()), (3, 1));
    assert!(
        matches!(together(&bench, &store).await, Ok((_, Some(Found)))),
        "a good answer ends it"
    );
    assert_eq!((store.calls(), bench.calls()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn b15_a_trip_for_both_that_fails_is_a_failure_whatever_the_limits_say() {
    let error = StoreError::Unavailable(String::from("no answer in time"));
    let (bench, store) = (
        bench(1),
        Both::after(Duration::from_secs(1), Err(error.clone())),
    );
    for _ in 0..3 {
        assert_eq!(together(&bench, &store).await, Err(error.clone()));
    }
    assert!(matches!(
        together(&bench, &store).await,
        Ok((Decision::Locally(_), None))
    ));
    assert_eq!((store.calls(), bench.calls()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn b15_good_trips_for_both_keep_the_store_asked() {
    let (bench, good) = (bench(1), Both::admitting(Duration::from_millis(1)));
    let late = Both::admitting(STORE_TIMEOUT * 2);
    for _ in 0..4 {
        for store in [&late, &late, &good] {
            assert!(matches!(
                together(&bench, store).await,
                Ok((Decision::ByStore(_), Some(_)))
            ));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b15_a_value_that_cannot_be_read_is_no_outage_of_both() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("of tomorrow"),
    };
    let (bench, store) = (bench(1), Both::after(Duration::ZERO, Err(error.clone())));
    for calls in 1..10 {
        assert_eq!(together(&bench, &store).await, Err(error.clone()));
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn b15_a_full_store_leaves_the_limits_to_the_instance_and_the_record_to_begin() {
    let (bench, store) = (bench(1), Both::after(Duration::ZERO, Err(StoreError::Full)));
    for calls in [1, 2, 3, 3] {
        let found = together(&bench, &store).await;
        assert!(
            matches!(found, Ok((Decision::Locally(_), None))),
            "{found:?}"
        );
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test]
async fn b15_where_nobody_may_decide_instead_nothing_has_begun_that_is_to_be_given_back() {
    let bench = bench(1);
    let full = Both::after(Duration::ZERO, Err(StoreError::Full));
    bench.store.break_down(true);
    for _ in 0..6 {
        let denied = together_or(OnError::Deny, &bench, &full)
            .await
            .expect_err("nobody decides");
        assert!(!denied.is_ambiguous(), "{denied:?}");
    }
    assert_eq!(full.calls(), 3, "the store is left alone");
}

#[tokio::test(start_paused = true)]
async fn b14_what_a_trip_for_both_refuses_is_remembered() {
    let refused = Acquired::of(&[claim()], &[State::Ahead(claim().quota.window())]);
    let store = Both::after(Duration::ZERO, Ok((refused.clone(), None)));
    let bench = bench(1);
    assert!(!bench.guard.is_rejected());
    assert_eq!(
        together(&bench, &store).await,
        Ok((Decision::ByStore(refused.clone()), None))
    );
    assert!(bench.guard.is_rejected());
    assert_eq!(bench.guard.cached_rejection(&[claim()]), Some(refused));
    bench.clock.advance(Duration::from_secs(1));
    assert!(!bench.guard.is_rejected() && bench.guard.cached_rejection(&[claim()]).is_none());
}

/// The store of a bench, a trip away.
#[derive(Debug)]
struct Distant(FaultyLimits<Arc<Asked>>);

impl LimitStore for Distant {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.0.acquire(claims))
    }
}

fn distant() -> Bench {
    let bench = bench(1);
    let (clock, store) = (
        Arc::new(bench.clock.clone()),
        Arc::new(Distant(bench.store.clone())),
    );
    Bench {
        guard: LimitClient::by(clock, store, Instances::new(1).expect("one")),
        ..bench
    }
}

#[tokio::test]
async fn b14_what_a_store_a_trip_away_refuses_is_remembered() {
    let bench = distant();
    for _ in 0..10 {
        assert!(bench.decided().await.acquired().admitted);
        assert!(!bench.guard.is_rejected());
    }
    assert!(!bench.decided().await.acquired().admitted);
    bench.clock.advance(Duration::from_millis(400));
    let denial = bench
        .guard
        .cached_rejection(&[claim()])
        .expect("it was refused");
    assert_eq!(denial.statuses[0].wait, Some(Duration::from_millis(600)));
    bench.clock.advance(Duration::from_millis(600));
    assert!(!bench.guard.is_rejected(), "there is a token again");
}

#[tokio::test]
async fn b14_what_takes_no_trip_is_not_remembered() {
    let bench = bench(1);
    for _ in 0..11 {
        bench.decided().await;
    }
    assert!(!bench.guard.is_rejected());
}

#[tokio::test]
async fn b14_what_this_instance_decides_alone_is_not_remembered() {
    let bench = distant();
    bench.store.break_down(true);
    for _ in 0..20 {
        bench.decided().await;
    }
    assert!(!bench.decided().await.acquired().admitted);
    assert!(!bench.guard.is_rejected());
}

#[tokio::test]
async fn b15_each_turn_is_said_once() {
    let log = TestLog::of("rate_limit::client");
    let _said = log.listen();
    let bench = bench(1);
    for _ in 0..2 {
        bench.go_local().await;
        for _ in 0..5 {
            bench.clock.advance(PAUSE);
            assert!(bench.is_local().await);
        }
        assert_eq!(bench.guard.decided_locally.load(Ordering::SeqCst), 8);
        bench.store.break_down(false);
        bench.clock.advance(PAUSE);
        assert!(!bench.is_local().await && !bench.is_local().await);
        assert_eq!(bench.guard.decided_locally.load(Ordering::SeqCst), 0);
    }
    let said: Vec<Level> = log.lines().iter().map(LogLine::level).collect();
    assert_eq!(said, [Level::WARN, Level::INFO, Level::WARN, Level::INFO]);
}

#[tokio::test(start_paused = true)]
async fn b15_where_nobody_may_decide_instead_what_the_store_does_not_decide_is_an_error() {
    let bench = bench(1);
    let denied = async || {
        bench
            .guard
            .acquire(&[claim()], OnError::Deny)
            .await
            .expect_err("nobody decides")
    };
    bench.store.hang(true);
    for waited in [250, 250, 250, 0, 0] {
        let start = Instant::now();
        assert!(denied().await.is_outage());
        assert!(
            start.elapsed().abs_diff(Duration::from_millis(waited)) <= Duration::from_millis(1)
        );
    }
    bench.store.hang(false);
    assert!(denied().await.is_outage(), "the store is left alone");
    assert_eq!(bench.calls(), 0);
    bench.clock.advance(PAUSE);
    let decided = bench
        .guard
        .acquire(&[claim()], OnError::Deny)
        .await
        .expect("the store is well");
    let Decision::ByStore(acquired) = decided else {
        panic!("{decided:?}")
    };
    assert_eq!(
        acquired.statuses[0].remaining, 9,
        "nothing was taken meanwhile"
    );
}

#[tokio::test]
async fn b15_dear_and_cheap_requests_meet_the_same_share() {
    let bench = bench(10);
    bench.go_local().await;
    let bucket = Bucket {
        limit: 2,
        subject: LimitSubject::Everyone,
    };
    let decided = async |cost| {
        let claim = LimitRequest {
            bucket,
            cost,
            max_cost: 10,
            ..claim()
        };
        let decided = bench
            .guard
            .acquire(&[claim], OnError::Local)
            .await
            .expect("a decision");
        decided.acquired().admitted
    };
    assert!(decided(10).await && decided(0).await);
    // One token in ten seconds: what costs nothing has not shortened that.
    bench.clock.advance(Duration::from_secs(10));
    assert!(!decided(10).await && decided(1).await && !decided(1).await);
    bench.clock.advance(Duration::from_secs(100));
    assert!(decided(10).await);
}

/// One of 10 tokens, of which three may be with instances.
fn reserved() -> LimitRequest<'static> {
    LimitRequest {
        quota: claim().quota.reserve(3),
        ..claim()
    }
}

#[tokio::test]
async fn b15_tokens_taken_ahead_are_good_while_the_store_is_out() {
    let bench = bench(1);
    let ask = async || {
        bench
            .guard
            .acquire_prefetched(&reserved(), 3, OnError::Deny)
            .await
    };
    assert!(matches!(ask().await, Ok(Decision::ByStore(acquired)) if acquired.admitted));
    assert_eq!(bench.calls(), 1);
    bench.go_local().await;
    for left in [2, 1, 0] {
        let Ok(Decision::ByStore(taken)) = ask().await else {
            panic!("there is one here")
        };
        // Three are left in the store's bucket, as it was.
        assert_eq!(
            (taken.admitted, taken.statuses[0].remaining),
            (true, left + 3)
        );
    }
    assert_eq!(
        ask().await,
        Err(StoreError::Unreachable(String::from(UNDECIDED)))
    );
}

#[tokio::test]
async fn b15_where_no_batch_is_to_be_had_the_instance_decides_one_request() {
    let bench = bench(1);
    bench.go_local().await;
    let decided = bench
        .guard
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    let Ok(Decision::Locally(acquired)) = decided else {
        panic!("{decided:?}")
    };
    assert_eq!((acquired.admitted, acquired.statuses[0].wait), (true, None));
    bench.store.break_down(false);
    bench.clock.advance(PAUSE);
    let decided = bench
        .guard
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    assert!(matches!(decided, Ok(Decision::ByStore(acquired)) if acquired.admitted));
}

/// A store of two parts, of which the one with the odd limits is out.
#[derive(Debug)]
struct Parted(MemoryLimits);

impl LimitStore for Parted {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        if self.part(claims) == 1 {
            return StoreFuture::ready(Err(StoreError::Unreachable(String::from("a test"))));
        }
        self.0.acquire(claims)
    }

    fn part(&self, claims: &[LimitRequest<'_>]) -> usize {
        usize::from(claims[0].bucket.limit % 2 == 1)
    }
}

#[tokio::test]
async fn b15_a_part_of_the_store_that_is_out_takes_no_other_with_it() {
    let clock = TestClock::new();
    let store = Parted(MemoryLimits::with_capacity(1024, Arc::new(clock.clone())));
    let guard = LimitClient::by(
        Arc::new(clock),
        Arc::new(store),
        Instances::new(1).expect("a number of instances"),
    );
    let ask = async |limit: u64| {
        let claim = LimitRequest {
            bucket: Bucket {
                limit,
                ..claim().bucket
            },
            ..claim()
        };
        guard
            .acquire(&[claim], OnError::Local)
            .await
            .expect("a decision")
    };
    for limit in 0..40 {
        let locally = matches!(ask(limit).await, Decision::Locally(_));
        assert_eq!(locally, limit % 2 == 1, "{limit}");
    }
}
