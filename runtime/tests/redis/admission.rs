//! Limits and `begin` in one trip: connections that are cut, servers that are full, stopped or damaged.

use core::time::Duration;
use std::sync::Arc;

use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Fingerprint, IdempotencyStore, OnCrash, RecordKey, Token,
};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::{Admission, AdmissionStore, RedisStore, StoreError};
use aplomb::testing::{RedisServer, Reply, eventually};
use proptest::prelude::*;

use crate::connection::{
    begin, bench, claim, done, is_ambiguous, is_unsent, patient_bench, until_back,
};
use crate::damage::only_key;

const LEASE: Duration = Duration::from_secs(30);

/// One token an hour.
fn only_one() -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_hours(1), 1).expect("a valid quota");
    LimitRequest { quota, ..claim() }
}

async fn admitted(
    store: &RedisStore,
    claim: LimitRequest<'_>,
    begin: &Begin,
) -> (u64, BeginOutcome) {
    match store.admit(&[claim], begin).await.expect("an answer") {
        Admission::Admitted(acquired, found) => (acquired.statuses[0].remaining, found),
        Admission::Refused(acquired) => panic!("{acquired:?}"),
    }
}

#[tokio::test]
async fn b05_limits_and_begin_take_one_trip() {
    let (server, proxy, store) = bench().await;
    server.flush_scripts();
    for (sent, found) in [(2, BeginOutcome::Started), (1, BeginOutcome::InFlight)] {
        proxy.reset_counts();
        assert_eq!(admitted(&store, claim(), &begin()).await.1, found);
        assert_eq!(
            (proxy.requests_named("EVALSHA"), proxy.requests()),
            (1, sent)
        );
    }
}

#[tokio::test]
async fn b02_an_admission_is_visible_to_both_facets() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    let run = begin();
    assert_eq!(
        admitted(&store, claim(), &run).await,
        (9, BeginOutcome::Started)
    );
    let taken = store.acquire(&[claim()]).await.expect("an answer");
    assert_eq!(taken.statuses[0].remaining, 8);
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
    store.complete(&done(&run)).await.expect("an answer");
    assert!(matches!(
        admitted(&store, claim(), &begin()).await,
        (7, BeginOutcome::Done(_))
    ));
}

#[tokio::test]
async fn b05_an_admission_that_was_cut_off_is_sent_again_and_has_its_record() {
    let (server, proxy, store) = patient_bench().await;
    let (run, store) = (begin(), Arc::new(store));
    let asking = asked_and_cut(&server, &proxy, &store, claim(), &run).await;
    let Ok(Admission::Admitted(acquired, BeginOutcome::Started)) = asking else {
        panic!("{asking:?}")
    };
    assert_eq!(
        acquired.statuses[0].remaining, 8,
        "the limit has counted both"
    );
    assert_eq!(store.heartbeat(&[run.lease()], LEASE).await, Ok(vec![true]));
}

#[tokio::test]
async fn b02_an_admission_that_was_cut_off_and_is_rejected_when_repeated_is_ambiguous() {
    let (server, proxy, store) = patient_bench().await;
    let (run, store) = (begin(), Arc::new(store));
    let asking = asked_and_cut(&server, &proxy, &store, only_one(), &run).await;
    assert!(is_ambiguous(&asking), "{asking:?}");
    assert_eq!(
        store.begin(&begin()).await,
        Ok(BeginOutcome::InFlight),
        "it had begun"
    );
    store.abort(run.lease(), LEASE).await.expect("an answer");
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

/// Asks, and cuts the connection once the server has done what is asked, and before its answer is there.
async fn asked_and_cut(
    server: &RedisServer,
    proxy: &aplomb::testing::Proxy,
    store: &Arc<RedisStore>,
    claim: LimitRequest<'static>,
    run: &Begin,
) -> Result<Admission, StoreError> {
    // Until the server knows the script: else a call is two requests.
    store.admit(&[], &begin()).await.expect("an answer");
    server.flush_all();
    proxy.delay(Duration::from_secs(5));
    let asking = tokio::spawn({
        let (store, run) = (Arc::clone(store), run.clone());
        async move { store.admit(&[claim], &run).await }
    });
    eventually("it is done", async || {
        server.command(&["DBSIZE"]) == Reply::Integer(2)
    })
    .await;
    proxy.delay(Duration::ZERO);
    proxy.cut().await;
    asking.await.expect("no panic")
}

#[tokio::test]
async fn a08_an_admission_executed_late_by_a_paused_server_can_be_aborted() {
    let (server, _proxy, store) = bench().await;
    store
        .admit(&[], &begin())
        .await
        .expect("a server that knows the script");
    server.flush_all();
    let late = begin();
    server.pause();
    assert!(is_ambiguous(&store.admit(&[claim()], &late).await));
    server.resume();
    until_back(&store).await;
    store.abort(late.lease(), LEASE).await.expect("an answer");
    assert_eq!(
        admitted(&store, claim(), &late).await.1,
        BeginOutcome::Aborted
    );
    assert_eq!(
        admitted(&store, claim(), &begin()).await.1,
        BeginOutcome::Started
    );
}

#[tokio::test]
async fn a23_without_a_server_no_admission_is_sent() {
    let (server, _proxy, store) = bench().await;
    server.kill();
    // The first call may find the connection as it breaks.
    let _ = store.admit(&[claim()], &begin()).await;
    assert!(is_unsent(&store.admit(&[claim()], &begin()).await));
    server.restart();
    until_back(&store).await;
    assert_eq!(
        admitted(&store, claim(), &begin()).await.1,
        BeginOutcome::Started
    );
}

#[tokio::test]
async fn b02_a_full_server_takes_no_tokens_and_begins_no_run() {
    let (server, _proxy, store) = bench().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        store.admit(&[claim()], &begin()).await,
        Err(StoreError::Full)
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(
        admitted(&store, claim(), &begin()).await,
        (9, BeginOutcome::Started)
    );
}

#[tokio::test]
async fn b02_an_unreadable_bucket_begins_no_run() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    server.flush_all();
    store.acquire(&[claim()]).await.expect("an answer");
    let key = only_key(&server, "*:l:*");
    server.command(&[b"SET", key.as_bytes(), b"\x02123"]);
    let sound = LimitRequest {
        bucket: Bucket {
            limit: 9,
            subject: LimitSubject::Everyone,
        },
        ..claim()
    };
    for claims in [[claim(), sound], [sound, claim()]] {
        match store.admit(&claims, &begin()).await {
            Err(StoreError::Malformed { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        server.command(&["DBSIZE"]),
        Reply::Integer(1),
        "nothing else is there"
    );
    let shadow = LimitRequest {
        shadow: true,
        ..claim()
    };
    assert_eq!(
        admitted(&store, shadow, &begin()).await,
        (0, BeginOutcome::Started)
    );
}

#[tokio::test]
async fn an_unreadable_record_is_named_in_the_error_and_left_unchanged() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    let run = begin();
    store.begin(&run).await.expect("an answer");
    store.complete(&done(&run)).await.expect("an answer");
    let key = only_key(&server, "*:i:*");
    let Reply::Bytes(whole) = server.command(&["GET", &key]) else {
        panic!("no record")
    };
    for value in [&b"hello"[..], &whole[..59], &whole[..whole.len() - 1]] {
        server.command(&[b"SET", key.as_bytes(), value]);
        match store.admit(&[claim()], &begin()).await {
            Err(StoreError::Malformed { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.command(&["GET", &key]), Reply::bytes(value));
    }
}

/// A request: which of the instances, which key, which of the limits.
type Asked = (usize, u8, bool);

/// What has become of them all: how many runs a key has had, how many each limit has admitted.
#[derive(Default)]
struct Outcome {
    runs: [usize; 4],
    admitted: [u64; 2],
}

async fn ask_all(stores: &[Arc<RedisStore>], bursts: [u64; 2], asked: &[Asked]) -> Outcome {
    let mut outcome = Outcome::default();
    let tasks: Vec<_> = asked
        .iter()
        .map(|&(instance, key, both)| {
            let store = Arc::clone(&stores[instance]);
            tokio::spawn(async move { (key, both, ask(&store, bursts, key, both).await) })
        })
        .collect();
    for task in tasks {
        let (key, both, admission) = task.await.expect("no panic");
        if let Admission::Admitted(_, begun) = admission {
            outcome.runs[usize::from(key)] += usize::from(begun == BeginOutcome::Started);
            outcome.admitted[0] += 1;
            outcome.admitted[1] += u64::from(both);
        }
    }
    outcome
}

async fn ask(store: &RedisStore, bursts: [u64; 2], key: u8, both: bool) -> Admission {
    let (record, fingerprint) = (
        RecordKey::new([1; 16], [key; 16]),
        Fingerprint::new(1, [2; 32]),
    );
    let begin = Begin::new(
        record,
        fingerprint,
        Token::random(),
        LEASE,
        OnCrash::Unknown,
        LEASE,
    );
    let claim = |limit: u64, burst| {
        let quota = Quota::new(1, Duration::from_hours(1), burst).expect("a valid quota");
        LimitRequest {
            bucket: Bucket {
                limit,
                subject: LimitSubject::Everyone,
            },
            quota,
            ..claim()
        }
    };
    let claims = [claim(1, bursts[0]), claim(2, bursts[1])];
    store
        .admit(&claims[..=usize::from(both)], &begin)
        .await
        .expect("an answer")
}

/// Whoever asks, in whatever order: a key runs once, a limit admits no more than its burst, and a key whose
/// requests were all refused has no record.
#[test]
fn b02_concurrent_admissions_run_each_key_once_and_stay_within_the_bursts() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let stores = || async { Arc::new(crate::patient_store_at(&server.url()).await) };
    let stores = runtime.block_on(async { [stores().await, stores().await] });
    let strategy = (
        [1_u64..12, 1_u64..12],
        prop::collection::vec((0_usize..2, 0_u8..4, any::<bool>()), 1..60),
    );
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    };
    let checked =
        proptest::test_runner::TestRunner::new(config).run(&strategy, |(bursts, asked)| {
            server.flush_all();
            let outcome = runtime.block_on(ask_all(&stores, bursts, &asked));
            for (admitted, burst) in outcome.admitted.iter().zip(bursts) {
                prop_assert!(*admitted <= burst);
            }
            let all = u64::try_from(asked.len()).unwrap_or(u64::MAX);
            prop_assert!(
                outcome.admitted[0] >= all.min(bursts[0]).min(bursts[1]),
                "what can be had is had"
            );
            prop_assert!(outcome.runs.iter().all(|runs| *runs <= 1));
            let Reply::Array(records) = server.command(&["KEYS", "*:i:*"]) else {
                panic!("no list")
            };
            prop_assert_eq!(records.len(), outcome.runs.iter().sum::<usize>());
            Ok(())
        });
    checked.expect("runs once, and within the bursts");
}
