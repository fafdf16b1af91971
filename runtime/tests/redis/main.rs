//! Tests the Redis store with the suites of every store, and with the faults of a remote server.

mod admission;
mod cluster;
mod connection;
mod damage;
mod limits;
mod load;
mod sentinels;
mod start;
mod suites;

use core::time::Duration;

use aplomb::store::{RedisConfig, RedisStore};
use aplomb::testing::{RedisServer, Reply};

async fn store_at(url: &str) -> RedisStore {
    let config = RedisConfig::new(url).expect("a valid URL");
    RedisStore::connect(&config, "test")
        .await
        .expect("a usable server")
}

/// Does the same as [`store_at`], with a timeout of ten seconds for a slow machine.
async fn store_at_with_long_timeout(url: &str) -> RedisStore {
    store_in_namespace(url, "test").await
}

/// Returns the bytes of `INFO` that the proxy must rewrite so that the server reports an old
/// version, and their replacement.
fn old_version_rewrite(server: &RedisServer) -> (&'static [u8], &'static [u8]) {
    let Reply::Bytes(info) = server.command(&["INFO", "server"]) else {
        panic!("no information")
    };
    let info = String::from_utf8_lossy(&info).into_owned();
    match info
        .split("redis_version:")
        .nth(1)
        .and_then(|rest| rest.chars().next())
    {
        Some('7') => (b"redis_version:7", b"redis_version:6"),
        Some('8') => (b"redis_version:8", b"redis_version:6"),
        Some('9') => (b"redis_version:9", b"redis_version:6"),
        other => panic!("{other:?}"),
    }
}

/// Does the same as [`patient_store_at`], with the keys of this namespace.
async fn store_in_namespace(url: &str, namespace: &str) -> RedisStore {
    let config = RedisConfig::new(url)
        .expect("a valid URL")
        .with_timeout(Duration::from_secs(10));
    RedisStore::connect(&config, namespace)
        .await
        .expect("usable servers")
}

/// Returns the namespace of a case of a suite.
fn namespace(case: &str) -> String {
    case.replace('_', "-").chars().take(64).collect()
}

/// Connects to this URL, which must fail, and returns the only line of the error.
async fn start_error(url: &str) -> String {
    let config = RedisConfig::new(url).expect("a valid URL");
    let errors = RedisStore::connect(&config, "test")
        .await
        .expect_err("an unusable store");
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(lines.len() == 1 && !lines[0].contains('\n'), "{lines:?}");
    lines[0].clone()
}
