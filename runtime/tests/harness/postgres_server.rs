use core::time::Duration;
use std::path::PathBuf;
use std::thread;

use aplomb::testing::{PgBouncer, PostgresServer, eventually};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use crate::is_running;

async fn directory(server: &PostgresServer) -> PathBuf {
    PathBuf::from(server.query("SHOW data_directory").await)
}

#[tokio::test]
async fn a_killed_or_restarted_server_keeps_its_data_and_its_address() {
    let server = PostgresServer::start();
    let address = server.address();
    server.execute("CREATE TABLE item (id int)").await;
    server.kill();
    assert_eq!(server.pid(), None);
    assert!(server.options("postgres").connect().await.is_err());
    for _ in 0..2 {
        server.restart();
        server.execute("INSERT INTO item VALUES (1)").await;
    }
    assert_eq!(server.query("SELECT count(*) FROM item").await, "2");
    assert_eq!(server.address(), address);
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_file() {
    let server = PostgresServer::start();
    let (pid, directory) = (
        server.pid().expect("a running server"),
        directory(&server).await,
    );
    let backend = server.query("SELECT min(pid) FROM pg_stat_activity").await;
    server.pause();
    drop(server);
    assert!(!is_running(pid) && !directory.exists());
    assert!(!is_running(backend.parse().expect("a number")));
}

#[tokio::test]
async fn a_server_whose_test_panics_leaves_no_process() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = thread::spawn(move || {
        let server = PostgresServer::start();
        sender.send(server.pid()).expect("the test waits");
        panic!("a test that fails");
    });
    let pid = receiver
        .recv()
        .expect("a process id")
        .expect("a running server");
    assert!(test.join().is_err() && !is_running(pid));
}

#[tokio::test]
async fn a_paused_server_does_not_reply_until_it_is_resumed() {
    let server = PostgresServer::start();
    let connected = server.options("postgres").connect().await;
    let mut connection = connected.expect("a connection");
    server.pause();
    let short = Duration::from_millis(200);
    assert!(timeout(short, connection.ping()).await.is_err());
    assert!(timeout(short, server.query("SELECT 1")).await.is_err());
    server.resume();
    assert_eq!(server.query("SELECT 1").await, "1");
}

#[tokio::test]
async fn terminated_sessions_end_and_the_server_continues() {
    let server = PostgresServer::start();
    let connected = server.options("postgres").connect().await;
    let mut connection = connected.expect("a connection");
    server.terminate_backends().await;
    eventually("the session has ended", async || {
        connection.ping().await.is_err()
    })
    .await;
    assert_eq!(server.query("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_replica_follows_its_primary_and_can_be_promoted() {
    let primary = PostgresServer::start();
    let replica = primary.start_replica();
    primary.execute("CREATE TABLE item (id int)").await;
    let exists = "SELECT to_regclass('item') IS NOT NULL";
    eventually("the replica has the table", async || {
        replica.query(exists).await == "t"
    })
    .await;
    primary.kill();
    replica.promote().await;
    replica.execute("INSERT INTO item VALUES (1)").await;
}

#[tokio::test]
async fn a_pgbouncer_lends_the_connections_of_its_server_to_transactions() {
    let server = PostgresServer::start();
    let bouncer = PgBouncer::start(&server, 1);
    let options = server.options("postgres").port(bouncer.address().port());
    let options = options.extra_float_digits(None);
    let mut pids = Vec::new();
    for _ in 0..3 {
        let mut connection = options.connect().await.expect("a connection");
        let mut transaction = connection.begin().await.expect("a transaction");
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .persistent(false)
            .fetch_one(&mut *transaction)
            .await
            .expect("a number");
        transaction.commit().await.expect("a commit");
        pids.push(pid);
    }
    assert!(pids.windows(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
}
