//! Calls at the same time, and the removal of expired records beside them.

use core::time::Duration;
use std::sync::Arc;

use aplomb::policies::idempotency::{
    BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Outcome, RecordState,
};
use aplomb::testing::{PostgresServer, eventually};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::{begin, complete, new_store, open, response};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_of_concurrent_begins_on_two_instances_exactly_one_starts() {
    let server = PostgresServer::start();
    let stores = [
        open(&server, "postgres").await,
        open(&server, "postgres").await,
    ];
    for number in 0..20 {
        let begins: Vec<_> = (0..32).map(|_| begin(number)).collect();
        let calls = begins.iter().zip(stores.iter().cycle());
        let outcomes = join_all(calls.map(|(begin, store)| store.begin(begin))).await;
        let is_start = |outcome: &&Result<_, _>| **outcome == Ok(BeginOutcome::Started);
        assert_eq!(outcomes.iter().filter(is_start).count(), 1, "{outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_concurrent_begins_and_aborts_leave_no_run() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let pairs = (0..500).map(async |number| {
        // Every second key has a row already.
        if number % 2 == 0 {
            let earlier = begin(number);
            store.begin(&earlier).await.expect("a begin");
            store
                .abort(earlier.lease(), Duration::ZERO)
                .await
                .expect("an abort");
        }
        let run = begin(number);
        let marker = Duration::from_secs(30);
        let (begun, aborted) = tokio::join!(store.begin(&run), store.abort(run.lease(), marker));
        aborted.expect("an abort");
        begun.expect("a begin")
    });
    let outcomes = join_all(pairs).await;
    let is_known = |outcome| matches!(outcome, &BeginOutcome::Started | &BeginOutcome::Aborted);
    assert!(outcomes.iter().all(is_known), "{outcomes:?}");
    for number in 0..500 {
        assert_eq!(store.find(begin(number).key).await, Ok(None), "{number}");
    }
}

#[tokio::test]
async fn a12_a_heartbeat_does_not_wait_for_a_transaction_that_completes_a_record() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let (one, other) = (begin(1), begin(2));
    for run in [&one, &other] {
        assert_eq!(store.begin(run).await, Ok(BeginOutcome::Started));
    }
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("a pool");
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE aplomb.record SET rerun = rerun WHERE ctid = '(0,1)'")
        .execute(&mut *transaction)
        .await
        .expect("a locked row");
    let leases = [one.lease(), other.lease()];
    let own = store.for_heartbeat().expect("a separate connection");
    let renewed = own.heartbeat(&leases, Duration::from_secs(30));
    let renewed = timeout(Duration::from_secs(2), renewed).await;
    assert_eq!(renewed.expect("no wait for the lock"), Ok(vec![true, true]));
}

#[tokio::test]
async fn a22_expired_records_are_removed_beside_live_requests() {
    let server = PostgresServer::start();
    let (store, clock) = new_store(&server, "expired").await;
    let old = "INSERT INTO aplomb.record (name, token, lease_until, expires_at, reap_at, state, \
               rerun, fingerprint) SELECT gen_random_uuid(), gen_random_uuid(), now(), now(), \
               now(), 2, false, '' FROM generate_series(1, 20000)";
    server.execute_in("expired", old).await;
    let live = begin(1);
    assert_eq!(store.begin(&live).await, Ok(BeginOutcome::Started));
    let mut slowest = Duration::ZERO;
    eventually("all expired records are removed", async || {
        let start = Instant::now();
        assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        slowest = slowest.max(start.elapsed());
        server
            .query_in("expired", "SELECT count(*) FROM aplomb.record")
            .await
            == "1"
    })
    .await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // The live record expires as well, and is removed.
    clock.advance(Duration::from_hours(25)).await;
    eventually("the last record is removed", async || {
        server
            .query_in("expired", "SELECT count(*) FROM aplomb.record")
            .await
            == "0"
    })
    .await;
}

#[tokio::test]
async fn a22_a_locked_expired_record_does_not_stop_the_removal() {
    let server = PostgresServer::start();
    let (store, clock) = new_store(&server, "locked").await;
    for number in 0..10 {
        store.begin(&begin(number)).await.expect("a begin");
    }
    let pool = sqlx::PgPool::connect(&server.url_of("locked"))
        .await
        .expect("a pool");
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT name FROM aplomb.record LIMIT 1 FOR UPDATE")
        .execute(&mut *transaction)
        .await
        .expect("a locked row");
    clock.advance(Duration::from_hours(25)).await;
    let count = "SELECT count(*) FROM aplomb.record";
    eventually("the other records are removed", async || {
        server.query_in("locked", count).await == "1"
    })
    .await;
    transaction.rollback().await.expect("a rollback");
    eventually("the last record is removed", async || {
        server.query_in("locked", count).await == "0"
    })
    .await;
}

#[tokio::test]
async fn a_completion_changes_no_index() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    for number in 0..200 {
        let run = begin(number);
        store.begin(&run).await.expect("a begin");
        assert_eq!(
            store.complete(&complete(&run)).await,
            Ok(CompleteOutcome::Written)
        );
    }
    let hot = "SELECT n_tup_hot_upd || ' of ' || n_tup_upd FROM pg_stat_user_tables \
               WHERE relname = 'record'";
    eventually("all updates are heap-only", async || {
        server.query(hot).await == "200 of 200"
    })
    .await;
}

#[tokio::test]
async fn a20_a_large_response_is_stored() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let run = begin(1);
    store.begin(&run).await.expect("a begin");
    let large = response(&"x".repeat(1 << 20));
    let outcome = Outcome::Response(large.clone());
    let complete = Complete::new(run.lease(), run.fingerprint, outcome, run.ttl);
    assert_eq!(
        store.complete(&complete).await,
        Ok(CompleteOutcome::Written)
    );
    let found = store.find(run.key).await;
    assert_eq!(found, Ok(Some(RecordState::Done(large))));
}

#[tokio::test]
async fn the_connections_of_a_store_end_with_it() {
    let server = PostgresServer::start();
    let store = Arc::new(open(&server, "postgres").await);
    let begins: Vec<_> = (0..50).map(begin).collect();
    for outcome in join_all(begins.iter().map(|begin| store.begin(begin))).await {
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    let clients = "SELECT count(*) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let open: u32 = server.query(clients).await.parse().expect("a number");
    assert!((1..=10).contains(&open), "{open}");
    drop(store);
    eventually("the connections are closed", async || {
        server.query(clients).await == "0"
    })
    .await;
}
