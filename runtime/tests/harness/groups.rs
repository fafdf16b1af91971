//! Tests `RedisSentinels` and `RedisCluster`, the groups of Redis servers for tests.

use std::path::Path;

use aplomb::testing::{RedisCluster, RedisSentinels, RedisServer, Reply};

use crate::is_running;

fn set(server: &RedisServer, key: &str) {
    assert_eq!(
        server.command(&["SET", key, "value"]),
        Reply::Status(String::from("OK"))
    );
}

fn directory(server: &RedisServer) -> String {
    match server.command(&["CONFIG", "GET", "dir"]) {
        Reply::Array(pair) => match &pair[..] {
            [_, Reply::Bytes(dir)] => String::from_utf8_lossy(dir).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn sentinels_promote_a_replica() {
    let servers = RedisSentinels::start();
    let before = servers.primary().address();
    set(servers.primary(), "key");
    servers.until_all_replicated();
    servers.primary().kill();
    servers.until_failed_over(before);
    assert_ne!(servers.primary().address(), before);
    assert_eq!(
        servers.primary().command(&["GET", "key"]),
        Reply::bytes("value")
    );
}

#[test]
fn a_replica_of_a_cluster_is_promoted() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot_of("key");
    let before = cluster.owner(slot).address();
    set(cluster.owner(slot), "key");
    cluster.until_replicated(slot);
    cluster.owner(slot).kill();
    cluster.until_failed_over(slot, before);
    assert_eq!(
        cluster.owner(slot).command(&["GET", "key"]),
        Reply::bytes("value")
    );
    assert_eq!(cluster.primaries().len(), 3);
}

#[test]
fn the_keys_of_a_migrated_slot_are_moved() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot_of("{tag}");
    let from = cluster.owner(slot);
    let to = cluster
        .primaries()
        .into_iter()
        .find(|node| node.address() != from.address())
        .expect("another primary");
    set(from, "{tag}1");
    set(from, "{tag}2");
    let migration = cluster.begin_migration(slot, to);
    migration.move_keys();
    let reply = from.command(&["GET", "{tag}1"]);
    assert!(
        matches!(&reply, Reply::Error(error) if error.starts_with("ASK ")),
        "{reply:?}"
    );
    migration.end();
    assert_eq!(cluster.owner(slot).address(), to.address());
    assert_eq!(to.command(&["GET", "{tag}2"]), Reply::bytes("value"));
}

#[test]
fn dropped_groups_leave_no_process_and_no_directory() {
    let (servers, cluster) = (RedisSentinels::start(), RedisCluster::start());
    let all_servers = servers.servers().iter().chain(cluster.nodes());
    let servers_with_directories: Vec<_> = all_servers
        .map(|server| (server.pid().expect("a running server"), directory(server)))
        .collect();
    let sentinels: Vec<_> = servers
        .sentinels()
        .iter()
        .filter_map(RedisServer::pid)
        .collect();
    assert_eq!((servers_with_directories.len(), sentinels.len()), (9, 3));
    drop((servers, cluster));
    for (pid, directory) in servers_with_directories {
        assert!(
            !is_running(pid) && !Path::new(&directory).exists(),
            "{directory}"
        );
    }
    assert!(sentinels.into_iter().all(|pid| !is_running(pid)));
}
