//! Databases that cannot be used: one clear line each.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use aplomb::Api;
use aplomb::policies::idempotency::{BeginOutcome, IdempotencyStore};
use aplomb::store::{PostgresRecords, Store};
use aplomb::testing::{PostgresServer, TestLog, eventually};
use futures_util::future::join_all;
use sqlx::{ConnectOptions, PgPool};
use tokio::time::{Duration, Instant};

use crate::{begin, open};

/// Opens a store that must fail, and returns the line of the error.
async fn start_error(url: &str) -> String {
    let error = PostgresRecords::connect(url)
        .await
        .expect_err("a start error");
    let error = error.to_string();
    assert!(
        !error.contains('\n') && !error.contains("hunter"),
        "{error}"
    );
    error
}

async fn assert_start_error(url: &str, expected: &str) {
    let error = start_error(url).await;
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_wrong_user_password_or_database_is_an_error() {
    let server = PostgresServer::start();
    server
        .execute("CREATE ROLE guarded LOGIN PASSWORD 'hunter2'")
        .await;
    let address = server.address();
    for (url, expected) in [
        (
            format!("postgres://guarded@{address}/postgres"),
            "rejects the user or the password",
        ),
        (
            format!("postgres://guarded:hunter3@{address}/postgres"),
            "rejects the user or the password",
        ),
        (
            format!("postgres://missing@{address}/postgres"),
            "role \"missing\" does not exist",
        ),
        (
            server.url_of("missing"),
            "database \"missing\" does not exist",
        ),
        (format!("{}?sslmode=require", server.url()), "TLS"),
    ] {
        assert_start_error(&url, expected).await;
    }
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() {
    let server = PostgresServer::start();
    server.kill();
    assert_start_error(&server.url(), "onnection refused").await;
    let unknown = "postgres://postgres@host.invalid/postgres";
    assert_start_error(unknown, "cannot connect").await;
}

#[tokio::test]
async fn a_paused_server_is_an_error() {
    let server = PostgresServer::start();
    server.pause();
    let start = Instant::now();
    assert_start_error(&server.url(), "no connection within 5s").await;
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_is_not_postgres_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Responds as web servers do to bytes that are not HTTP.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_start_error(
        &format!("postgres://postgres@{address}/postgres"),
        "check host and port",
    )
    .await;
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_an_error() {
    let settings = ["max_connections=5", "superuser_reserved_connections=0"];
    let server = PostgresServer::start_with(&settings);
    let others = join_all((0..5).map(|_| async { server.options("postgres").connect().await }));
    let others: Result<Vec<_>, _> = others.await.into_iter().collect();
    let others = others.expect("five connections");
    assert_start_error(&server.url(), "max_connections").await;
    drop(others);
}

#[tokio::test]
async fn a_replica_or_a_read_only_database_is_an_error() {
    let primary = PostgresServer::start();
    let replica = primary.start_replica();
    assert_start_error(&replica.url(), "read replica").await;
    primary.create_database("quiet").await;
    primary
        .execute("ALTER DATABASE quiet SET default_transaction_read_only = on")
        .await;
    assert_start_error(&primary.url_of("quiet"), "default_transaction_read_only").await;
}

#[tokio::test]
async fn missing_privileges_are_an_error() {
    let server = PostgresServer::start();
    server.execute("CREATE ROLE app LOGIN").await;
    let url = server.url().replace("postgres@", "app@");
    assert_start_error(&url, "GRANT CREATE ON DATABASE \"postgres\" TO \"app\"").await;
    drop(open(&server, "postgres").await);
    assert_start_error(&url, "missing USAGE on schema aplomb").await;
    server.execute("GRANT USAGE ON SCHEMA aplomb TO app").await;
    assert_start_error(&url, "SELECT on aplomb.record").await;
    server
        .execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA aplomb TO app")
        .await;
    assert_start_error(&url, "DELETE on aplomb.record").await;
    server
        .execute("GRANT DELETE ON ALL TABLES IN SCHEMA aplomb TO app")
        .await;
    let store = PostgresRecords::connect(&url)
        .await
        .expect("enough privileges");
    store.begin(&begin(1)).await.expect("a begin");
}

#[tokio::test]
async fn an_invalid_url_is_an_error() {
    for (url, expected) in [
        (
            "postgres://app:hunter2@host:port/pay",
            "expected postgres://",
        ),
        (
            "postgres://app:hunter2@host/pay?sslmod=require",
            "unknown parameter \"sslmod\"",
        ),
        (
            "postgres://app:hunter2@host/pay?pgbouncer=1",
            "pgbouncer: accepted: true, false",
        ),
    ] {
        assert_start_error(url, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_instances_can_start_on_an_empty_database_at_once() {
    let server = PostgresServer::start();
    for round in 0..3 {
        let database = format!("round{round}");
        server.create_database(&database).await;
        for store in join_all((0..16).map(|_| open(&server, &database))).await {
            store.begin(&begin(1)).await.expect("a store that works");
        }
    }
}

#[tokio::test]
async fn instances_share_the_secret_of_their_api() {
    let server = PostgresServer::start();
    let pool = PgPool::connect(&server.url()).await.expect("a pool");
    for name in ["payments", "payments", "orders"] {
        let api: Api<()> = Api::new(name, aplomb::routes![]).store(Store::postgres(&pool));
        let _router = api.into_router(()).await.expect("a valid API");
    }
    let secrets = "SELECT string_agg(namespace || ' ' || octet_length(secret), ', ' ORDER BY namespace) \
                   FROM aplomb.secret";
    assert_eq!(server.query(secrets).await, "orders 32, payments 32");
}

#[tokio::test]
async fn the_tables_of_the_application_are_untouched() {
    let server = PostgresServer::start();
    server
        .execute("CREATE TABLE record (id int); INSERT INTO record VALUES (7)")
        .await;
    open(&server, "postgres")
        .await
        .begin(&begin(1))
        .await
        .expect("a begin");
    assert_eq!(server.query("SELECT id FROM record").await, "7");
    let others = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(server.query(others).await, "1");
}

#[tokio::test]
async fn settings_that_lose_commits_are_logged_at_start() {
    let log = TestLog::of("postgres::open");
    let _listening = log.listen();
    let server = PostgresServer::start_with(&["synchronous_commit=off"]);
    let replica = server.start_replica();
    eventually("the replica streams", async || {
        let replicas = "SELECT count(*) FROM pg_stat_replication";
        server.query(replicas).await == "1"
    })
    .await;
    drop(open(&server, "postgres").await);
    let lines = log.lines();
    let messages: Vec<_> = lines
        .iter()
        .filter_map(|line| line.field("message"))
        .collect();
    let text = messages.join("\n");
    for expected in [
        "synchronous_commit is off",
        "fsync is off",
        "replication is asynchronous",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    drop(replica);
}

#[tokio::test]
async fn a_socket_and_other_encodings_work() {
    let server = PostgresServer::start();
    let latin = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    server.execute(latin).await;
    let socket = server.query("SHOW unix_socket_directories").await;
    let url = format!("{}?host={socket}", server.url_of("latin"));
    let store = PostgresRecords::connect(&url)
        .await
        .expect("a usable database");
    assert_eq!(store.begin(&begin(1)).await, Ok(BeginOutcome::Started));
    assert!(store.url().contains(&socket), "{}", store.url());
}
