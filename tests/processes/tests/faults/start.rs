//! A Redis or a PostgreSQL that is unreachable or unsuitable when the service starts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;

use aplomb::testing::{PostgresServer, Proxy, RedisServer, Reply};

use crate::deployment::Deployment;

/// Checks that the service did not start, and that it reported one error about this URL.
fn assert_start_error(output: &Output, url: &str) {
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let start = format!("error: APLOMB_STORE=\"{url}\": ");
    assert!(
        matches!(&errors[..], [error] if error.starts_with(&start)),
        "{stderr}"
    );
    assert!(output.stdout.is_empty(), "the service must not listen");
}

#[test]
fn an_unreachable_store_is_a_start_error() {
    let deployment = Deployment::start();
    deployment.redis.kill();
    assert_start_error(&deployment.settings("a").run(), &deployment.redis.url());
}

#[test]
fn a_paused_store_is_a_start_error() {
    let deployment = Deployment::start();
    deployment.redis.pause();
    assert_start_error(&deployment.settings("a").run(), &deployment.redis.url());
}

#[test]
fn an_unreachable_postgres_is_a_start_error() {
    let (deployment, server) = (Deployment::start(), PostgresServer::start());
    server.kill();
    let url = server.url().replace("postgres@", "postgres:hunter2@");
    let settings = deployment.settings("a").with(&[("APLOMB_STORE", &url)]);
    let output = settings.run();
    assert_start_error(&output, &server.url());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("hunter"), "{stderr}");
}

/// Starts a service on this URL, and checks its only error and its exit code 2.
fn assert_start_error_contains(url: &str, expected: &str) {
    let deployment = Deployment::start();
    let output = deployment
        .settings("a")
        .with(&[("APLOMB_STORE", url)])
        .run();
    assert_start_error(&output, &without_password(url));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(expected) && !stderr.contains("hunter"),
        "{stderr}"
    );
}

/// Returns the URL without its password.
fn without_password(url: &str) -> String {
    url.find('@')
        .map_or_else(|| url.to_owned(), |at| format!("redis://…{}", &url[at..]))
}

#[test]
fn an_invalid_url_is_a_start_error() {
    let deployment = Deployment::start();
    for (url, expected) in [
        ("redis://host:port", "redis url did not parse"),
        ("rediss://host", "TLS is not supported"),
    ] {
        let output = deployment
            .settings("a")
            .with(&[("APLOMB_STORE", url)])
            .run();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr.starts_with("error: APLOMB_STORE=") && stderr.contains(expected),
            "{stderr}"
        );
    }
}

#[test]
fn a_missing_or_wrong_password_is_a_start_error() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    assert_start_error_contains(&redis.url(), "demands a password");
    assert_start_error_contains(
        &redis.url().replace("redis://", "redis://:hunter3@"),
        "rejects the user or the password",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_is_a_start_error() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let (from, to): (&[u8], &[u8]) = match version(&redis) {
        7 => (b"redis_version:7", b"redis_version:6"),
        8 => (b"redis_version:8", b"redis_version:6"),
        other => panic!("a Redis {other}"),
    };
    proxy.rewrite(from, to);
    assert_start_error_contains(&proxy.url(), "is too old; 7 or newer is needed");
}

fn version(redis: &RedisServer) -> u32 {
    let Reply::Bytes(info) = redis.command(&["INFO", "server"]) else {
        panic!("no information")
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    let version = info
        .split("redis_version:")
        .nth(1)
        .and_then(|rest| rest.split('.').next());
    version
        .and_then(|major| major.parse().ok())
        .expect("a number")
}

#[test]
fn a25_a_server_that_evicts_is_a_start_error_unless_accepted() {
    let redis =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    assert_start_error_contains(
        &redis.url(),
        "evicts records when its memory is full (maxmemory-policy allkeys-lru)",
    );
    let deployment = Deployment::start();
    let settings = |eviction| {
        deployment.settings("a").with(&[
            ("APLOMB_STORE", &redis.url()),
            ("APLOMB_STORE_EVICTION", eviction),
        ])
    };
    let output = settings("yes").run();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr.contains("error: APLOMB_STORE_EVICTION=\"yes\": accepted: accept"),
        "{stderr}"
    );
    let service = settings("accept").start();
    assert!(
        service
            .log()
            .contains("a retry of an evicted key has a second effect"),
        "{}",
        service.log()
    );
}

#[test]
fn a25_the_possible_data_loss_of_a_crash_is_logged_at_start() {
    let deployment = Deployment::start();
    let warns = |redis: &RedisServer| {
        let service = deployment
            .settings("a")
            .with(&[("APLOMB_STORE", &redis.url())])
            .start();
        service.log().contains("a crash of the store loses")
    };
    assert!(!warns(&deployment.redis));
    assert!(warns(&RedisServer::start_with(&[
        "--appendfsync",
        "everysec"
    ])));
}

#[test]
fn a_replica_is_a_start_error() {
    let primary = RedisServer::start();
    let (host, port) = (
        primary.address().ip().to_string(),
        primary.address().port().to_string(),
    );
    let replica = RedisServer::start_with(&["--replicaof", &host, &port]);
    assert_start_error_contains(&replica.url(), "a read-only replica; name its primary");
}

#[test]
fn a_server_that_is_not_redis_is_a_start_error() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", other.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            // Web servers respond like this to bytes that are not HTTP.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_start_error_contains(&url, "does not speak the protocol of Redis");
}
