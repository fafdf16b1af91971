//! Tests limits and `begin` in one round trip: with cut connections, and with servers that are
//! full, paused or damaged.

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
    begin, completion, is_ambiguous, is_unsent, limit_request, patient_store_behind_proxy,
    store_behind_proxy, until_available,
};
use crate::damage::single_key;

const LEASE: Duration = Duration::from_secs(30);

/// Returns a request to a limit of one token per hour.
fn one_per_hour() -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_hours(1), 1).expect("a valid quota");
    LimitRequest {
        quota,
        ..limit_request()
    }
}

async fn admitted(
    store: &RedisStore,
    request: LimitRequest<'_>,
    begin: &Begin,
) -> (u64, BeginOutcome) {
    match store.admit(&[request], begin).await.expect("a reply") {
        Admission::Admitted(acquired, begin) => (acquired.statuses[0].remaining, begin),
        Admission::Refused(acquired) => panic!("{acquired:?}"),
    }
}

#[tokio::test]
async fn b05_limits_and_begin_take_one_round_trip() {
    let (server, proxy, store) = store_behind_proxy().await;
    server.flush_scripts();
    for (sent, begun) in [(2, BeginOutcome::Started), (1, BeginOutcome::InFlight)] {
        proxy.reset_counts();
        assert_eq!(admitted(&store, limit_request(), &begin()).await.1, begun);
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
        admitted(&store, limit_request(), &run).await,
        (9, BeginOutcome::Started)
    );
    let acquired = store.acquire(&[limit_request()]).await.expect("a reply");
    assert_eq!(acquired.statuses[0].remaining, 8);
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
    store.complete(&completion(&run)).await.expect("a reply");
    assert!(matches!(
        admitted(&store, limit_request(), &begin()).await,
        (7, BeginOutcome::Done(_))
    ));
}

#[tokio::test]
async fn b05_an_admission_that_was_cut_off_is_sent_again_and_has_its_record() {
    let (server, proxy, store) = patient_store_behind_proxy().await;
    let (run, store) = (begin(), Arc::new(store));
    let pending = admit_and_cut(&server, &proxy, &store, limit_request(), &run).await;
    let Ok(Admission::Admitted(acquired, BeginOutcome::Started)) = pending else {
        panic!("{pending:?}")
    };
    assert_eq!(
        acquired.statuses[0].remaining, 8,
        "both attempts took a token"
    );
    assert_eq!(store.heartbeat(&[run.lease()], LEASE).await, Ok(vec![true]));
}

#[tokio::test]
async fn b02_an_admission_that_was_cut_off_and_is_rejected_when_repeated_is_ambiguous() {
    let (server, proxy, store) = patient_store_behind_proxy().await;
    let (run, store) = (begin(), Arc::new(store));
    let pending = admit_and_cut(&server, &proxy, &store, one_per_hour(), &run).await;
    assert!(is_ambiguous(&pending), "{pending:?}");
    assert_eq!(
        store.begin(&begin()).await,
        Ok(BeginOutcome::InFlight),
        "the admission that was cut off has begun a run"
    );
    store.abort(run.lease(), LEASE).await.expect("a reply");
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

/// Sends an admission. Cuts the connection after the server has executed it, but before the reply
/// arrives.
async fn admit_and_cut(
    server: &RedisServer,
    proxy: &aplomb::testing::Proxy,
    store: &Arc<RedisStore>,
    request: LimitRequest<'static>,
    run: &Begin,
) -> Result<Admission, StoreError> {
    // The server caches the script in this call. Otherwise the next call would be two requests.
    store.admit(&[], &begin()).await.expect("a reply");
    server.flush_all();
    proxy.delay(Duration::from_secs(5));
    let pending = tokio::spawn({
        let (store, run) = (Arc::clone(store), run.clone());
        async move { store.admit(&[request], &run).await }
    });
    eventually("the request is executed", async || {
        server.command(&["DBSIZE"]) == Reply::Integer(2)
    })
    .await;
    proxy.delay(Duration::ZERO);
    proxy.cut().await;
    pending.await.expect("no panic")
}

#[tokio::test]
async fn a08_an_admission_executed_late_by_a_paused_server_can_be_aborted() {
    let (server, _proxy, store) = store_behind_proxy().await;
    store
        .admit(&[], &begin())
        .await
        .expect("the server has the script");
    server.flush_all();
    let late = begin();
    server.pause();
    assert!(is_ambiguous(&store.admit(&[limit_request()], &late).await));
    server.resume();
    until_available(&store).await;
    store.abort(late.lease(), LEASE).await.expect("a reply");
    assert_eq!(
        admitted(&store, limit_request(), &late).await.1,
        BeginOutcome::Aborted
    );
    assert_eq!(
        admitted(&store, limit_request(), &begin()).await.1,
        BeginOutcome::Started
    );
}

#[tokio::test]
async fn a23_without_a_server_no_admission_is_sent() {
    let (server, _proxy, store) = store_behind_proxy().await;
    server.kill();
    // The result is not checked, because the first call may still use the connection that breaks.
    let _ = store.admit(&[limit_request()], &begin()).await;
    assert!(is_unsent(&store.admit(&[limit_request()], &begin()).await));
    server.restart();
    until_available(&store).await;
    assert_eq!(
        admitted(&store, limit_request(), &begin()).await.1,
        BeginOutcome::Started
    );
}

#[tokio::test]
async fn b02_a_full_server_takes_no_tokens_and_begins_no_run() {
    let (server, _proxy, store) = store_behind_proxy().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        store.admit(&[limit_request()], &begin()).await,
        Err(StoreError::Full)
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(
        admitted(&store, limit_request(), &begin()).await,
        (9, BeginOutcome::Started)
    );
}

#[tokio::test]
async fn b02_an_unreadable_bucket_begins_no_run() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    server.flush_all();
    store.acquire(&[limit_request()]).await.expect("a reply");
    let key = single_key(&server, "*:l:*");
    server.command(&[b"SET", key.as_bytes(), b"\x02123"]);
    let other_bucket = LimitRequest {
        bucket: Bucket {
            limit: 9,
            subject: LimitSubject::Everyone,
        },
        ..limit_request()
    };
    for requests in [
        [limit_request(), other_bucket],
        [other_bucket, limit_request()],
    ] {
        match store.admit(&requests, &begin()).await {
            Err(StoreError::Malformed { key: named_key, .. }) => assert_eq!(named_key, key),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        server.command(&["DBSIZE"]),
        Reply::Integer(1),
        "no other key exists"
    );
    let shadow = LimitRequest {
        shadow: true,
        ..limit_request()
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
    store.begin(&run).await.expect("a reply");
    store.complete(&completion(&run)).await.expect("a reply");
    let key = single_key(&server, "*:i:*");
    let Reply::Bytes(encoded) = server.command(&["GET", &key]) else {
        panic!("no record")
    };
    for value in [&b"hello"[..], &encoded[..59], &encoded[..encoded.len() - 1]] {
        server.command(&[b"SET", key.as_bytes(), value]);
        match store.admit(&[limit_request()], &begin()).await {
            Err(StoreError::Malformed { key: named_key, .. }) => assert_eq!(named_key, key),
            other => panic!("{other:?}"),
        }
        assert_eq!(server.command(&["GET", &key]), Reply::bytes(value));
    }
}

/// An admission: the index of the instance, the key, and whether it also has the second limit.
type AdmissionCall = (usize, u8, bool);

/// The number of runs of each key, and the number of admissions of each limit.
#[derive(Default)]
struct Outcome {
    runs: [usize; 4],
    admitted: [u64; 2],
}

async fn admit_all(
    stores: &[Arc<RedisStore>],
    bursts: [u64; 2],
    calls: &[AdmissionCall],
) -> Outcome {
    let mut outcome = Outcome::default();
    let tasks: Vec<_> = calls
        .iter()
        .map(|&(instance, key, both)| {
            let store = Arc::clone(&stores[instance]);
            tokio::spawn(async move { (key, both, admit_one(&store, bursts, key, both).await) })
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

async fn admit_one(store: &RedisStore, bursts: [u64; 2], key: u8, both: bool) -> Admission {
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
    let limit_request = |limit: u64, burst| {
        let quota = Quota::new(1, Duration::from_hours(1), burst).expect("a valid quota");
        LimitRequest {
            bucket: Bucket {
                limit,
                subject: LimitSubject::Everyone,
            },
            quota,
            ..limit_request()
        }
    };
    let requests = [limit_request(1, bursts[0]), limit_request(2, bursts[1])];
    store
        .admit(&requests[..=usize::from(both)], &begin)
        .await
        .expect("a reply")
}

/// Sends concurrent requests in any order. Checks that a key runs once, that a limit admits at most
/// its burst, and that a key without an admitted request has no record.
#[test]
fn b02_concurrent_admissions_run_each_key_once_and_stay_within_the_bursts() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let stores = || async { Arc::new(crate::store_at_with_long_timeout(&server.url()).await) };
    let stores = runtime.block_on(async { [stores().await, stores().await] });
    let strategy = (
        [1_u64..12, 1_u64..12],
        prop::collection::vec((0_usize..2, 0_u8..4, any::<bool>()), 1..60),
    );
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    };
    let result =
        proptest::test_runner::TestRunner::new(config).run(&strategy, |(bursts, calls)| {
            server.flush_all();
            let outcome = runtime.block_on(admit_all(&stores, bursts, &calls));
            for (admitted, burst) in outcome.admitted.iter().zip(bursts) {
                prop_assert!(*admitted <= burst);
            }
            let all = u64::try_from(calls.len()).unwrap_or(u64::MAX);
            prop_assert!(
                outcome.admitted[0] >= all.min(bursts[0]).min(bursts[1]),
                "requests within both bursts are admitted"
            );
            prop_assert!(outcome.runs.iter().all(|runs| *runs <= 1));
            let Reply::Array(records) = server.command(&["KEYS", "*:i:*"]) else {
                panic!("no list")
            };
            prop_assert_eq!(records.len(), outcome.runs.iter().sum::<usize>());
            Ok(())
        });
    result.expect("one run per key, within the bursts");
}
