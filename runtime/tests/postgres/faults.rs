//! Servers that are killed, restarted, paused, full or read-only while a store uses them.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use aplomb::policies::idempotency::{BeginOutcome, CompleteOutcome, IdempotencyStore, RecordState};
use aplomb::store::{PostgresRecords, StoreError};
use aplomb::testing::{PostgresServer, eventually};
use futures_util::future::join_all;
use sqlx::ConnectOptions;
use tokio::time::{Instant, sleep};

use crate::{begin, complete, open};

/// The longest time of a call: the timeout of the store, and a second for a slow machine.
const LONGEST_CALL: Duration = Duration::from_secs(6);

/// Runs each key once, as a service does: an operation without a result is repeated, and a begin
/// without a result is aborted first. Counts the effect of each key.
async fn run_all(store: &PostgresRecords, keys: core::ops::Range<u32>, effects: &[AtomicU32]) {
    for number in keys {
        loop {
            let run = begin(number);
            match store.begin(&run).await {
                Ok(BeginOutcome::Started) => {
                    effects[number as usize].fetch_add(1, Ordering::SeqCst);
                    while store.complete(&complete(&run)).await.is_err() {}
                    break;
                }
                Ok(BeginOutcome::Done(_)) => break,
                Ok(outcome) => panic!("{outcome:?}"),
                Err(StoreError::NotExecuted(_)) => sleep(Duration::from_millis(10)).await,
                Err(_) => while store.abort(run.lease(), run.lease).await.is_err() {},
            }
        }
    }
}

/// Runs keys on four tasks until the faults have ended, and checks that each has had one effect.
async fn assert_each_runs_once(server: &PostgresServer, faults: impl AsyncFnOnce()) {
    const TASKS: u32 = 4;
    const KEYS: u32 = 50;
    let store = open(server, "postgres").await;
    let effects: Arc<Vec<_>> = Arc::new((0..TASKS * KEYS).map(|_| AtomicU32::new(0)).collect());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, effects) = (store.clone(), Arc::clone(&effects));
            tokio::spawn(async move {
                run_all(&store, task * KEYS..(task + 1) * KEYS, &effects).await;
            })
        })
        .collect();
    faults().await;
    for task in tasks {
        task.await.expect("no panic");
    }
    for (number, effects) in (0..).zip(effects.iter()) {
        assert_eq!(effects.load(Ordering::SeqCst), 1, "{number}");
        let state = store.find(begin(number).key).await;
        assert!(
            matches!(state, Ok(Some(RecordState::Done(_)))),
            "{number}: {state:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_each_key_runs_once_while_the_server_restarts() {
    let server = PostgresServer::start();
    assert_each_runs_once(&server, async || {
        for _ in 0..3 {
            server.restart();
            sleep(Duration::from_millis(50)).await;
        }
        server.kill();
        server.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_each_key_runs_once_while_sessions_are_terminated() {
    let server = PostgresServer::start();
    assert_each_runs_once(&server, async || {
        for _ in 0..20 {
            server.terminate_backends().await;
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_each_key_runs_once_while_the_server_pauses() {
    let server = PostgresServer::start();
    assert_each_runs_once(&server, async || {
        for pause in [Duration::from_millis(700), LONGEST_CALL] {
            server.pause();
            sleep(pause).await;
            server.resume();
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_that_the_server_has_closed_are_replaced() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let begins: Vec<_> = (0..30).map(begin).collect();
    for outcome in join_all(begins.iter().map(|begin| store.begin(begin))).await {
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    server.restart();
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    server.terminate_backends().await;
    assert_eq!(
        store.complete(&complete(&begins[1])).await,
        Ok(CompleteOutcome::Written)
    );
}

#[tokio::test]
async fn a23_a_server_that_is_down_refuses_new_keys_until_it_is_up() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    server.kill();
    let error = store.begin(&begin(1)).await.expect_err("no server");
    assert!(error.is_outage(), "{error}");
    // No connection is open any more, so the statement was not sent.
    let error = store.begin(&begin(1)).await.expect_err("no server");
    assert!(matches!(error, StoreError::NotExecuted(_)), "{error}");
    server.restart();
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a17_a_completion_waits_for_a_server_that_restarts() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let run = begin(1);
    assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
    server.kill();
    let completion = complete(&run);
    let (completed, ()) = tokio::join!(store.complete(&completion), async {
        sleep(Duration::from_millis(500)).await;
        server.restart();
    });
    assert_eq!(completed, Ok(CompleteOutcome::Written));
}

#[tokio::test]
async fn a23_a_paused_server_delays_calls_at_most_until_the_timeout() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let first = begin(1);
    assert_eq!(store.begin(&first).await, Ok(BeginOutcome::Started));
    server.pause();
    let start = Instant::now();
    let late = begin(2);
    let completion = complete(&first);
    let begins: Vec<_> = (3..30).map(begin).collect();
    let others = join_all(begins.iter().map(|begin| store.begin(begin)));
    let (begun, completed, others) =
        tokio::join!(store.begin(&late), store.complete(&completion), others);
    assert!(start.elapsed() < LONGEST_CALL, "{:?}", start.elapsed());
    assert!(
        matches!(begun, Err(StoreError::Unavailable(_))),
        "{begun:?}"
    );
    for outcome in [begun].iter().chain(&others) {
        assert!(
            outcome.as_ref().is_err_and(StoreError::is_outage),
            "{outcome:?}"
        );
    }
    assert!(completed.is_err(), "{completed:?}");
    server.resume();
    // The server now executes the begin of `late`, before or after this abort.
    store
        .abort(late.lease(), late.lease)
        .await
        .expect("an abort");
    assert_eq!(
        store.complete(&completion).await,
        Ok(CompleteOutcome::Written)
    );
    let again = begin(2);
    assert_eq!(store.begin(&again).await, Ok(BeginOutcome::Started));
    sleep(Duration::from_millis(200)).await;
    assert_eq!(store.begin(&again).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a23_a_short_pause_of_the_server_only_delays_calls() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    server.pause();
    let run = begin(1);
    let (begun, ()) = tokio::join!(store.begin(&run), async {
        sleep(Duration::from_millis(700)).await;
        server.resume();
    });
    assert_eq!(begun, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a12_a_call_that_waits_for_a_lock_ends_before_its_timeout() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let run = begin(1);
    assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("a pool");
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("SELECT name FROM aplomb.record FOR UPDATE")
        .execute(&mut *transaction)
        .await
        .expect("a locked row");
    let start = Instant::now();
    let error = store
        .complete(&complete(&run))
        .await
        .expect_err("a locked row");
    assert!(start.elapsed() < LONGEST_CALL, "{:?}", start.elapsed());
    assert!(matches!(error, StoreError::NotExecuted(_)), "{error}");
    transaction.rollback().await.expect("a rollback");
    assert_eq!(
        store.complete(&complete(&run)).await,
        Ok(CompleteOutcome::Written)
    );
}

#[tokio::test]
async fn a23_a_full_disk_refuses_new_keys_and_keeps_the_others() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
    // The error that PostgreSQL raises if the disk is full.
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$; \
                CREATE TRIGGER full_disk BEFORE INSERT ON aplomb.record \
                EXECUTE FUNCTION full_disk()";
    server.execute(full).await;
    assert_eq!(store.begin(&begin(2)).await, Err(StoreError::Full));
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
    server
        .execute("DROP TRIGGER full_disk ON aplomb.record")
        .await;
    assert_eq!(store.begin(&begin(2)).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a23_a_read_only_server_refuses_new_keys() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    let read_only = |value| format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    for (value, is_read_only) in [("on", true), ("off", false)] {
        server.execute(&read_only(value)).await;
        server.execute("SELECT pg_reload_conf()").await;
        eventually("the setting is applied", async || {
            let outcome = store.begin(&begin(1)).await;
            match outcome {
                Ok(_) => !is_read_only,
                Err(error) => {
                    assert!(matches!(error, StoreError::NotExecuted(_)), "{error}");
                    is_read_only
                }
            }
        })
        .await;
        // A superuser may always change the setting of its own session.
        if is_read_only {
            assert!(store.begin(&begin(2)).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_store_works_with_fewer_connections_than_it_wants() {
    let settings = ["max_connections=5", "superuser_reserved_connections=0"];
    let server = PostgresServer::start_with(&settings);
    let store = open(&server, "postgres").await;
    let others = join_all((0..3).map(|_| async { server.options("postgres").connect().await }));
    let others: Result<Vec<_>, _> = others.await.into_iter().collect();
    let others = others.expect("three connections");
    let begins: Vec<_> = (0..100).map(begin).collect();
    for outcome in join_all(begins.iter().map(|begin| store.begin(begin))).await {
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    drop(others);
}

#[tokio::test]
async fn a_damaged_record_is_malformed_and_other_records_work() {
    let server = PostgresServer::start();
    let store = open(&server, "postgres").await;
    for number in 1..=4 {
        let outcome = store.begin(&begin(number)).await;
        assert_eq!(outcome, Ok(BeginOutcome::Started));
    }
    for (number, damage) in [
        (1, "fingerprint = ''"),
        (2, "state = 9"),
        (3, "state = 2, response = 'damaged'"),
    ] {
        let name = u128::from_be_bytes(*begin(number).key.name());
        let damage = format!("UPDATE aplomb.record SET {damage} WHERE name = '{name:032x}'");
        server.execute(&damage).await;
        let error = store.begin(&begin(number)).await.expect_err("damaged");
        assert!(error.is_malformed(), "{error}");
        assert!(
            error.to_string().contains(&begin(number).key.to_string()),
            "{error}"
        );
    }
    assert_eq!(store.begin(&begin(4)).await, Ok(BeginOutcome::InFlight));
}

#[tokio::test]
async fn a_change_of_the_default_isolation_level_changes_nothing() {
    let server = PostgresServer::start_with(&["default_transaction_isolation=serializable"]);
    let store = open(&server, "postgres").await;
    let begins: Vec<_> = (0..32).map(|_| begin(1)).collect();
    let outcomes = join_all(begins.iter().map(|begin| store.begin(begin))).await;
    let started = outcomes
        .iter()
        .filter(|outcome| **outcome == Ok(BeginOutcome::Started));
    assert_eq!(started.count(), 1);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn a_failover_to_a_replica_keeps_the_records_that_it_has() {
    let primary = PostgresServer::start();
    let store = open(&primary, "postgres").await;
    let run = begin(1);
    assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
    let replica = primary.start_replica();
    assert_eq!(
        store.complete(&complete(&run)).await,
        Ok(CompleteOutcome::Written)
    );
    let done = "SELECT count(*) FROM aplomb.record WHERE state = 2";
    eventually("the replica has the record", async || {
        replica.query(done).await == "1"
    })
    .await;
    primary.kill();
    replica.promote().await;
    let store = open(&replica, "postgres").await;
    let outcome = store.begin(&begin(1)).await;
    assert!(matches!(outcome, Ok(BeginOutcome::Done(_))), "{outcome:?}");
}
