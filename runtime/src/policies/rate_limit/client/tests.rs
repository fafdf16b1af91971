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

/// A client, with its store and its clock, which tests control.
struct TestLimits {
    client: LimitClient,
    store: FaultyLimits<Arc<CountingStore>>,
    counter: Arc<CountingStore>,
    clock: TestClock,
}

fn limits(instances: u32) -> TestLimits {
    limits_with(None, instances)
}

fn limits_with(error: Option<StoreError>, instances: u32) -> TestLimits {
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
    TestLimits {
        client,
        store,
        counter,
        clock,
    }
}

/// Returns a request for one token of a bucket of 10 tokens. One token refills every second.
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

impl TestLimits {
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

    /// Breaks the store, and opens the breaker with three requests.
    async fn open_breaker(&self) {
        self.store.set_broken(true);
        for _ in 0..3 {
            assert!(self.is_local().await);
        }
    }
}

#[test]
fn an_in_memory_store_decides_immediately() {
    let clock = TestClock::new();
    let memory = Arc::new(MemoryLimits::with_capacity(1024, Arc::new(clock.clone())));
    let client = LimitClient::with_clock(
        Arc::new(clock),
        memory,
        Instances::new(1).expect("a number of instances"),
    );
    let acquired = client
        .acquire_in_process(&[request()])
        .expect("an in-memory store decides immediately");
    assert!(acquired.admitted && acquired.statuses[0].remaining == 9);
}

#[tokio::test]
async fn a_remote_store_is_not_called_for_an_immediate_decision() {
    let limits = limits(1);
    assert_eq!(limits.client.acquire_in_process(&[request()]), None);
    assert_eq!(limits.calls(), 0);
    assert_eq!(limits.decide().await.acquired().statuses[0].remaining, 9);
}

#[tokio::test]
async fn b15_a_healthy_store_decides() {
    let limits = limits(1);
    let Decision::ByStore(acquired) = limits.decide().await else {
        panic!("the store is healthy")
    };
    assert!(acquired.admitted);
    assert_eq!(acquired.statuses[0].remaining, 9);
}

#[tokio::test(start_paused = true)]
async fn b15_three_requests_wait_250_ms_and_later_ones_do_not_wait() {
    let limits = limits(1);
    limits.store.hang(true);
    for waited in [250, 250, 250, 0, 0] {
        let start = Instant::now();
        assert!(limits.is_local().await);
        // Tokio's timers are exact to a millisecond.
        assert!(
            start.elapsed().abs_diff(Duration::from_millis(waited)) <= Duration::from_millis(1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn b15_after_a_second_only_one_of_many_requests_probes() {
    let limits = limits(1);
    limits.store.hang(true);
    for _ in 0..3 {
        assert!(limits.is_local().await);
    }
    limits.clock.advance(OPEN_DURATION);
    let waits = join_all((0..16).map(|_| async {
        let start = Instant::now();
        assert!(limits.is_local().await);
        start.elapsed() >= STORE_TIMEOUT
    }));
    assert_eq!(waits.await.into_iter().filter(|waited| *waited).count(), 1);
    limits.store.hang(false);
    assert!(
        limits.is_local().await,
        "the probe has failed, so the breaker stays open"
    );
    limits.clock.advance(OPEN_DURATION);
    assert!(!limits.is_local().await);
    assert!(!limits.is_local().await, "a success closes the breaker");
    assert_eq!(limits.calls(), 2);
}

#[test]
fn b15_only_one_of_many_threads_probes() {
    let limits = limits(1);
    for _ in 0..3 {
        limits
            .client
            .report_failure(&limits.client.breakers[0], Permit::Normal, &"a test");
    }
    limits.clock.advance(OPEN_DURATION);
    let probes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let permitted = (0..1000)
                    .filter(|_| {
                        limits.client.breakers[0]
                            .acquire_permit(|| limits.clock.now())
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
    let limits = limits(1);
    limits.store.set_broken(true);
    assert!(limits.is_local().await && limits.is_local().await);
    limits.store.set_broken(false);
    assert!(!limits.is_local().await);
    limits.store.set_broken(true);
    assert!(limits.is_local().await && limits.is_local().await);
    limits.store.set_broken(false);
    assert!(!limits.is_local().await, "the failures are not in a row");
}

#[tokio::test]
async fn b15_an_instance_decides_by_its_share_of_the_limit() {
    let limits = limits(4);
    limits.store.set_broken(true);
    for _ in 0..3 {
        assert!(
            limits.decide().await.acquired().admitted,
            "an instance has a quarter of ten tokens, rounded up"
        );
    }
    let rejected = limits.decide().await;
    assert!(!rejected.acquired().admitted);
    assert_eq!(
        rejected.acquired().statuses[0].wait,
        Some(Duration::from_secs(4))
    );
    assert!(matches!(rejected, Decision::Locally(_)));
    limits.clock.advance(Duration::from_secs(4));
    assert!(limits.decide().await.acquired().admitted);
}

#[tokio::test]
async fn b15_an_unreadable_bucket_is_not_an_outage() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("written by another version"),
    };
    let limits = limits_with(Some(error.clone()), 1);
    for calls in 1..10 {
        assert_eq!(
            limits.client.acquire(&[request()], OnError::Local).await,
            Err(error.clone())
        );
        assert_eq!(limits.calls(), calls);
    }
}

#[tokio::test]
async fn b15_a_full_or_failing_store_is_an_outage() {
    for error in [
        StoreError::Full,
        StoreError::Failed(String::from("no such command")),
    ] {
        let limits = limits_with(Some(error), 1);
        for _ in 0..10 {
            assert!(matches!(
                limits.client.acquire(&[request()], OnError::Local).await,
                Ok(Decision::Locally(_))
            ));
        }
        assert_eq!(limits.calls(), 3);
    }
}

/// A store of limits and records. Each call returns the same result after a delay.
#[derive(Debug)]
struct CombinedStore {
    calls: AtomicUsize,
    delay: Duration,
    result: Result<CallResult, StoreError>,
}

/// The decision of the limits, with the record if the limits admit the request.
type CallResult = (Acquired, Option<BegunRecord>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BegunRecord;

impl CombinedStore {
    fn after(delay: Duration, result: Result<CallResult, StoreError>) -> Self {
        Self {
            calls: AtomicUsize::new(0),
            delay,
            result,
        }
    }

    /// Creates a store that admits the request and begins its run.
    fn admitting(delay: Duration) -> Self {
        let acquired = Acquired::decide(&[request()], &[BucketState::Ahead(0)]);
        Self::after(delay, Ok((acquired, Some(BegunRecord))))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn call(&self) -> Result<CallResult, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        self.result.clone()
    }
}

/// Acquires tokens together with a record.
async fn acquire_combined(
    limits: &TestLimits,
    store: &CombinedStore,
) -> Result<(Decision, Option<BegunRecord>), StoreError> {
    acquire_combined_or(OnError::Local, limits, store).await
}

async fn acquire_combined_or(
    on_error: OnError,
    limits: &TestLimits,
    store: &CombinedStore,
) -> Result<(Decision, Option<BegunRecord>), StoreError> {
    limits
        .client
        .acquire_with(&[request()], on_error, store.call())
        .await
}

#[tokio::test(start_paused = true)]
async fn b15_a_combined_call_has_no_timeout() {
    let (limits, store) = (
        limits(1),
        CombinedStore::admitting(Duration::from_millis(900)),
    );
    let found = acquire_combined(&limits, &store).await;
    assert!(
        matches!(found, Ok((Decision::ByStore(_), Some(BegunRecord)))),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn b15_three_late_combined_calls_open_the_breaker() {
    let (limits, store) = (
        limits(1),
        CombinedStore::admitting(STORE_TIMEOUT + Duration::from_millis(10)),
    );
    for _ in 0..3 {
        assert!(matches!(
            acquire_combined(&limits, &store).await,
            Ok((Decision::ByStore(_), Some(_)))
        ));
    }
    let found = acquire_combined(&limits, &store).await;
    assert!(
        matches!(found, Ok((Decision::Locally(_), None))),
        "{found:?}"
    );
    assert_eq!(
        (store.calls(), limits.calls()),
        (3, 0),
        "no store is called for limits"
    );
    limits.clock.advance(OPEN_DURATION);
    assert!(
        matches!(
            acquire_combined(&limits, &store).await,
            Ok((Decision::ByStore(_), None))
        ),
        "the probe is a call for limits only"
    );
    assert_eq!((store.calls(), limits.calls()), (3, 1));
    assert!(
        matches!(
            acquire_combined(&limits, &store).await,
            Ok((_, Some(BegunRecord)))
        ),
        "a success closes the breaker"
    );
    assert_eq!((store.calls(), limits.calls()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn b15_a_failed_combined_call_is_an_error() {
    let error = StoreError::Unavailable(String::from("no reply in time"));
    let (limits, store) = (
        limits(1),
        CombinedStore::after(Duration::from_secs(1), Err(error.clone())),
    );
    for _ in 0..3 {
        assert_eq!(acquire_combined(&limits, &store).await, Err(error.clone()));
    }
    assert!(matches!(
        acquire_combined(&limits, &store).await,
        Ok((Decision::Locally(_), None))
    ));
    assert_eq!((store.calls(), limits.calls()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn b15_successful_combined_calls_keep_the_breaker_closed() {
    let (limits, good) = (
        limits(1),
        CombinedStore::admitting(Duration::from_millis(1)),
    );
    let late = CombinedStore::admitting(STORE_TIMEOUT * 2);
    for _ in 0..4 {
        for store in [&late, &late, &good] {
            assert!(matches!(
                acquire_combined(&limits, store).await,
                Ok((Decision::ByStore(_), Some(_)))
            ));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b15_an_unreadable_value_in_a_combined_call_is_not_an_outage() {
    let error = StoreError::Malformed {
        key: String::from("k"),
        why: String::from("written by another version"),
    };
    let (limits, store) = (
        limits(1),
        CombinedStore::after(Duration::ZERO, Err(error.clone())),
    );
    for calls in 1..10 {
        assert_eq!(acquire_combined(&limits, &store).await, Err(error.clone()));
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn b15_with_a_full_store_the_instance_decides_the_limits_and_no_record_is_returned() {
    let (limits, store) = (
        limits(1),
        CombinedStore::after(Duration::ZERO, Err(StoreError::Full)),
    );
    for calls in [1, 2, 3, 3] {
        let found = acquire_combined(&limits, &store).await;
        assert!(
            matches!(found, Ok((Decision::Locally(_), None))),
            "{found:?}"
        );
        assert_eq!(store.calls(), calls);
    }
}

#[tokio::test]
async fn b15_with_on_error_deny_the_error_shows_that_no_record_has_begun() {
    let limits = limits(1);
    let full = CombinedStore::after(Duration::ZERO, Err(StoreError::Full));
    limits.store.set_broken(true);
    for _ in 0..6 {
        let denied = acquire_combined_or(OnError::Deny, &limits, &full)
            .await
            .expect_err("the instance may not decide");
        assert!(!denied.is_ambiguous(), "{denied:?}");
    }
    assert_eq!(full.calls(), 3, "the breaker is open");
}

#[tokio::test(start_paused = true)]
async fn b14_a_rejection_of_a_combined_call_is_cached() {
    let rejected = Acquired::decide(
        &[request()],
        &[BucketState::Ahead(request().quota.window())],
    );
    let store = CombinedStore::after(Duration::ZERO, Ok((rejected.clone(), None)));
    let limits = limits(1);
    assert!(!limits.client.may_have_rejections());
    assert_eq!(
        acquire_combined(&limits, &store).await,
        Ok((Decision::ByStore(rejected.clone()), None))
    );
    assert!(limits.client.may_have_rejections());
    assert_eq!(limits.client.cached_rejection(&[request()]), Some(rejected));
    limits.clock.advance(Duration::from_secs(1));
    assert!(
        !limits.client.may_have_rejections()
            && limits.client.cached_rejection(&[request()]).is_none()
    );
}

/// A wrapper that makes the store of a `TestLimits` a remote store: its futures are not ready on
/// the first poll.
#[derive(Debug)]
struct RemoteStore(FaultyLimits<Arc<CountingStore>>);

impl LimitStore for RemoteStore {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.0.acquire(requests))
    }
}

fn remote_limits() -> TestLimits {
    let limits = limits(1);
    let (clock, store) = (
        Arc::new(limits.clock.clone()),
        Arc::new(RemoteStore(limits.store.clone())),
    );
    TestLimits {
        client: LimitClient::with_clock(clock, store, Instances::new(1).expect("one")),
        ..limits
    }
}

#[tokio::test]
async fn b14_a_rejection_of_a_remote_store_is_cached() {
    let limits = remote_limits();
    for _ in 0..10 {
        assert!(limits.decide().await.acquired().admitted);
        assert!(!limits.client.may_have_rejections());
    }
    assert!(!limits.decide().await.acquired().admitted);
    limits.clock.advance(Duration::from_millis(400));
    let rejection = limits
        .client
        .cached_rejection(&[request()])
        .expect("the store has rejected the request");
    assert_eq!(rejection.statuses[0].wait, Some(Duration::from_millis(600)));
    limits.clock.advance(Duration::from_millis(600));
    assert!(!limits.client.may_have_rejections(), "a token has refilled");
}

#[tokio::test]
async fn b14_a_rejection_of_an_in_memory_store_is_not_cached() {
    let limits = limits(1);
    for _ in 0..11 {
        limits.decide().await;
    }
    assert!(!limits.client.may_have_rejections());
}

#[tokio::test]
async fn b14_a_rejection_by_the_instance_itself_is_not_cached() {
    let limits = remote_limits();
    limits.store.set_broken(true);
    for _ in 0..20 {
        limits.decide().await;
    }
    assert!(!limits.decide().await.acquired().admitted);
    assert!(!limits.client.may_have_rejections());
}

#[tokio::test]
async fn b15_each_opening_and_closing_of_the_breaker_is_logged_once() {
    let log = TestLog::of("rate_limit::client");
    let _guard = log.listen();
    let limits = limits(1);
    for _ in 0..2 {
        limits.open_breaker().await;
        for _ in 0..5 {
            limits.clock.advance(OPEN_DURATION);
            assert!(limits.is_local().await);
        }
        assert_eq!(limits.client.decided_locally.load(Ordering::SeqCst), 8);
        limits.store.set_broken(false);
        limits.clock.advance(OPEN_DURATION);
        assert!(!limits.is_local().await && !limits.is_local().await);
        assert_eq!(limits.client.decided_locally.load(Ordering::SeqCst), 0);
    }
    let levels: Vec<Level> = log.lines().iter().map(LogLine::level).collect();
    assert_eq!(levels, [Level::WARN, Level::INFO, Level::WARN, Level::INFO]);
}

#[tokio::test(start_paused = true)]
async fn b15_with_on_error_deny_an_undecided_request_is_an_error() {
    let limits = limits(1);
    let denied = async || {
        limits
            .client
            .acquire(&[request()], OnError::Deny)
            .await
            .expect_err("the instance may not decide")
    };
    limits.store.hang(true);
    for waited in [250, 250, 250, 0, 0] {
        let start = Instant::now();
        assert!(denied().await.is_outage());
        assert!(
            start.elapsed().abs_diff(Duration::from_millis(waited)) <= Duration::from_millis(1)
        );
    }
    limits.store.hang(false);
    assert!(denied().await.is_outage(), "the breaker is open");
    assert_eq!(limits.calls(), 0);
    limits.clock.advance(OPEN_DURATION);
    let decided = limits
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
async fn b15_the_local_share_does_not_depend_on_the_cost_of_a_request() {
    let limits = limits(10);
    limits.open_breaker().await;
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
        let decided = limits
            .client
            .acquire(&[request], OnError::Local)
            .await
            .expect("a decision");
        decided.acquired().admitted
    };
    assert!(decided(10).await && decided(0).await);
    // The local share refills one token in ten seconds. A request of cost 0 does not change this.
    limits.clock.advance(Duration::from_secs(10));
    assert!(!decided(10).await && decided(1).await && !decided(1).await);
    limits.clock.advance(Duration::from_secs(100));
    assert!(decided(10).await);
}

/// Returns a request for one token of a bucket of 10 tokens. Three tokens of the bucket are
/// reserved for prefetching.
fn reserved() -> LimitRequest<'static> {
    LimitRequest {
        quota: request().quota.reserve(3),
        ..request()
    }
}

#[tokio::test]
async fn b15_prefetched_tokens_are_valid_while_the_store_is_down() {
    let limits = limits(1);
    let acquire = async || {
        limits
            .client
            .acquire_prefetched(&reserved(), 3, OnError::Deny)
            .await
    };
    assert!(matches!(acquire().await, Ok(Decision::ByStore(acquired)) if acquired.admitted));
    assert_eq!(limits.calls(), 1);
    limits.open_breaker().await;
    for left in [2, 1, 0] {
        let Ok(Decision::ByStore(taken)) = acquire().await else {
            panic!("a prefetched token is left")
        };
        // At the last call, the store had three tokens left in addition to the batch.
        assert_eq!(
            (taken.admitted, taken.statuses[0].remaining),
            (true, left + 3)
        );
    }
    assert_eq!(
        acquire().await,
        Err(StoreError::NotExecuted(String::from(NOT_DECIDED)))
    );
}

#[tokio::test]
async fn b15_while_the_store_is_down_the_instance_decides_and_prefetches_no_tokens() {
    let limits = limits(1);
    limits.open_breaker().await;
    let decided = limits
        .client
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    let Ok(Decision::Locally(acquired)) = decided else {
        panic!("{decided:?}")
    };
    assert_eq!((acquired.admitted, acquired.statuses[0].wait), (true, None));
    limits.store.set_broken(false);
    limits.clock.advance(OPEN_DURATION);
    let decided = limits
        .client
        .acquire_prefetched(&reserved(), 3, OnError::Local)
        .await;
    assert!(matches!(decided, Ok(Decision::ByStore(acquired)) if acquired.admitted));
}

/// A store with two parts. The part that decides limits with an odd number is down.
#[derive(Debug)]
struct TwoParts(MemoryLimits);

impl LimitStore for TwoParts {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        if self.part(requests) == 1 {
            return StoreFuture::ready(Err(StoreError::NotExecuted(String::from("a test"))));
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
