//! Tests connections that are slow, cut, silent or refused, and servers that restart.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, IdempotencyStore, Lease, OnCrash,
    Outcome, RecordKey, StoredResponse, Token,
};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::{RedisConfig, RedisStore, StoreError};
use aplomb::testing::{Proxy, RedisServer, Reply, eventually};
use bytes::Bytes;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_hours(24);

pub(crate) fn begin() -> Begin {
    begin_of([1; 16])
}

fn begin_of(name: [u8; 16]) -> Begin {
    let (key, fingerprint) = (RecordKey::new([1; 16], name), Fingerprint::new(1, [2; 32]));
    Begin::new(
        key,
        fingerprint,
        Token::random(),
        LEASE,
        OnCrash::Unknown,
        TTL,
    )
}

pub(crate) fn lease(begin: &Begin) -> Lease {
    begin.lease()
}

pub(crate) fn completion(begin: &Begin) -> Complete {
    let (head, ()) = http::Response::new(()).into_parts();
    let stored = StoredResponse::new(&head, Some(Bytes::from_static(b"done")));
    Complete::new(
        lease(begin),
        begin.fingerprint,
        Outcome::Response(stored),
        TTL,
    )
}

pub(crate) fn limit_request() -> LimitRequest<'static> {
    let quota = Quota::new(10, Duration::from_hours(1), 10).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

/// Starts a server, a proxy in front of it, and a store that connects to the proxy.
pub(crate) async fn store_behind_proxy() -> (RedisServer, Proxy, RedisStore) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let store = crate::store_at(&proxy.url()).await;
    (server, proxy, store)
}

/// Does the same as [`store_behind_proxy`], with a timeout of ten seconds for a slow machine.
pub(crate) async fn patient_store_behind_proxy() -> (RedisServer, Proxy, RedisStore) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let store = crate::store_at_with_long_timeout(&proxy.url()).await;
    (server, proxy, store)
}

/// Calls the store until it is available again.
pub(crate) async fn until_available(store: &RedisStore) {
    let is_back = async || store.abort(lease(&begin()), Duration::ZERO).await.is_ok();
    eventually("the store is available again", is_back).await;
}

pub(crate) fn is_ambiguous<T: core::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(error) if error.is_ambiguous())
}

pub(crate) fn is_unsent<T: core::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::NotExecuted(_)))
}

#[tokio::test]
async fn every_operation_takes_one_round_trip() {
    let (server, proxy, store) = store_behind_proxy().await;
    let begin = begin();
    server.flush_scripts();
    for round in 0..2 {
        proxy.reset_counts();
        store.acquire(&[limit_request()]).await.expect("a reply");
        store.begin(&begin).await.expect("a reply");
        store
            .heartbeat(&[lease(&begin)], LEASE)
            .await
            .expect("a reply");
        store
            .mark_unknown(lease(&begin), TTL)
            .await
            .expect("a reply");
        store.complete(&completion(&begin)).await.expect("a reply");
        store.abort(lease(&begin), LEASE).await.expect("a reply");
        store.resolve(begin.key, None, TTL).await.expect("a reply");
        assert_eq!(proxy.requests_named("EVALSHA"), 7);
        assert_eq!(proxy.requests_named("EVAL"), if round == 0 { 7 } else { 0 });
        assert_eq!(proxy.requests(), if round == 0 { 14 } else { 7 });
        assert_eq!(proxy.connections(), 0, "all calls use the first connection");
    }
}

#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let (server, _proxy, store) = store_behind_proxy().await;
    let first = begin();
    assert_eq!(store.begin(&first).await, Ok(BeginOutcome::Started));
    server.flush_scripts();
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
    server.flush_scripts();
    assert_eq!(
        store.complete(&completion(&first)).await,
        Ok(CompleteOutcome::Written)
    );
}

#[tokio::test]
async fn a08_a_begin_with_a_lost_reply_is_ambiguous_and_can_be_aborted() {
    let (_server, proxy, store) = store_behind_proxy().await;
    store
        .begin(&begin_of([9; 16]))
        .await
        .expect("the server has the script");
    let lost = begin();
    proxy.swallow_replies(true);
    assert!(is_ambiguous(&store.begin(&lost).await));
    proxy.swallow_replies(false);
    until_available(&store).await;
    assert_eq!(
        store.begin(&begin()).await,
        Ok(BeginOutcome::InFlight),
        "the lost begin has started a run"
    );
    store.abort(lease(&lost), LEASE).await.expect("a reply");
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a08_a_begin_executed_late_by_a_paused_server_can_be_aborted() {
    let (server, _proxy, store) = store_behind_proxy().await;
    store
        .begin(&begin_of([9; 16]))
        .await
        .expect("the server has the script");
    let late = begin();
    server.pause();
    assert!(is_ambiguous(&store.begin(&late).await));
    // The begin waits in the receive buffer of the server, and the abort uses another connection.
    server.resume();
    until_available(&store).await;
    store.abort(lease(&late), LEASE).await.expect("a reply");
    assert_eq!(store.begin(&late).await, Ok(BeginOutcome::Aborted));
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a_cut_connection_is_replaced() {
    let (_server, proxy, store) = store_behind_proxy().await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
    proxy.cut().await;
    until_available(&store).await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_sent_again_over_another_connection() {
    let (_server, proxy, store) = patient_store_behind_proxy().await;
    store
        .begin(&begin_of([9; 16]))
        .await
        .expect("the server has the script");
    proxy.reset_counts();
    // The reply must not arrive before the cut.
    proxy.delay(Duration::from_millis(500));
    let store = Arc::new(store);
    let pending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.begin(&begin()).await }
    });
    eventually("the request is sent", async || {
        proxy.requests_named("EVALSHA") > 0
    })
    .await;
    proxy.delay(Duration::ZERO);
    proxy.cut().await;
    assert_eq!(
        pending.await.expect("no panic"),
        Ok(BeginOutcome::Started),
        "the repeated begin finds its own token"
    );
    assert_eq!(proxy.requests_named("EVALSHA"), 2);
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_without_an_error() {
    let (_server, proxy, store) = patient_store_behind_proxy().await;
    proxy.cut().await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
    proxy.cut().await;
    assert!(
        store
            .acquire(&[limit_request()])
            .await
            .expect("a reply")
            .admitted
    );
}

#[tokio::test]
async fn cancelled_calls_detect_a_silent_connection() {
    let (_server, proxy, store) = store_behind_proxy().await;
    proxy.swallow_requests(true);
    // Eight calls take two seconds together. The store checks a connection after one second without
    // a reply.
    for _ in 0..8 {
        let cancelled = tokio::time::timeout(
            Duration::from_millis(250),
            store.acquire(&[limit_request()]),
        )
        .await;
        assert!(cancelled.is_err());
    }
    assert!(proxy.connections() >= 2, "the connection is replaced");
}

#[tokio::test]
async fn a_cancelled_call_keeps_the_connection() {
    let (_server, proxy, store) = store_behind_proxy().await;
    proxy.delay(Duration::from_millis(50));
    let cancelled =
        tokio::time::timeout(Duration::from_millis(10), store.acquire(&[limit_request()])).await;
    assert!(cancelled.is_err());
    // After more than 1 s of silence, the store checks the connection with a PING.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    proxy.delay(Duration::ZERO);
    proxy.reset_counts();
    store.acquire(&[limit_request()]).await.expect("a reply");
    assert_eq!((proxy.connections(), proxy.requests_named("PING")), (0, 1));
}

#[tokio::test]
async fn a_server_that_became_a_replica_gets_few_connection_attempts() {
    let (server, proxy, store) = store_behind_proxy().await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    proxy.reset_counts();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        assert!(is_unsent(&store.begin(&begin()).await));
        tokio::task::yield_now().await;
    }
    assert!(
        proxy.connections() <= 10,
        "{} connections",
        proxy.connections()
    );
    server.command(&["REPLICAOF", "NO", "ONE"]);
    until_available(&store).await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a08_a_begin_sent_twice_does_not_start_after_its_abort() {
    let (server, _proxy, store) = store_behind_proxy().await;
    let repeated = begin();
    assert_eq!(store.begin(&repeated).await, Ok(BeginOutcome::Started));
    // The caller has received the result of `begin`, so it passes a marker duration of zero, as
    // after a rejection.
    store
        .abort(lease(&repeated), Duration::ZERO)
        .await
        .expect("a reply");
    assert_eq!(store.begin(&repeated).await, Ok(BeginOutcome::Aborted));
    // The pattern contains the caller, because the self-test at start has left a marker under
    // another caller.
    let marker = crate::damage::single_key(&server, "*:{AQEBAQEBAQEBAQEBAQEBAQ}:a:*");
    let remaining = server.command(&["PTTL", &marker]);
    assert!(
        matches!(remaining, Reply::Integer(20_000..=30_000)),
        "the marker outlives every late begin: {remaining:?}"
    );
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a08_a_begin_that_was_cut_off_and_cannot_be_sent_again_is_ambiguous() {
    let (_server, proxy, store) = store_behind_proxy().await;
    store
        .begin(&begin_of([9; 16]))
        .await
        .expect("the server has the script");
    proxy.swallow_replies(true);
    proxy.reset_counts();
    let pending = tokio::spawn(async move { store.begin(&begin()).await });
    eventually("the request is sent", async || {
        proxy.requests_named("EVALSHA") > 0
    })
    .await;
    proxy.refuse(true);
    proxy.cut().await;
    assert!(is_ambiguous(&pending.await.expect("no panic")));
}

#[test]
fn a_connection_attempt_lost_with_its_runtime_is_repeated() {
    let server = RedisServer::start();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let first = runtime();
    let store = first.block_on(crate::store_at(&server.url()));
    server.kill();
    // Calls the store until a call fails without being sent. From then on, calls do not wait for
    // the next connection attempt.
    first.block_on(async { while !is_unsent(&store.begin(&begin()).await) {} });
    server.restart();
    server.pause();
    // Waits until the delay after the failed attempt has passed, so that the next call starts a new
    // attempt.
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        is_unsent(&first.block_on(store.begin(&begin()))),
        "the call starts a connection attempt"
    );
    drop(first);
    server.resume();
    runtime().block_on(async {
        eventually("the store is available again", async || {
            store.begin(&begin()).await.is_ok()
        })
        .await;
    });
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let (_server, proxy, store) = store_behind_proxy().await;
    proxy.swallow_requests(true);
    assert!(is_ambiguous(&store.begin(&begin()).await));
    proxy.swallow_requests(false);
    until_available(&store).await;
    assert!(proxy.connections() >= 2);
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a_slow_connection_is_kept() {
    let (_server, proxy, store) = patient_store_behind_proxy().await;
    proxy.delay(Duration::from_millis(300));
    for _ in 0..3 {
        store.acquire(&[limit_request()]).await.expect("a reply");
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a23_without_a_server_calls_fail_quickly_and_are_not_sent() {
    let (server, _proxy, store) = store_behind_proxy().await;
    server.kill();
    // The result is not checked, because the first call may still use the connection that breaks.
    let _ = store.begin(&begin()).await;
    let started = Instant::now();
    for _ in 0..20 {
        assert!(is_unsent(&store.begin(&begin()).await));
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    server.restart();
    until_available(&store).await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a17_a_completion_waits_for_the_connection() {
    let (server, _proxy, store) = patient_store_behind_proxy().await;
    let first = begin();
    store.begin(&first).await.expect("a reply");
    server.kill();
    // Each failed attempt makes the delay before the next attempt longer.
    for _ in 0..5 {
        let _ = store.begin(&begin()).await;
    }
    server.restart();
    assert_eq!(
        store.complete(&completion(&first)).await,
        Ok(CompleteOutcome::Written)
    );
}

#[tokio::test]
async fn records_survive_a_restart_of_the_server() {
    let (server, _proxy, store) = store_behind_proxy().await;
    let first = begin();
    store.begin(&first).await.expect("a reply");
    server.restart();
    until_available(&store).await;
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
    server.restart_empty();
    until_available(&store).await;
    assert_eq!(
        store.complete(&completion(&first)).await,
        Ok(CompleteOutcome::Written),
        "the completion writes a lost record again"
    );
    assert!(matches!(
        store.begin(&begin()).await,
        Ok(BeginOutcome::Done(_))
    ));
}

#[tokio::test]
async fn a12_lease_renewals_have_a_separate_connection() {
    let (_server, proxy, store) = store_behind_proxy().await;
    let first = begin();
    store.begin(&first).await.expect("a reply");
    let renewal_store = store.for_heartbeat().expect("a separate connection");
    assert_eq!(
        renewal_store.heartbeat(&[lease(&first)], LEASE).await,
        Ok(vec![true])
    );
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn a12_many_leases_are_renewed_together() {
    let (_server, proxy, store) = store_behind_proxy().await;
    // One call renews at most 256 leases, so 300 leases need two calls.
    let runs: Vec<_> = (0..300_u128)
        .map(|number| begin_of(number.to_be_bytes()))
        .collect();
    for run in &runs {
        store.begin(run).await.expect("a reply");
    }
    proxy.reset_counts();
    let leases: Vec<_> = runs.iter().map(lease).collect();
    assert_eq!(store.heartbeat(&leases, LEASE).await, Ok(vec![true; 300]));
    assert!(proxy.requests() <= 3, "{}", proxy.requests());
}

#[tokio::test]
async fn a22_a_full_server_rejects_new_keys_and_stores_responses() {
    let (server, _proxy, store) = store_behind_proxy().await;
    let first = begin();
    store.begin(&first).await.expect("a reply");
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let other = begin_of([3; 16]);
    assert_eq!(store.begin(&other).await, Err(StoreError::Full));
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::InFlight));
    assert_eq!(
        store.heartbeat(&[lease(&first)], LEASE).await,
        Ok(vec![true])
    );
    assert_eq!(
        store.complete(&completion(&first)).await,
        Ok(CompleteOutcome::Written)
    );
    assert!(
        matches!(store.begin(&begin()).await, Ok(BeginOutcome::Done(_))),
        "stored responses are replayed"
    );
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.begin(&other).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn concurrent_begins_at_four_instances_start_one_run() {
    let server = RedisServer::start();
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(Arc::new(crate::store_at(&server.url()).await));
    }
    let tasks: Vec<_> = (0..64)
        .map(|number: usize| {
            let store = Arc::clone(&instances[number % 4]);
            tokio::spawn(async move { store.begin(&begin()).await.expect("a reply") })
        })
        .collect();
    let mut started = 0;
    for task in tasks {
        started += usize::from(task.await.expect("no panic") == BeginOutcome::Started);
    }
    assert_eq!(started, 1);
}

#[tokio::test]
async fn the_configured_timeout_is_applied() {
    let server = RedisServer::start();
    let config = RedisConfig::new(&server.url()).expect("a valid URL");
    let short_timeout = config.clone().with_timeout(Duration::from_millis(200));
    let store = RedisStore::connect(&short_timeout, "test")
        .await
        .expect("a usable server");
    server.pause();
    let started = Instant::now();
    assert!(is_ambiguous(&store.begin(&begin()).await));
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "the configured timeout is applied, not the default of 1 s"
    );
    server.resume();
    let store = RedisStore::connect(&config.with_timeout(Duration::MAX), "test").await;
    store
        .expect("a usable server")
        .begin(&begin())
        .await
        .expect("a reply");
}

#[tokio::test]
async fn two_namespaces_on_one_server_share_no_keys() {
    let server = RedisServer::start();
    let config = RedisConfig::new(&server.url()).expect("a valid URL");
    for namespace in ["one", "two"] {
        let store = RedisStore::connect(&config, namespace)
            .await
            .expect("a usable server");
        assert_eq!(
            store.begin(&begin()).await,
            Ok(BeginOutcome::Started),
            "{namespace}"
        );
        assert_eq!(
            store
                .acquire(&[limit_request()])
                .await
                .expect("a reply")
                .statuses[0]
                .remaining,
            9
        );
    }
}
