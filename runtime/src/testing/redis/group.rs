//! Functions for groups of servers: sentinels and clusters.

use core::time::Duration;
use std::thread;

use super::process::{FailedStart, Role};
use super::{Port, RedisServer, Reply};
use crate::testing::wait::holds_within;

/// Starts servers in parallel.
///
/// # Panics
///
/// Panics if a server does not start. The message has the reason of one server.
#[track_caller]
pub(super) fn start_all(roles: Vec<Role>) -> Vec<RedisServer> {
    let started: Result<Vec<_>, FailedStart> = thread::scope(|scope| {
        let start = |role| scope.spawn(|| RedisServer::start_on(role, Port::free));
        let starting: Vec<_> = roles.into_iter().map(start).collect();
        starting
            .into_iter()
            .map(|server| server.join().expect("a start does not panic"))
            .collect()
    });
    RedisServer::expect_started(started)
}

/// Returns command-line options as owned strings.
pub(super) fn options(options: &[&str]) -> Vec<String> {
    options.iter().copied().map(String::from).collect()
}

/// Waits until a condition of the servers is true. `what` describes the condition in the panic
/// message.
///
/// # Panics
///
/// Panics if the condition is still false after a minute.
#[track_caller]
pub(super) fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(TIMEOUT, condition),
        "timed out after {TIMEOUT:?} waiting until {what}"
    );
}

/// Waits until at least `replicas` replicas of a primary have all data that the primary has at the
/// time of the call.
#[track_caller]
pub(super) fn until_replicated(primary: &RedisServer, replicas: usize) {
    let written = offsets(primary).map_or(0, |(written, _)| written);
    until("the replicas have all data of their primary", || {
        let replica_offsets = offsets(primary)
            .map(|(_, replicas)| replicas)
            .unwrap_or_default();
        replica_offsets
            .iter()
            .filter(|offset| **offset >= written)
            .count()
            >= replicas
    });
}

/// Returns the replication offset of a primary, and the offsets of its replicas, in bytes; `None`
/// if the server does not reply or is not a primary.
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

/// The time limit of a wait. It is longer than an election on a slow machine: nodes are down after
/// 1 s, and an election may have to be repeated.
const TIMEOUT: Duration = Duration::from_mins(1);
