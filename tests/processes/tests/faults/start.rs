//! A service whose Redis is not there, or not fit for it, when it starts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::thread;

use aplomb::testing::{Proxy, RedisServer, Reply};

use crate::bench::Bench;

/// Checks that it did not start, and said only this of it.
fn refused(output: &Output, url: &str) {
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    let start = format!("error: APLOMB_STORE=\"{url}\": ");
    assert!(
        matches!(&errors[..], [error] if error.starts_with(&start)),
        "{said}"
    );
    assert!(output.stdout.is_empty(), "it does not listen");
}

#[test]
fn a_store_that_is_not_there_is_said_at_start() {
    let bench = Bench::start();
    bench.redis.kill();
    refused(&bench.settings("a").run(), &bench.redis.url());
}

#[test]
fn a_store_that_stands_still_is_said_at_start() {
    let bench = Bench::start();
    bench.redis.pause();
    refused(&bench.settings("a").run(), &bench.redis.url());
}

/// Starts a service on a server, and checks that it says this and ends with 2.
fn says(url: &str, expected: &str) {
    let bench = Bench::start();
    let output = bench.settings("a").with(&[("APLOMB_STORE", url)]).run();
    refused(&output, &shown(url));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(expected) && !said.contains("hunter"),
        "{said}"
    );
}

/// A URL without its password.
fn shown(url: &str) -> String {
    url.find('@')
        .map_or_else(|| url.to_owned(), |at| format!("redis://…{}", &url[at..]))
}

#[test]
fn a_url_that_is_none_is_said_at_start() {
    let bench = Bench::start();
    for (url, expected) in [
        ("redis://host:port", "redis url did not parse"),
        ("rediss://host", "TLS is not supported"),
    ] {
        let output = bench.settings("a").with(&[("APLOMB_STORE", url)]).run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said.starts_with("error: APLOMB_STORE=") && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn a_password_that_is_demanded_or_wrong_is_said_at_start() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]);
    says(&redis.url(), "demands a password");
    says(
        &redis.url().replace("redis://", "redis://:hunter3@"),
        "rejects the user or the password",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_is_said_at_start() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.address()).await;
    let (from, to): (&[u8], &[u8]) = match version(&redis) {
        7 => (b"redis_version:7", b"redis_version:6"),
        8 => (b"redis_version:8", b"redis_version:6"),
        other => panic!("a Redis {other}"),
    };
    proxy.rewrite(from, to);
    says(&proxy.url(), "is too old; 7 or newer is needed");
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
fn a25_a_server_that_evicts_is_said_at_start() {
    let redis =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    says(
        &redis.url(),
        "evicts records when its memory is full (maxmemory-policy allkeys-lru)",
    );
    let bench = Bench::start();
    let settings = |eviction| {
        bench.settings("a").with(&[
            ("APLOMB_STORE", &redis.url()),
            ("APLOMB_STORE_EVICTION", eviction),
        ])
    };
    let output = settings("yes").run();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("error: APLOMB_STORE_EVICTION=\"yes\": accepted: accept"),
        "{said}"
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
fn a25_what_a_crash_loses_is_said_at_start() {
    let bench = Bench::start();
    let warns = |redis: &RedisServer| {
        let service = bench
            .settings("a")
            .with(&[("APLOMB_STORE", &redis.url())])
            .start();
        service.log().contains("a crash of the store loses")
    };
    assert!(!warns(&bench.redis));
    assert!(warns(&RedisServer::start_with(&[
        "--appendfsync",
        "everysec"
    ])));
}

#[test]
fn a_replica_is_said_at_start() {
    let primary = RedisServer::start();
    let (host, port) = (
        primary.address().ip().to_string(),
        primary.address().port().to_string(),
    );
    let replica = RedisServer::start_with(&["--replicaof", &host, &port]);
    says(&replica.url(), "a read-only replica; name its primary");
}

#[test]
fn a_server_that_is_no_redis_is_said_at_start() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", other.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            // As web servers answer what is no request.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    says(&url, "does not speak the protocol of Redis");
}
