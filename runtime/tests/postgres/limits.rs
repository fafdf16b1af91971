//! The rate limits in a database: compared with references under a stopped clock, and under
//! concurrent calls, damaged rows and a crash of the server.

use core::cell::Cell;
use core::time::Duration;

use aplomb::clock::{Clock, Timestamp};
use aplomb::policies::rate_limit::{
    Acquired, Algorithm, Bucket, LimitRequest, LimitStatus, LimitStore, LimitSubject, Quota,
};
use aplomb::store::{PostgresLimits, PostgresRecords, StoreError};
use aplomb::testing::{PostgresClock, PostgresServer, ReferenceBucket, TestClock, eventually};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Runtime;

/// The period of the limits in most tests.
const PERIOD: Duration = Duration::from_secs(1_000);

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
];

fn quota_of(algorithm: Algorithm, permits: u64, period: Duration, burst: u64) -> Option<Quota> {
    match algorithm {
        Algorithm::LeakyBucket => Quota::leaky_bucket(permits, period, burst),
        Algorithm::FixedWindow => Quota::fixed_window(permits, period),
        Algorithm::SlidingWindow => Quota::sliding_window(permits, period),
        _ => Quota::new(permits, period, burst),
    }
}

fn quota(algorithm: Algorithm, permits: u64, burst: u64) -> Quota {
    quota_of(algorithm, permits, PERIOD, burst).expect("a valid quota")
}

fn limit_request(limit: u64, quota: Quota) -> LimitRequest<'static> {
    let subject = LimitSubject::Everyone;
    LimitRequest::new(Bucket { limit, subject }, quota)
}

/// A store on its own server, with a clock that only the test advances.
struct TimedStore {
    runtime: Runtime,
    _server: PostgresServer,
    connection: Cell<Option<PgConnection>>,
    limits: PostgresLimits,
    clock: TestClock,
    time_in_database: Cell<Option<Timestamp>>,
}

impl TimedStore {
    fn new() -> Self {
        let (runtime, server) = (Runtime::new().expect("a runtime"), PostgresServer::start());
        let (limits, connection) = runtime.block_on(async {
            let records = crate::open(&server, "postgres").await;
            let stopped_clock = "\
                CREATE SCHEMA test; CREATE TABLE test.time (instant bigint NOT NULL); \
                INSERT INTO test.time VALUES (0); \
                CREATE OR REPLACE FUNCTION aplomb.clock() RETURNS timestamptz LANGUAGE sql VOLATILE \
                AS $$SELECT timestamptz 'epoch' + instant * interval '1 microsecond' FROM test.time$$";
            server.execute(stopped_clock).await;
            let connection = server.options("postgres").connect().await;
            let connection = connection.expect("a server that accepts connections");
            (records.limits("test"), connection)
        });
        Self {
            runtime,
            _server: server,
            connection: Cell::new(Some(connection)),
            limits,
            clock: TestClock::new(),
            time_in_database: Cell::new(None),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn execute(&self, statements: &str) {
        let mut connection = self.connection.take().expect("one call at a time");
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
        let executed = self.runtime.block_on(statements.execute(&mut connection));
        executed.expect("valid statements");
        self.connection.set(Some(connection));
    }

    fn acquire_all(&self, requests: &[LimitRequest<'_>]) -> Acquired {
        let now = self.now();
        if self.time_in_database.replace(Some(now)) != Some(now) {
            let micros = now.as_micros();
            self.execute(&format!("UPDATE test.time SET instant = {micros}"));
        }
        let acquired = self.runtime.block_on(self.limits.acquire(requests));
        acquired.expect("the store responds")
    }

    fn acquire_one(&self, request: LimitRequest<'_>) -> LimitStatus {
        self.acquire_all(&[request]).statuses[0]
    }

    fn count_admitted(&self, request: LimitRequest<'_>, tries: usize) -> usize {
        (0..tries)
            .filter(|_| self.acquire_one(request).wait.is_none())
            .count()
    }
}

fn runner() -> TestRunner {
    TestRunner::new(Config::with_cases(100))
}

/// Compares the function, for any arrivals and costs, with a reference that stores a list of all
/// admitted requests.
#[test]
fn b01_every_algorithm_agrees_with_a_list_of_admitted_requests() {
    let store = TimedStore::new();
    let arrival = prop_oneof![
        3 => Just(Duration::ZERO),
        4 => (0_u64..400_000).prop_map(Duration::from_millis),
        1 => (0_u64..5_000_000).prop_map(Duration::from_millis),
    ];
    let max_wait = prop_oneof![
        Just(Duration::MAX),
        (0_u64..1_000_000).prop_map(Duration::from_millis)
    ];
    let steps = prop::collection::vec((arrival, 0_u64..8, max_wait), 1..60);
    let strategy = (
        prop::sample::select(&ALGORITHMS[..]),
        1_u64..30,
        1_u64..30,
        steps,
    );
    let buckets = Cell::new(0);
    let result = runner().run(&strategy, |(algorithm, permits, burst, steps)| {
        let bucket = buckets.replace(buckets.get() + 1);
        let mut reference = ReferenceBucket::default();
        let request = limit_request(bucket, quota(algorithm, permits, burst));
        for (wait, cost, max_wait) in steps {
            store.clock.advance(wait);
            let request = LimitRequest {
                cost: cost.min(request.quota.burst()),
                max_queue_wait: max_wait,
                ..request
            };
            prop_assert_eq!(
                store.acquire_one(request),
                reference.acquire(&request, store.now())
            );
        }
        Ok(())
    });
    result.expect("the store agrees with the reference");
}

/// Compares the decision of four limits of different kinds with four references.
#[test]
fn b02_limits_of_all_kinds_decide_all_or_nothing() {
    let store = TimedStore::new();
    let steps = prop::collection::vec((0_u64..300_000, prop::array::uniform4(0_u64..3)), 1..60);
    let buckets = Cell::new(0);
    let result = runner().run(&steps, |steps| {
        let bucket = buckets.replace(buckets.get() + 4);
        let mut references: [ReferenceBucket; 4] = Default::default();
        for (wait, costs) in steps {
            store.clock.advance(Duration::from_millis(wait));
            let requests: Vec<LimitRequest<'_>> = (0..4)
                .zip(ALGORITHMS)
                .zip(costs)
                .map(|((index, algorithm), cost)| LimitRequest {
                    cost,
                    ..limit_request(bucket + index, quota(algorithm, 7, 5))
                })
                .collect();
            let fits = |(request, reference): (&LimitRequest<'_>, &ReferenceBucket)| {
                let status = reference.clone().acquire(request, store.now());
                status.wait.is_none()
            };
            let admitted = requests.iter().zip(&references).all(fits);
            let acquired = store.acquire_all(&requests);
            prop_assert_eq!(acquired.admitted, admitted);
            for ((request, reference), status) in
                requests.iter().zip(&mut references).zip(acquired.statuses)
            {
                let counted = if admitted || status.wait.is_some() {
                    *request
                } else {
                    LimitRequest {
                        cost: 0,
                        ..*request
                    }
                };
                prop_assert_eq!(status, reference.acquire(&counted, store.now()));
            }
        }
        Ok(())
    });
    result.expect("the store agrees with the reference");
}

/// After its clock is set back, the database rejects requests for at most one refill period. Until
/// then it admits only requests for the tokens that were left.
#[test]
fn b04_a_clock_that_steps_back_adds_no_tokens_and_limits_recover_within_one_period() {
    let store = TimedStore::new();
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 10, 10));
        store.clock.advance(PERIOD * 3_600);
        store.count_admitted(request, 10);
        store.clock.advance(PERIOD * 2);
        assert_eq!(store.count_admitted(request, 7), 7, "{algorithm:?}");
        store.clock.step_back(PERIOD * 3_600);
        let admitted = store.count_admitted(request, 20);
        assert!(admitted <= 3, "{algorithm:?} admits {admitted} more");
        store.clock.advance(PERIOD);
        let admitted = store.count_admitted(request, 20);
        assert!(
            (1..=10).contains(&admitted),
            "{algorithm:?} admits {admitted} after a refill"
        );
        store.clock.advance(PERIOD * 2);
        assert_eq!(store.count_admitted(request, 20), 10, "{algorithm:?}");
    }
}

/// While operators lower a limit, some instances have the old limit, and others have the new one.
#[test]
fn b01_instances_with_the_old_limit_get_no_tokens_back_after_a_window_limit_is_lowered() {
    let store = TimedStore::new();
    for (limit, algorithm) in [(1, Algorithm::FixedWindow), (2, Algorithm::SlidingWindow)] {
        let [old, new] =
            [100, 10].map(|permits| limit_request(limit, quota(algorithm, permits, 1)));
        store.clock.advance(PERIOD);
        assert_eq!(store.count_admitted(old, 100), 100);
        for _ in 0..3 {
            assert_eq!(
                (store.count_admitted(new, 3), store.count_admitted(old, 3)),
                (0, 0),
                "{algorithm:?}"
            );
        }
        store.clock.advance(PERIOD);
        assert_eq!(store.count_admitted(new, 20), 10, "{algorithm:?}");
    }
}

/// Takes `Quota::MAX_LOG` tokens, the maximum for one log, with one request, and then one by one.
#[test]
fn b01_the_longest_log_fits() {
    let store = TimedStore::new();
    let all = LimitRequest {
        cost: Quota::MAX_LOG,
        ..limit_request(1, quota(Algorithm::SlidingWindow, Quota::MAX_LOG, 1))
    };
    assert_eq!(store.acquire_one(all).remaining, 0);
    assert_eq!(
        store.acquire_one(LimitRequest { cost: 1, ..all }).wait,
        Some(PERIOD)
    );
    store.clock.advance(PERIOD);
    assert_eq!(store.acquire_one(all).wait, None);
}

/// Compares the function with the reference for the longest periods and the largest bursts.
#[test]
fn b03_the_function_counts_exactly_for_the_longest_periods_and_largest_bursts() {
    let store = TimedStore::new();
    let century = 100 * 365 * 24 * 60 * 60 * 1_000_000_u64;
    let any_size = || {
        prop_oneof![
            Just(1),
            2_u64..20,
            Just(1_000_003),
            Just(3_153_600_007),
            Just(century / 7),
            Just(century)
        ]
    };
    let quotas = (
        prop::sample::select(&ALGORITHMS[..]),
        any_size(),
        any_size(),
        any_size(),
    )
        .prop_filter_map("valid", |(algorithm, permits, micros, burst)| {
            quota_of(algorithm, permits, Duration::from_micros(micros), burst)
        });
    let steps = prop::collection::vec((0_u64..=1_000, 0_u64..=4, any::<bool>(), any_size()), 1..20);
    let buckets = Cell::new(0);
    let result = runner().run(&(quotas, steps), |(quota, steps)| {
        let started = store.now();
        let bucket = buckets.replace(buckets.get() + 1);
        let mut reference = ReferenceBucket::default();
        for (share, cost, exact, max_wait) in steps {
            store.clock.advance(Duration::from_micros(
                (quota.window() / 1_000)
                    .saturating_mul(share)
                    .min(century / 50),
            ));
            let cost = if exact {
                quota.burst() / (cost + 1)
            } else {
                quota.burst().min(cost)
            };
            let request = LimitRequest {
                cost,
                max_queue_wait: Duration::from_micros(max_wait),
                ..limit_request(bucket, quota)
            };
            prop_assert_eq!(
                store.acquire_one(request),
                reference.acquire(&request, store.now()),
                "{:?}",
                request
            );
        }
        store.clock.step_back(store.now().since(started));
        Ok(())
    });
    result.expect("the store agrees with the reference");
}

/// The limits of the API `test` in the database `postgres` of a server, and their clock.
async fn new_limits(server: &PostgresServer) -> (PostgresRecords, PostgresLimits, PostgresClock) {
    let records = crate::open(server, "postgres").await;
    let clock = PostgresClock::replace(&server.options("postgres")).await;
    let limits = records.limits("test");
    (records, limits, clock)
}

async fn count_buckets(server: &PostgresServer) -> String {
    let count = "SELECT (SELECT count(*) FROM aplomb.bucket) || ' ' || \
                 (SELECT count(*) FROM aplomb.bucket_log)";
    server.query(count).await
}

#[tokio::test]
async fn b02_thirty_two_tasks_admit_exactly_the_burst_of_one_and_of_three_buckets() {
    let server = PostgresServer::start();
    let (_records, limits, _clock) = new_limits(&server).await;
    let quotas = ALGORITHMS.map(|algorithm| quota(algorithm, 1, 100));
    let quotas = [
        quotas[0],
        quota(Algorithm::FixedWindow, 100, 1),
        quota(Algorithm::SlidingWindow, 100, 1),
    ];
    for buckets in [1, 3] {
        for first in 0..3 {
            let requests: Vec<_> = (0..buckets)
                .map(|index| {
                    let limit = 10 * buckets + 100 * first + index;
                    let at = usize::try_from((first + index) % 3).expect("an index");
                    limit_request(limit, quotas[at])
                })
                .collect();
            let tasks = (0..32).map(|number| {
                let (limits, mut requests) = (limits.clone(), requests.clone());
                let places = requests.len();
                requests.rotate_left(number % places);
                tokio::spawn(async move {
                    let mut count = 0;
                    for _ in 0..20 {
                        let acquired = limits.acquire(&requests).await;
                        count += usize::from(acquired.expect("no deadlock").admitted);
                    }
                    count
                })
            });
            let counts = join_all(tasks).await.into_iter();
            let count: usize = counts.map(|count| count.expect("no panic")).sum();
            assert_eq!(count, 100, "{requests:?}");
        }
    }
}

#[tokio::test]
async fn b01_a_call_that_waits_for_a_lock_uses_the_time_after_the_wait() {
    let server = PostgresServer::start();
    let (_records, limits, clock) = new_limits(&server).await;
    let request = limit_request(1, quota(Algorithm::TokenBucket, 1, 1));
    let admitted = async || limits.acquire(&[request]).await.expect("a reply").admitted;
    assert!(admitted().await);
    assert!(!admitted().await);
    let connection = server.options("postgres").connect().await;
    let mut connection = connection.expect("a connection");
    let mut lock = connection.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM aplomb.bucket FOR UPDATE")
        .execute(&mut *lock)
        .await
        .expect("the lock");
    let waits = async {
        eventually("the call waits for the lock", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            server.query(waiting).await == "1"
        })
        .await;
        clock.advance(PERIOD).await;
        lock.commit().await.expect("a commit");
    };
    let (admitted, ()) = tokio::join!(admitted(), waits);
    assert!(admitted);
}

#[tokio::test]
async fn b09_apis_with_different_names_have_different_buckets() {
    let server = PostgresServer::start();
    let (records, limits, _clock) = new_limits(&server).await;
    let request = limit_request(1, quota(Algorithm::TokenBucket, 1, 1));
    for limits in [limits, records.limits("other")] {
        let acquired = limits.acquire(&[request]).await.expect("a reply");
        assert!(acquired.admitted, "{limits:?}");
    }
    assert_eq!(count_buckets(&server).await, "2 0");
}

#[tokio::test]
async fn full_buckets_are_removed_and_others_are_kept() {
    let server = PostgresServer::start();
    let (_records, limits, clock) = new_limits(&server).await;
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 10, 10));
        limits.acquire(&[request]).await.expect("a reply");
    }
    clock.advance(Duration::from_secs(940)).await;
    let kept = limit_request(9, quota(Algorithm::SlidingWindow, 10, 10));
    limits.acquire(&[kept]).await.expect("a reply");
    assert_eq!(count_buckets(&server).await, "5 2");
    // The rows are kept for up to a minute longer.
    clock.advance(Duration::from_mins(3)).await;
    eventually("the full buckets are removed", async || {
        count_buckets(&server).await == "1 1"
    })
    .await;
}

#[tokio::test]
async fn a_crash_of_the_server_empties_the_buckets_and_the_limits_work_again() {
    let server = PostgresServer::start();
    let (_records, limits, _clock) = new_limits(&server).await;
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 1, 1));
        let admitted = async || {
            let acquired = limits.acquire(&[request]).await;
            acquired.expect("a reply").admitted
        };
        assert!(admitted().await, "{algorithm:?}");
        assert!(!admitted().await, "{algorithm:?}");
    }
    server.restart();
    assert_eq!(count_buckets(&server).await, "0 0");
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 1, 1));
        let acquired = limits.acquire(&[request]).await.expect("a reply");
        assert!(acquired.admitted, "{algorithm:?}");
    }
}

#[tokio::test]
async fn b16_unreadable_buckets_are_errors_and_affect_no_shadow_limit() {
    let server = PostgresServer::start();
    let (_records, limits, _clock) = new_limits(&server).await;
    for (limit, algorithm) in (1..).zip(ALGORITHMS) {
        let request = limit_request(limit, quota(algorithm, 10, 10));
        limits.acquire(&[request]).await.expect("a reply");
        for damage in [
            "word = -1",
            "word = 9223372036854775807",
            "taken = -1",
            "removed = -5",
            "taken = 3, removed = 4",
            "taken = 9223372036854775807",
        ] {
            let damage = format!("UPDATE aplomb.bucket SET {damage}");
            server.execute(&damage).await;
            let id = server.query("SELECT id FROM aplomb.bucket").await;
            let row = "SELECT b::text FROM aplomb.bucket AS b";
            let before = server.query(row).await;
            let error = limits.acquire(&[request]).await.expect_err("unreadable");
            assert!(
                matches!(&error, StoreError::Malformed { key, .. }
                    if *key == format!("aplomb.bucket {id}")),
                "{algorithm:?}, {damage}: {error}"
            );
            let shadow = LimitRequest {
                shadow: true,
                ..request
            };
            let acquired = limits.acquire(&[shadow]).await.expect("a reply");
            assert!(
                acquired.admitted && acquired.statuses[0].wait.is_some(),
                "{algorithm:?}, {damage}: {acquired:?}"
            );
            assert_eq!(server.query(row).await, before, "{algorithm:?}, {damage}");
            let valid = "UPDATE aplomb.bucket SET word = 1, taken = 0, removed = 0";
            server.execute(valid).await;
        }
        server
            .execute("TRUNCATE aplomb.bucket, aplomb.bucket_log")
            .await;
    }
}

/// Each row of a damaged log counts for at most one period, and the call does not fail.
#[tokio::test]
async fn b16_a_damaged_log_rejects_for_at_most_one_period() {
    let server = PostgresServer::start();
    let (_records, limits, _clock) = new_limits(&server).await;
    let request = limit_request(1, quota(Algorithm::SlidingWindow, 2, 1));
    for damage in [
        "DELETE FROM aplomb.bucket_log",
        "UPDATE aplomb.bucket_log SET taken_at = 9000000000000000000",
        "UPDATE aplomb.bucket_log SET taken_at = -9000000000000000000",
        "UPDATE aplomb.bucket_log SET taken = 9000000000000000000",
        "UPDATE aplomb.bucket_log SET taken = -9000000000000000000",
        "UPDATE aplomb.bucket SET word = 9000000000000000",
    ] {
        server
            .execute("TRUNCATE aplomb.bucket, aplomb.bucket_log")
            .await;
        for _ in 0..2 {
            limits.acquire(&[request]).await.expect("a reply");
        }
        // Leaves the last row unchanged, because equal rows are not allowed.
        let damage = match damage {
            text if text.contains("bucket_log SET") => format!("{text} WHERE taken = 1"),
            text => text.to_owned(),
        };
        server.execute(&damage).await;
        for cost in [0, 1, 2] {
            let request = LimitRequest { cost, ..request };
            let acquired = limits.acquire(&[request]).await.expect("a reply");
            let status = acquired.statuses[0];
            assert!(
                status.wait.is_none_or(|wait| wait <= PERIOD) && status.resets_in <= PERIOD,
                "{damage}: {status:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_store_in_another_process_supports_prefetching() {
    let server = PostgresServer::start();
    let (_records, limits, _clock) = new_limits(&server).await;
    assert!(!limits.is_in_process());
}
