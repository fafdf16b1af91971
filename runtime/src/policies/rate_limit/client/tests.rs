use std::sync::atomic::AtomicUsize;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::Level;

use super::super::breaker::OPEN_DURATION;
use super::super::decide::BucketState;
use super::super::quota::Quota;
use super::super::store::{Bucket, LimitSubject};
use super::*;
use crate::facet::StoreFuture;
use crate::testing::{FaultyLimits, LogLine, TestClock, TestLog};

/// A store that counts its calls, and fails if `error` is set.
#[derive(Debug)]
struct CountingStore {
    calls: AtomicUsize,
    error: Option<StoreError>,
    inner: MemoryLimits,
}

impl LimitStore for CountingStore {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &self.error {
            Some(error) => StoreFuture::ready(Err(error.clone())),
            None => self.inner.acquire(requests),
        }
    }
}

/// A client with the store and the clock that tests control.
struct Bench {
    client: LimitClient,
    store: FaultyLimits<Arc<CountingStore>>,
    counter: Arc<CountingStore>,
    clock: TestClock,
}

fn bench(instances: u32) -> Bench {
    bench_with(None, instances)
}

fn bench_with(error: Option<StoreError>, instances: u32) -> Bench {
    let clock = TestClock::new();
    let inner = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
    let counter = Arc::new(CountingStore {
        calls: AtomicUsize::new(0),
        error,
        inner,
    });
    let store = FaultyLimits::new(Arc::clone(&counter));
    let instances = Instances::new(instances).expect("a number of instances");
    let client =
        LimitClient::with_clock(Arc::new(clock.clone()), Arc::new(store.clone()), instances);
    Bench {
        client,
        store,
        counter,
        clock,
    }
}

/// A request for one of 10 tokens; one refills every second.
fn request() -> LimitRequest<'static> {
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
    async fn decide(&self) -> Decision {
        self.client
            .acquire(&[request()], OnError::Local)
            .await
            .expect("a decision")
    }

    async fn is_local(&self) -> bool {
        matches!(self.decide().await, Decision::Locally(_))
    }

    fn calls(&self) -> usize {
        self.counter.calls.load(Ordering::SeqCst)
    }

    /// Breaks the store and opens the breaker by three requests.
    async fn open_breaker(&self) {
        self.store.break_down(true);
        for _ in 0..3 {
            assert!(self.is_local().await);
        }
    }
}

#[test]
fn an_in_memory_store_answers_immediately() {
    let clock = TestClock::new();
    let memory = Arc::new(MemoryLimits::with_capacity(1024, Arc::new(clock.clone())));
    let client = LimitClient::with_clock(
        Arc::new(clock),
        memory,
        Instances::new(1).expect("a number of instances"),
    );
    let acquired = client
        .acquire_in_process(&[request()])
        .expect("an in-memory store answers immediately");
    assert!(acquired.admitted && acquired.statuses[0].remaining == 9);
}

#[tokio::test]
async fn a_remote_store_is_not_called_for_an_immediate_answer() {
    let bench = bench(1);
    assert_eq!(bench.client.acquire_in_process(&[request()]), None);
    assert_eq!(bench.calls(), 0);
    assert_eq!(bench.decide().await.acquired().statuses[0].remaining, 9);
}

#[tokio::test]
async fn b15_a_healthy_store_decides() {
    let bench = bench(1);
    let Decision::ByStore(acquired) = bench.decide().await else {
        panic!("the store is healthy")
    };
    assert!(acquired.admitted);
    assert_eq!(acquired.statuses[0].remaining, 9);
}

#[tokio::test(start_paused = true)]
async fn b15_three_requests_wait_250_ms_and_later_ones_do_not_wait() {
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
async fn b15_after_a_second_one_of_many_requests_probes() {
    let bench = bench(1);
    bench.store.hang(true);
    for _ in 0..3 {
        assert!(bench.is_local().await);
    }
    bench.clock.advance(OPEN_DURATION);
    let waits = join_all((0..16).map(|_| async {
        let start = Instant::now();
        assert!(bench.is_local().await);
        start.elapsed() >= STORE_TIMEOUT
    }));
    assert_eq!(waits.await.into_iter().filter(|waited| *waited).count(), 1);
    bench.store.hang(false);
    assert!(
        bench.is_local().await,
        "the probe has failed, so the breaker stays open"
    );
    bench.clock.advance(OPEN_DURATION);
    assert!(!bench.is_local().await);
    assert!(!bench.is_local().await, "a success closes the breaker");
    assert_eq!(bench.calls(), 2);
}

#[test]
fn b15_one_of_many_threads_probes() {
    let bench = bench(1);
    for _ in 0..3 {
        bench
            .client
            .report_failure(&bench.client.breakers[0], Permit::Normal, &"a test");
    }
    bench.clock.advance(OPEN_DURATION);
    let probes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let permitted = (0..1000)
                    .filter(|_| {
                        bench.client.breakers[0]
                            .acquire_permit(|| bench.clock.now())
                            .is_some()
                    })
                    .count();
                probes.fetch_add(permitted, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(probes.into_inner(), 1);
}

#[tokio::test]
async fn b15_two_failures_keep_the_breaker_closed() {
    let bench = bench(1);
    bench.store.break_down(true);
    assert!(bench.is_local().await && bench.is_local().await);
    bench.store.break_down(false);
    assert!(!bench.is_local().await);
    bench.store.break_down(true);
    assert!(bench.is_local().await && bench.is_local().await);
    bench.store.break_down(false);
    assert!(!bench.is_local().await, "the failures are not in a row");
}

#[tokio::test]
async fn b15_an_instance_decides_by_its_share_of_the_limit() {
    let bench = bench(4);
    bench.store.break_down(true);
    for _ in 0..3 {
        assert!(
            bench.decide().await.acquired().admitted,
            "a quarter of ten, rounded up"
        );
    }
    let rejected = bench.decide().await;
    assert!(!rejected.acquired().admitted);
    assert_eq!(
        rejected.acquired().statuses[0].wait,
        Some(Duration::from_secs(4))
    );
    assert!(matches!(rejected, Decision::Locally(_)));
    bench.clock.advance(Duration::from_secs(4));
    assert!(bench.decide().await.acquired().admitted);
}

#[tokio::test]
async fn b15_an_unreadable_bucket_is_not_an_outage() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("of tomorrow"),
    };
    let bench = bench_with(Some(error.clone()), 1);
    for calls in 1..10 {
        assert_eq!(
            bench.client.acquire(&[request()], OnError::Local).await,
            Err(error.clone())
        );
        assert_eq!(bench.calls(), calls);
    }
}

#[tokio::test]
async fn b15_a_full_or_failing_store_is_an_outage() {
    for error in [
        StoreError::Full,
        StoreError::Failed(String::from("no such command")),
    ] {
        let bench = bench_with(Some(error), 1);
        for _ in 0..10 {
            assert!(matches!(
                bench.client.acquire(&[request()], OnError::Local).await,
                Ok(Decision::Locally(_))
            ));
        }
        assert_eq!(bench.calls(), 3);
    }
}

/// A store of limits and records that gives one answer after a delay.
#[derive(Debug)]
struct CombinedStore {
    calls: AtomicUsize,
    delay: Duration,
    answer: Result<Answer, StoreError>,
}

/// The decision of the limits, and the record if they admit the request.
type Answer = (Acquired, Option<Found>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found;

impl CombinedStore {
    fn after(delay: Duration, answer: Result<Answer, StoreError>) -> Self {
        Self {
            calls: AtomicUsize::new(0),
            delay,
            answer,
        }
    }

    /// A store that admits the request and begins its run.
    fn admitting(delay: Duration) -> Self {
        let acquired = Acquired::of(&[request()], &[BucketState::Ahead(0)]);
        Self::after(delay, Ok((acquired, Some(Found))))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn call(&self) -> Result<Answer, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        self.answer.clone()
    }
}

/// Acquires tokens together with a record.
async fn acquire_combined(
    bench: &Bench,
    store: &CombinedStore,
) -> Result<(Decision, Option<Found>), StoreError> {
    acquire_combined_or(OnError::Local, bench, store).await
}

async fn acquire_combined_or(
    on_error: OnError,
    bench: &Bench,
    store: &CombinedStore,
) -> Result<(Decision, Option<Found>), StoreError> {
    bench
        .client
        .acquire_with(&[request()], on_error, store.call())
        .await
}

#[tokio::test(start_paused = true)]
async fn b15_a_combined_call_has_no_timeout() {
    let (bench, store) = (
        bench(1),
        CombinedStore::admitting(Duration::from_millis(900)),
    );
    let found = acquire_combined(&bench, &store).await;
    assert!(
        matches!(found, Ok((Decision::ByStore(_), Some(Found)))),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn b15_three_late_combined_calls_open_the_breaker() {
    let (bench, store) = (
        bench(1),
        CombinedStore::admitting(STORE_TIMEOUT + Duration::from_millis(10)),
    );
    for _ in 0..3 {
        assert!(matches!(
            acquire_combined(&bench, &store).await,
            Ok((Decision::ByStore(_), Some(_)))
        ));
    }
    let found = acquire_combined(&bench, &store).await;
    assert!(
        matches!(found, Ok((Decision::Locally(_), None))),
        "{found:?}"
    );
    assert_eq!(
        (store.calls(), bench.calls()),
        (3, 0),
        "no store is called for limits"
    );
    bench.clock.advance(OPEN_DURATION);
    assert!(
        matches!(
            acquire_combined(&bench, &store).await,
            Ok((Decision::ByStore(_), None))
        ),
        "the probe is a call for limits only"
    );
    assert_eq!((store.calls(), bench.calls()), (3, 1));
    assert!(
        matches!(acquire_combined(&bench, &store).await, Ok((_, Some(Found)))),
        "a success closes the breaker"
    );
    assert_eq!((store.calls(), bench.calls()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn b15_a_failed_combined_call_is_an_error() {
    let error = StoreError::Unavailable(String::from("no answer in time"));
    let (bench, store) = (
        bench(1),
        CombinedStore::after(Duration::from_secs(1), Err(error.clone())),
    );
    for _ in 0..3 {
        assert_eq!(acquire_combined(&bench, &store).await, Err(error.clone()));
    }
    assert!(matches!(
        acquire_combined(&bench, &store).await,
        Ok((Decision::Locally(_), None))
    ));
    assert_eq!((store.calls(), bench.calls()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn b15_successful_combined_calls_keep_the_breaker_closed() {
    let (bench, good) = (bench(1), CombinedStore::admitting(Duration::from_millis(1)));
    let late = CombinedStore::admitting(STORE_TIMEOUT * 2);
    for _ in 0..4 {
        for store in [&late, &late, &good] {
            assert!(matches!(
                acquire_combined(&bench, store).await,
                Ok((Decision::ByStore(_), Some(_)))
            ));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b15_an_unreadable_value_in_a_combined_call_is_not_an_outage() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("of tomorrow"),
    };
    let (bench, store) = (
        bench(1),
        CombinedStore::after(Duration::ZERO, Err(error.clone())),
    );
    for calls in 1..10 {
        assert_eq!(acquire_combined(&bench, &store).await, Err(error.clone()));
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn b15_with_a_full_store_the_instance_decides_the_limits_and_no_record_is_returned() {
    let (bench, store) = (
        bench(1),
        CombinedStore::after(Duration::ZERO, Err(StoreError::Full)),
    );
    for calls in [1, 2, 3, 3] {
        let found = acquire_combined(&bench, &store).await;
        assert!(
            matches!(found, Ok((Decision::Locally(_), None))),
            "{found:?}"
        );
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test]
async fn b15_on_error_deny_leaves_nothing_to_undo() {
    let bench = bench(1);
    let full = CombinedStore::after(Duration::ZERO, Err(StoreError::Full));
    bench.store.break_down(true);
    for _ in 0..6 {
        let denied = acquire_combined_or(OnError::Deny, &bench, &full)
            .await
            .expect_err("the instance may not decide");
        assert!(!denied.is_ambiguous(), "{denied:?}");
    }
    assert_eq!(full.calls(), 3, "the breaker is open");
}

#[tokio::test(start_paused = true)]
async fn b14_a_rejection_of_a_combined_call_is_cached() {
    let rejected = Acquired::of(
        &[request()],
        &[BucketState::Ahead(request().quota.window())],
    );
    let store = CombinedStore::after(Duration::ZERO, Ok((rejected.clone(), None)));
    let bench = bench(1);
    assert!(!bench.client.may_have_rejections());
    assert_eq!(
        acquire_combined(&bench, &store).await,
        Ok((Decision::ByStore(rejected.clone()), None))
    );
    assert!(bench.client.may_have_rejections());
    assert_eq!(bench.client.cached_rejection(&[request()]), Some(rejected));
    bench.clock.advance(Duration::from_secs(1));
    assert!(
        !bench.client.may_have_rejections()
            && bench.client.cached_rejection(&[request()]).is_none()
    );
}

/// The store of a bench as a remote store, whose answers are never ready.
#[derive(Debug)]
struct RemoteStore(FaultyLimits<Arc<CountingStore>>);

impl LimitStore for RemoteStore {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.0.acquire(requests))
    }
}

fn remote_bench() -> Bench {
    let bench = bench(1);
    let (clock, store) = (
        Arc::new(bench.clock.clone()),
        Arc::new(RemoteStore(bench.store.clone())),
    );
    Bench {
        client: LimitClient::with_clock(clock, store, Instances::new(1).expect("one")),
        ..bench
    }
}

#[tokio::test]
async fn b14_a_rejection_of_a_remote_store_is_cached() {
    let bench = remote_bench();
    for _ in 0..10 {
        assert!(bench.decide().await.acquired().admitted);
        assert!(!bench.client.may_have_rejections());
    }
    assert!(!bench.decide().await.acquired().admitted);
    bench.clock.advance(Duration::from_millis(400));
    let rejection = bench
        .client
        .cached_rejection(&[request()])
        .expect("the store has rejected it");
    assert_eq!(rejection.statuses[0].wait, Some(Duration::from_millis(600)));
    bench.clock.advance(Duration::from_millis(600));
    assert!(!bench.client.may_have_rejections(), "a token has refilled");
}

#[tokio::test]
async fn b14_a_rejection_of_an_in_memory_store_is_not_cached() {
    let bench = bench(1);
    for _ in 0..11 {
        bench.decide().await;
    }
    assert!(!bench.client.may_have_rejections());
}

#[tokio::test]
async fn b14_a_rejection_by_the_instance_itself_is_not_cached() {
    let bench = remote_bench();
    bench.store.break_down(true);
    for _ in 0..20 {
        bench.decide().await;
    }
    assert!(!bench.decide().await.acquired().admitted);
    assert!(!bench.client.may_have_rejections());
}

#[tokio::test]
async fn b15_opening_and_closing_are_logged_once() {
    let log = TestLog::of("rate_limit::client");
    let _guard = log.listen();
    let bench = bench(1);
    for _ in 0..2 {
        bench.open_breaker().await;
        for _ in 0..5 {
            bench.clock.advance(OPEN_DURATION);
            assert!(bench.is_local().await);
        }
        assert_eq!(bench.client.decided_locally.load(Ordering::SeqCst), 8);
        bench.store.break_down(false);
        bench.clock.advance(OPEN_DURATION);
        assert!(!bench.is_local().await && !bench.is_local().await);
        assert_eq!(bench.client.decided_locally.load(Ordering::SeqCst), 0);
    }
    let levels: Vec<Level> = log.lines().iter().map(LogLine::level).collect();
    assert_eq!(levels, [Level::WARN, Level::INFO, Level::WARN, Level::INFO]);
}

#[tokio::test(start_paused = true)]
async fn b15_with_on_error_deny_an_undecided_request_is_an_error() {
    let bench = bench(1);
    let denied = async || {
        bench
            .client
            .acquire(&[request()], OnError::Deny)
            .await
            .expect_err("the instance may not decide")
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
    assert!(denied().await.is_outage(), "the breaker is open");
    assert_eq!(bench.calls(), 0);
    bench.clock.advance(OPEN_DURATION);
    let decided = bench
        .client
        .acquire(&[request()], OnError::Deny)
        .await
        .expect("the store is healthy");
    let Decision::ByStore(acquired) = decided else {
        panic!("{decided:?}")
    };
    assert_eq!(
        acquired.statuses[0].remaining, 9,
        "no tokens were taken in the meantime"
    );
}

#[tokio::test]
async fn b15_requests_of_any_cost_have_the_same_share() {
    let bench = bench(10);
    bench.open_breaker().await;
    let bucket = Bucket {
        limit: 2,
        subject: LimitSubject::Everyone,
    };
    let decided = async |cost| {
        let request = LimitRequest {
            bucket,
            cost,
            max_cost: 10,
            ..request()
        };
        let decided = bench
            .client
            .acquire(&[request], OnError::Local)
            .await
            .expect("a decision");
        decided.acquired().admitted
    };
    assert!(decided(10).await && decided(0).await);
    // The share refills one token in ten seconds. A request without cost does not change that.
    bench.clock.advance(Duration::from_secs(10));
    assert!(!decided(10).await && decided(1).await && !decided(1).await);
    bench.clock.advance(Duration::from_secs(100));
    assert!(decided(10).await);
}

/// A request for one of 10 tokens, of which three are reserved for prefetching.
fn reserved() -> LimitRequest<'static> {
    LimitRequest {
        quota: request().quota.reserve(3),
        ..request()
    }
}

#[tokio::test]
async fn b15_prefetched_tokens_are_valid_while_the_store_is_down() {
    let bench = bench(1);
    let acquire = async || {
        bench
            .client
            .acquire_prefetched(&reserved(), 3, OnError::Deny)
            .await
    };
    assert!(matches!(acquire().await, Ok(Decision::ByStore(acquired)) if acquired.admitted));
    assert_eq!(bench.calls(), 1);
    bench.open_breaker().await;
    for left in [2, 1, 0] {
        let Ok(Decision::ByStore(taken)) = acquire().await else {
            panic!("a prefetched token is left")
        };
        // The store had three tokens left at the last call.
        assert_eq!(
            (taken.admitted, taken.statuses[0].remaining),
            (true, left + 3)
        );
    }
    assert_eq!(
        acquire().await,
        Err(StoreError::Unreachable(String::from(NOT_DECIDED)))
    );
}

#[tokio::test]
async fn b15_without_a_store_the_instance_decides_and_takes_no_batch() {
    let bench = bench(1);
    bench.open_breaker().await;
    let decided = bench
        .client
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    let Ok(Decision::Locally(acquired)) = decided else {
        panic!("{decided:?}")
    };
    assert_eq!((acquired.admitted, acquired.statuses[0].wait), (true, None));
    bench.store.break_down(false);
    bench.clock.advance(OPEN_DURATION);
    let decided = bench
        .client
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    assert!(matches!(decided, Ok(Decision::ByStore(acquired)) if acquired.admitted));
}

/// A store of two parts. The part with the odd limits is down.
#[derive(Debug)]
struct TwoParts(MemoryLimits);

impl LimitStore for TwoParts {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        if self.part(requests) == 1 {
            return StoreFuture::ready(Err(StoreError::Unreachable(String::from("a test"))));
        }
        self.0.acquire(requests)
    }

    fn part(&self, requests: &[LimitRequest<'_>]) -> usize {
        usize::from(requests[0].bucket.limit % 2 == 1)
    }
}

#[tokio::test]
async fn b15_a_failed_part_of_the_store_does_not_affect_the_others() {
    let clock = TestClock::new();
    let store = TwoParts(MemoryLimits::with_capacity(1024, Arc::new(clock.clone())));
    let client = LimitClient::with_clock(
        Arc::new(clock),
        Arc::new(store),
        Instances::new(1).expect("a number of instances"),
    );
    let acquire = async |limit: u64| {
        let request = LimitRequest {
            bucket: Bucket {
                limit,
                ..request().bucket
            },
            ..request()
        };
        client
            .acquire(&[request], OnError::Local)
            .await
            .expect("a decision")
    };
    for limit in 0..40 {
        let locally = matches!(acquire(limit).await, Decision::Locally(_));
        assert_eq!(locally, limit % 2 == 1, "{limit}");
    }
}
