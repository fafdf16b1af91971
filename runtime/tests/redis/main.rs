//! The store on Redis: the suites that every store passes, and what only a server elsewhere can do
//! to it.

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
        .expect("a good server")
}

/// The same, with more time for an answer than any machine needs.
async fn patient_store_at(url: &str) -> RedisStore {
    store_in_namespace(url, "test").await
}

/// What makes a server of this version an old one.
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

/// The same as [`patient_store_at`], among the keys of this namespace.
async fn store_in_namespace(url: &str, namespace: &str) -> RedisStore {
    let config = RedisConfig::new(url)
        .expect("a valid URL")
        .with_timeout(Duration::from_secs(10));
    RedisStore::connect(&config, namespace)
        .await
        .expect("good servers")
}

/// The namespace of a case of a suite.
fn namespace(case: &str) -> String {
    case.replace('_', "-").chars().take(64).collect()
}

/// The one line that is said of what this URL leads to.
async fn start_error(url: &str) -> String {
    let config = RedisConfig::new(url).expect("a valid URL");
    let errors = RedisStore::connect(&config, "test")
        .await
        .expect_err("nothing that can be used");
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(lines.len() == 1 && !lines[0].contains('\n'), "{lines:?}");
    lines[0].clone()
}
