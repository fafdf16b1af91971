//! What is wrong with a server is said at start, in one line.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use aplomb::store::{RedisConfig, RedisStore};
use aplomb::testing::{Proxy, RedisServer};

use crate::refusal;

#[test]
fn a_url_that_does_not_parse() {
    for (url, expected) in [
        ("redis://", "expected redis://"),
        ("redis://host:port", "expected redis://"),
        ("redis://host/db", "invalid database number"),
        ("nonsense", "expected redis://"),
        ("rediss://host", "TLS is not supported"),
    ] {
        let error = RedisConfig::new(url).expect_err("no valid URL").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let server = RedisServer::start();
    server.kill();
    let said = refusal(&server.url()).await;
    assert!(
        said.contains("cannot be used: ") && said.contains("onnection refused"),
        "{said}"
    );
}

#[tokio::test]
async fn another_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // As web servers answer what is no request.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let said = refusal(&url).await;
    assert!(said.contains("cannot be used: "), "{said}");
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let server = RedisServer::start();
    server.pause();
    let said = refusal(&server.url()).await;
    assert!(
        said.contains("cannot be used: no connection within 3s"),
        "{said}"
    );
}

#[tokio::test]
async fn a_password_is_demanded() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let said = refusal(&server.url()).await;
    assert!(
        said.contains("demands a password; expected redis://:<password>@host"),
        "{said}"
    );
    let said = refusal(&server.url().replace("redis://", "redis://:hunter3@")).await;
    assert!(
        said.contains("rejects the user or the password") && !said.contains("hunter"),
        "{said}"
    );
    crate::store_at(&server.url().replace("redis://", "redis://:hunter2@")).await;
}

#[tokio::test]
async fn what_is_needed_is_not_permitted() {
    let server =
        RedisServer::start_with(&["--user", "guest", "on", "nopass", "~*", "-@all", "+ping"]);
    let said = refusal(&server.url().replace("redis://", "redis://guest:x@")).await;
    assert!(said.contains("denies a required permission"), "{said}");
}

#[tokio::test]
async fn what_the_scripts_call_is_not_permitted() {
    let half = [
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
    let server = RedisServer::start_with(&half);
    let said = refusal(&server.url().replace("redis://", "redis://half:x@")).await;
    assert!(said.contains("the self-test failed: "), "{said}");
}

#[tokio::test]
async fn what_is_rehearsed_leaves_no_record() {
    let server = RedisServer::start();
    crate::store_at(&server.url()).await;
    assert_eq!(
        server.command(&["KEYS", "*:i:*"]),
        aplomb::testing::Reply::Array(Vec::new())
    );
}

#[tokio::test]
async fn an_old_server() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    let (from, to) = crate::aged(&server);
    proxy.rewrite(from, to);
    let said = refusal(&proxy.url()).await;
    assert!(
        said.contains("Redis 6.") && said.contains("is too old; 7 or newer is needed"),
        "{said}"
    );
}

#[tokio::test]
async fn a25_a_server_that_evicts() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let said = refusal(&server.url()).await;
    assert!(
        said.contains("allkeys-lru") && said.contains("APLOMB_STORE_EVICTION=accept"),
        "{said}"
    );
    let accepting = RedisConfig::new(&server.url())
        .expect("a valid URL")
        .accepting_eviction();
    RedisStore::connect(&accepting, "test")
        .await
        .expect("accepted");
}

#[tokio::test]
async fn a_replica() {
    let primary = RedisServer::start();
    let (host, port) = (
        primary.address().ip().to_string(),
        primary.address().port().to_string(),
    );
    let replica = RedisServer::start_with(&["--replicaof", &host, &port]);
    let said = refusal(&replica.url()).await;
    assert!(
        said.contains("a read-only replica; name its primary"),
        "{said}"
    );
}

#[tokio::test]
async fn a_node_of_a_cluster() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let said = refusal(&server.url()).await;
    assert!(
        said.contains("a node of a Redis Cluster; name it with redis+cluster://"),
        "{said}"
    );
}

#[tokio::test]
async fn several_faults_are_several_lines() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let proxy = Proxy::start(server.address()).await;
    let (from, to) = crate::aged(&server);
    proxy.rewrite(from, to);
    let config = RedisConfig::new(&proxy.url()).expect("a valid URL");
    let errors = RedisStore::connect(&config, "test")
        .await
        .expect_err("a bad server");
    assert_eq!(errors.iter().count(), 2, "{errors}");
}

#[tokio::test]
async fn a_namespace_that_would_break_the_keys() {
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
