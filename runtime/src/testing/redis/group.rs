//! What several servers that belong together have in common.

use core::time::Duration;
use std::thread;

use super::process::{Down, Role};
use super::{Port, RedisServer, Reply};
use crate::testing::wait::holds_within;

/// Starts servers, all at the same time. Where that fails only one says why.
#[track_caller]
pub(super) fn start_all(roles: Vec<Role>) -> Vec<RedisServer> {
    let started: Result<Vec<_>, Down> = thread::scope(|scope| {
        let start = |role| scope.spawn(|| RedisServer::start_on(role, Port::free));
        let starting: Vec<_> = roles.into_iter().map(start).collect();
        starting
            .into_iter()
            .map(|server| server.join().expect("a start does not panic"))
            .collect()
    });
    RedisServer::up(started)
}

/// Options as a process takes them.
pub(super) fn options(options: &[&str]) -> Vec<String> {
    options.iter().copied().map(String::from).collect()
}

/// Waits for something that servers do by themselves.
///
/// # Panics
///
/// If they do not within a minute.
#[track_caller]
pub(super) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(PATIENCE, condition),
        "within {PATIENCE:?} it did not come about that {what}"
    );
}

/// Waits until so many replicas of a primary have all that it has by now.
#[track_caller]
pub(super) fn until_replicated(primary: &RedisServer, replicas: usize) {
    let written = offsets(primary).map_or(0, |(written, _)| written);
    until("replicas have what their primary has", || {
        let told = offsets(primary)
            .map(|(_, replicas)| replicas)
            .unwrap_or_default();
        told.iter().filter(|offset| **offset >= written).count() >= replicas
    });
}

/// How much a primary has written, and how much of it each replica has.
pub(super) fn offsets(primary: &RedisServer) -> Option<(i64, Vec<i64>)> {
    let role = primary.try_command(&["ROLE"])?;
    match role.items() {
        [name, Reply::Integer(written), replicas] if name.text() == "master" => {
            let offset = |replica: &Reply| replica.items().get(2)?.text().parse().ok();
            Some((
                *written,
                replicas.items().iter().filter_map(offset).collect(),
            ))
        }
        _ => None,
    }
}

const PATIENCE: Duration = Duration::from_mins(1);
