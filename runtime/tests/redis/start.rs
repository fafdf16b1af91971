//! Tests that each problem of a server is reported at start, in one line.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use aplomb::store::{RedisConfig, RedisStore};
use aplomb::testing::{Proxy, RedisServer};

use crate::start_error;

#[test]
fn an_invalid_url_is_an_error() {
    for (url, expected) in [
        ("redis://", "expected redis://"),
        ("redis://host:port", "expected redis://"),
        ("redis://host/db", "invalid database number"),
        ("nonsense", "expected redis://"),
        ("rediss://host", "TLS is not supported"),
    ] {
        let error = RedisConfig::new(url)
            .expect_err("an invalid URL")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() {
    let server = RedisServer::start();
    server.kill();
    let error = start_error(&server.url()).await;
    assert!(
        error.contains("cannot be used: ") && error.contains("onnection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Responds as web servers do to bytes that are not HTTP.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let error = start_error(&url).await;
    assert!(error.contains("cannot be used: "), "{error}");
}

#[tokio::test]
async fn a_paused_server_is_an_error() {
    let server = RedisServer::start();
    server.pause();
    let error = start_error(&server.url()).await;
    assert!(
        error.contains("cannot be used: no connection within 3s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_or_wrong_password_is_an_error() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let error = start_error(&server.url()).await;
    assert!(
        error.contains("demands a password; expected redis://:<password>@host"),
        "{error}"
    );
    let error = start_error(&server.url().replace("redis://", "redis://:hunter3@")).await;
    assert!(
        error.contains("rejects the user or the password") && !error.contains("hunter"),
        "{error}"
    );
    crate::store_at(&server.url().replace("redis://", "redis://:hunter2@")).await;
}

#[tokio::test]
async fn a_user_without_the_needed_commands_is_an_error() {
    let server =
        RedisServer::start_with(&["--user", "guest", "on", "nopass", "~*", "-@all", "+ping"]);
    let error = start_error(&server.url().replace("redis://", "redis://guest:x@")).await;
    assert!(error.contains("denies a required permission"), "{error}");
}

#[tokio::test]
async fn a_user_without_the_commands_of_the_scripts_is_an_error() {
    let user = [
        "--user",
        "half",
        "on",
        "nopass",
        "~ap1:*",
        "+info",
        "+ping",
        "+config|get",
        "+eval",
        "+evalsha",
    ];
    let server = RedisServer::start_with(&user);
    let error = start_error(&server.url().replace("redis://", "redis://half:x@")).await;
    assert!(error.contains("the self-test failed: "), "{error}");
}

#[tokio::test]
async fn the_self_test_leaves_no_record() {
    let server = RedisServer::start();
    crate::store_at(&server.url()).await;
    assert_eq!(
        server.command(&["KEYS", "*:i:*"]),
        aplomb::testing::Reply::Array(Vec::new())
    );
}

#[tokio::test]
async fn an_old_server_is_an_error() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let (from, to) = crate::old_version_rewrite(&server);
    proxy.rewrite(from, to);
    let error = start_error(&proxy.url()).await;
    assert!(
        error.contains("Redis 6.") && error.contains("is too old; 7 or newer is needed"),
        "{error}"
    );
}

#[tokio::test]
async fn a25_a_server_that_evicts_is_an_error_unless_accepted() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = start_error(&server.url()).await;
    assert!(
        error.contains("allkeys-lru") && error.contains("APLOMB_STORE_EVICTION=accept"),
        "{error}"
    );
    let accepting = RedisConfig::new(&server.url())
        .expect("a valid URL")
        .accepting_eviction();
    RedisStore::connect(&accepting, "test")
        .await
        .expect("accepted");
}

#[tokio::test]
async fn a_replica_is_an_error() {
    let primary = RedisServer::start();
    let (host, port) = (
        primary.address().ip().to_string(),
        primary.address().port().to_string(),
    );
    let replica = RedisServer::start_with(&["--replicaof", &host, &port]);
    let error = start_error(&replica.url()).await;
    assert!(
        error.contains("a read-only replica; name its primary"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_of_a_cluster_is_an_error() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let error = start_error(&server.url()).await;
    assert!(
        error.contains("a node of a Redis Cluster; name it with redis+cluster://"),
        "{error}"
    );
}

#[tokio::test]
async fn each_defect_of_a_server_is_reported() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let proxy = Proxy::start(server.address()).await;
    let (from, to) = crate::old_version_rewrite(&server);
    proxy.rewrite(from, to);
    let config = RedisConfig::new(&proxy.url()).expect("a valid URL");
    let errors = RedisStore::connect(&config, "test")
        .await
        .expect_err("an unusable server");
    assert_eq!(errors.iter().count(), 2, "{errors}");
}

#[tokio::test]
async fn a_namespace_with_invalid_characters_is_an_error() {
    let config = RedisConfig::new("redis://127.0.0.1").expect("a valid URL");
    for wrong in ["", "a{b", "A", "a:b"] {
        let errors = RedisStore::connect(&config, wrong).await.expect_err(wrong);
        assert!(
            errors
                .to_string()
                .contains("is invalid; expected [a-z0-9-]{1,64}"),
            "{errors}"
        );
    }
}
