//! Tests the Redis store on a cluster, with nodes that fail, slots that move, and requests that
//! need several slots.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use aplomb::policies::idempotency::{
    Begin, BeginOutcome, CompleteOutcome, IdempotencyStore, RecordKey,
};
use aplomb::policies::rate_limit::{
    Acquired, Bucket, LimitRequest, LimitStore, LimitSubject, Quota,
};
use aplomb::store::{RedisStore, StoreError};
use aplomb::testing::{Elapse, RedisCluster, RedisServer, Reply, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::task::block_in_place;

use crate::load::{
    Load, begin_of, completion, expect_replays, record_key, retry_forever, stop_retries,
};
use crate::{namespace, start_error, store_at, store_in_namespace};

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisCluster::start() => |cluster, case| async {
        (Arc::new(store_in_namespace(&cluster.url(), &namespace(case)).await), cluster)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisCluster::start() => |cluster, case| async {
        (Arc::new(store_in_namespace(&cluster.url(), &namespace(case)).await), cluster)
    });
}

const LEASE: Duration = Duration::from_secs(30);

/// Returns the slot of all keys of a caller.
fn slot_of(cluster: &RedisCluster, caller: [u8; 16]) -> u16 {
    cluster.slot_of(&record_key(caller, [0; 16]))
}

/// Returns one caller for each primary.
fn caller_per_node(cluster: &RedisCluster) -> Vec<[u8; 16]> {
    let owner = |caller| cluster.owner(slot_of(cluster, caller)).address();
    let mut callers: Vec<[u8; 16]> = Vec::new();
    for caller in (0..u8::MAX).map(|number| [number; 16]) {
        if callers.iter().all(|other| owner(*other) != owner(caller)) {
            callers.push(caller);
        }
        if callers.len() == cluster.primaries().len() {
            break;
        }
    }
    callers
}

/// Returns a request to a limit that gets one token per hour, so it gets no token during a test.
fn limit_request(limit: u64, burst: u64) -> LimitRequest<'static> {
    let quota = Quota::new(1, Duration::from_hours(1), burst).expect("a valid quota");
    LimitRequest::new(
        Bucket {
            limit,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

async fn acquire(store: &RedisStore, requests: &[LimitRequest<'_>]) -> Acquired {
    store.acquire(requests).await.expect("a reply")
}

/// Reads the remaining tokens of a bucket.
async fn remaining(store: &RedisStore, request: LimitRequest<'_>) -> u64 {
    acquire(store, &[LimitRequest { cost: 0, ..request }])
        .await
        .statuses[0]
        .remaining
}

/// Returns the key of a bucket from which tokens were taken.
fn bucket_key(cluster: &RedisCluster, request: LimitRequest<'_>) -> String {
    let pattern = format!(
        "ap1:test:*:l:{}",
        URL_SAFE_NO_PAD.encode(request.bucket.limit.to_be_bytes())
    );
    let found = cluster
        .primaries()
        .into_iter()
        .map(|node| node.command(&["KEYS", &pattern]));
    let keys = found.flat_map(|keys| match keys {
        Reply::Array(keys) => keys,
        other => panic!("{other:?}"),
    });
    match &keys.collect::<Vec<_>>()[..] {
        [Reply::Bytes(key)] => String::from_utf8_lossy(key).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Returns two limits whose buckets are on different nodes, and the node of the second one.
async fn limits_on_two_nodes<'a>(
    cluster: &'a RedisCluster,
    store: &RedisStore,
    bursts: [u64; 2],
) -> ([LimitRequest<'static>; 2], &'a RedisServer) {
    let node = async |request: LimitRequest<'static>| {
        acquire(store, &[request]).await;
        let key = bucket_key(cluster, request);
        let node = cluster.owner(cluster.slot_of(&key));
        node.command(&["DEL", &key]);
        node
    };
    let first = limit_request(1, bursts[0]);
    let at = node(first).await.address();
    for limit in 2.. {
        let second = limit_request(limit, bursts[1]);
        let other = node(second).await;
        if other.address() != at {
            return ([first, second], other);
        }
    }
    unreachable!("there are limits on every node")
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_during_a_failover_of_one_node_the_other_nodes_respond() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let callers = caller_per_node(&cluster);
    let load = Load::start(&store, &callers);
    for caller in 0..callers.len() {
        load.until_completed(caller, 20).await;
    }
    let (slot, stored) = (slot_of(&cluster, callers[0]), load.log(0).completed);
    let before = cluster.owner(slot).address();
    block_in_place(|| cluster.until_replicated(slot));
    let retries = retry_forever(&store, stored.clone());
    cluster.owner(slot).kill();
    block_in_place(|| cluster.until_failed_over(slot, before));
    for caller in 0..callers.len() {
        load.until_completed(caller, 20).await;
    }
    stop_retries(retries).await;
    let logs = load.stop().await;
    assert!(
        logs[0].failures.iter().all(StoreError::is_outage),
        "{:?}",
        logs[0].failures
    );
    for other in &logs[1..] {
        assert_eq!(other.failures, [], "other nodes are not affected");
        expect_replays(&store, &other.completed).await;
    }
    expect_replays(&store, &stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_a_paused_node_delays_no_other_node() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let callers = caller_per_node(&cluster);
    let (slot, load) = (slot_of(&cluster, callers[0]), Load::start(&store, &callers));
    for caller in 0..callers.len() {
        load.until_completed(caller, 20).await;
    }
    let paused = cluster.owner(slot);
    block_in_place(|| cluster.until_replicated(slot));
    paused.pause();
    block_in_place(|| cluster.until_failed_over(slot, paused.address()));
    load.until_completed(0, 20).await;
    let logs = load.stop().await;
    for other in &logs[1..] {
        assert_eq!(other.failures, [], "other nodes are not affected");
    }
    // The resumed node first executes the calls that it received while it was paused. Their writes
    // are lost, because the node is a replica by then.
    paused.resume();
    expect_replays(&store, &logs[0].completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_moving_slots_under_load_causes_no_errors() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    let caller = caller_per_node(&cluster)[0];
    let (slot, load) = (
        slot_of(&cluster, caller),
        Load::start(&store, &[caller, caller.map(|byte| byte ^ 0x80)]),
    );
    let bucket = limit_request(1, 300);
    acquire(&store, &[bucket]).await;
    let bucket_slot = cluster.slot_of(&bucket_key(&cluster, bucket));
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..100 {
                    admitted += u64::from(acquire(&store, &[bucket]).await.admitted);
                    // The pause spreads the calls over the migrations.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                admitted
            })
        })
        .collect();
    load.until_completed(0, 20).await;
    for node in cluster.primaries() {
        for slot in [slot, bucket_slot] {
            if cluster.owner(slot).address() != node.address() {
                block_in_place(|| cluster.migrate(slot, node));
            }
            load.until_completed(0, 20).await;
        }
    }
    let mut admitted = 1;
    for taker in takers {
        admitted += taker.await.expect("no error");
    }
    let logs = load.stop().await;
    assert!(logs.iter().all(|log| log.failures.is_empty()), "{logs:?}");
    expect_replays(&store, &logs[0].completed).await;
    assert_eq!(admitted, 300, "every token is taken exactly once");
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_calls_follow_the_keys_of_a_migrating_slot() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    let bucket = limit_request(1, 10);
    assert_eq!(acquire(&store, &[bucket]).await.statuses[0].remaining, 9);
    let slot = cluster.slot_of(&bucket_key(&cluster, bucket));
    let from = cluster.owner(slot).address();
    let to = cluster
        .primaries()
        .into_iter()
        .find(|node| node.address() != from)
        .expect("another primary");
    let migration = cluster.begin_migration(slot, to);
    assert_eq!(
        acquire(&store, &[bucket]).await.statuses[0].remaining,
        8,
        "the keys are on the first node"
    );
    migration.move_keys();
    to.flush_scripts();
    assert_eq!(
        acquire(&store, &[bucket]).await.statuses[0].remaining,
        7,
        "the keys are on the second node (ASK)"
    );
    block_in_place(|| migration.end());
    assert_eq!(
        acquire(&store, &[bucket]).await.statuses[0].remaining,
        6,
        "the slot is on the second node (MOVED)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_begin_waits_for_a_slot_migration_and_is_not_executed_if_it_times_out() {
    let cluster = RedisCluster::start();
    let (long_timeout_store, short_timeout_store) = (
        store_in_namespace(&cluster.url(), "test").await,
        store_at(&cluster.url()).await,
    );
    let slot = slot_of(&cluster, [1; 16]);
    let from = cluster.owner(slot).address();
    let to = cluster
        .primaries()
        .into_iter()
        .find(|node| node.address() != from)
        .expect("another primary");
    let migration = cluster.begin_migration(slot, to);
    let late = begin_of(RecordKey::new([1; 16], [1; 16]));
    let rejected = short_timeout_store.begin(&late).await;
    assert!(
        matches!(rejected, Err(StoreError::NotExecuted(_))),
        "the call must fail without being sent: {rejected:?}"
    );
    let waiting = tokio::spawn({
        let late = late.clone();
        async move { long_timeout_store.begin(&late).await }
    });
    block_in_place(|| migration.end());
    assert_eq!(waiting.await.expect("no panic"), Ok(BeginOutcome::Started));
    assert_eq!(
        short_timeout_store.complete(&completion(&late)).await,
        Ok(CompleteOutcome::Written)
    );
}

#[tokio::test]
async fn b05_every_node_gets_the_scripts_that_it_lacks() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    for caller in caller_per_node(&cluster) {
        cluster.nodes().iter().for_each(RedisServer::flush_scripts);
        let run = begin_of(RecordKey::new(caller, [1; 16]));
        assert_eq!(store.begin(&run).await, Ok(BeginOutcome::Started));
        cluster.nodes().iter().for_each(RedisServer::flush_scripts);
        assert_eq!(
            store.complete(&completion(&run)).await,
            Ok(CompleteOutcome::Written)
        );
    }
}

/// Returns the number of scripts that a node has executed since its statistics were reset.
fn count_scripts(node: &RedisServer) -> usize {
    let Reply::Bytes(stats) = node.command(&["INFO", "commandstats"]) else {
        panic!("no information")
    };
    let stats = String::from_utf8_lossy(&stats).into_owned();
    let calls = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"));
    let count = |line: &str| {
        line.split("calls=")
            .nth(1)?
            .split(',')
            .next()?
            .parse::<usize>()
            .ok()
    };
    calls.filter_map(count).sum()
}

#[tokio::test]
async fn b05_limits_take_one_call_per_slot() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    let ([first, second], _) = limits_on_two_nodes(&cluster, &store, [10, 10]).await;
    cluster
        .nodes()
        .iter()
        .for_each(|node| drop(node.command(&["CONFIG", "RESETSTAT"])));
    assert!(acquire(&store, &[first, second]).await.admitted);
    let mut run: Vec<_> = cluster.nodes().iter().map(count_scripts).collect();
    run.sort_unstable();
    assert_eq!(run, [0, 0, 0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_concurrent_requests_for_limits_in_several_slots_take_all_tokens_or_none() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    let ([first, second], _) = limits_on_two_nodes(&cluster, &store, [60, 30]).await;
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            let requests = if number % 2 == 0 {
                [first, second]
            } else {
                [second, first]
            };
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..10 {
                    admitted += u64::from(acquire(&store, &requests).await.admitted);
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.expect("no panic");
    }
    // A request may have been rejected because a concurrent request had not given its tokens back
    // yet.
    while acquire(&store, &[first, second]).await.admitted {
        admitted += 1;
    }
    assert_eq!(admitted, 30, "the burst of the tighter limit");
    // If another call changes a bucket before tokens are given back, the bucket does not get the
    // refill of the time in between. A part of a token may then be missing. `remaining` counts only
    // whole tokens, so it can be 29.
    let remaining = (
        remaining(&store, first).await,
        remaining(&store, second).await,
    );
    assert!(matches!(remaining, (29..=30, 0)), "{remaining:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_every_algorithm_gives_back_tokens_if_another_slot_rejects() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    let ([first, second], _) = limits_on_two_nodes(&cluster, &store, [10, 10]).await;
    assert!(
        acquire(&store, &[LimitRequest { cost: 10, ..second }])
            .await
            .admitted
    );
    let hour = Duration::from_hours(1);
    let quotas = [
        Quota::new(1, hour, 10),
        Quota::leaky_bucket(1, hour, 10),
        // A window of 24 hours does not end during the test.
        Quota::fixed_window(10, 24 * hour),
        Quota::sliding_window(10, hour),
    ];
    for (number, quota) in (0..).zip(quotas) {
        let request = LimitRequest {
            quota: quota.expect("a valid quota"),
            cost: 3,
            ..first
        };
        assert!(acquire(&store, &[request]).await.admitted, "{number}");
        for _ in 0..3 {
            let rejected = acquire(&store, &[request, second]).await;
            assert!(
                !rejected.admitted && rejected.statuses[1].wait.is_some(),
                "{number}: {rejected:?}"
            );
            assert_eq!(
                (rejected.statuses[0].remaining, rejected.statuses[0].wait),
                (7, None),
                "{number}"
            );
        }
        assert_eq!(remaining(&store, request).await, 7, "{number}");
        // The algorithms store different types, so the next algorithm needs an empty key.
        let key = bucket_key(&cluster, request);
        cluster.owner(cluster.slot_of(&key)).command(&["DEL", &key]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_tokens_are_given_back_if_another_node_cannot_decide() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let ([first, second], node) = limits_on_two_nodes(&cluster, &store, [10, 10]).await;
    let shadow = LimitRequest {
        shadow: true,
        ..second
    };
    node.kill();
    for _ in 0..3 {
        let failed = store.acquire(&[first, second]).await;
        assert!(
            failed.as_ref().is_err_and(StoreError::is_outage),
            "{failed:?}"
        );
    }
    assert_eq!(remaining(&store, first).await, 10);
    let taken = acquire(&store, &[shadow, first]).await;
    assert!(
        taken.admitted,
        "a shadow limit on a failed node rejects nothing"
    );
    assert!(
        taken.statuses[0].wait.is_some() && taken.statuses[1].remaining == 9,
        "{taken:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_tokens_of_a_cancelled_request_are_given_back() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    for _ in 0..ATTEMPTS {
        let ([first, second], node) = limits_on_two_nodes(&cluster, &store, [10, 10]).await;
        let pause = Pause::of(node);
        let cancelled =
            tokio::time::timeout(Duration::from_millis(100), store.acquire(&[first, second])).await;
        assert!(cancelled.is_err());
        assert_eq!(
            remaining(&store, first).await,
            9,
            "the first node has taken a token, and the second has not decided"
        );
        if !pause.was_brief() {
            until_available(&store, second).await;
            continue;
        }
        let are_returned = async || {
            (
                remaining(&store, first).await,
                remaining(&store, second).await,
            ) == (10, 10)
        };
        eventually("the tokens are given back", are_returned).await;
        return;
    }
    panic!("every attempt was too slow on this machine");
}

/// The maximum number of attempts to make a pause that is short enough for [`Pause::was_brief`].
const ATTEMPTS: u32 = 20;

/// A paused node, and the time at which it was paused.
struct Pause<'a>(&'a RedisServer, Instant);

impl<'a> Pause<'a> {
    fn of(node: &'a RedisServer) -> Self {
        node.pause();
        Self(node, Instant::now())
    }

    /// Resumes the node. Returns `false` if it was paused for more than 250 ms. After a longer
    /// pause, the store may have closed the connection, and calls on a closed connection are lost.
    fn was_brief(self) -> bool {
        self.0.resume();
        self.1.elapsed() < Duration::from_millis(250)
    }
}

/// Waits until the store can use the node again.
async fn until_available(store: &RedisStore, request: LimitRequest<'_>) {
    let is_back = async || {
        store
            .acquire(&[LimitRequest { cost: 0, ..request }])
            .await
            .is_ok()
    };
    eventually("the node is available again", is_back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_tokens_are_not_given_back_to_a_bucket_that_was_refilled_meanwhile() {
    let cluster = RedisCluster::start();
    let store = store_in_namespace(&cluster.url(), "test").await;
    for _ in 0..ATTEMPTS {
        let ([first, second], node) = limits_on_two_nodes(&cluster, &store, [10, 10]).await;
        acquire(&store, &[first]).await;
        let key = bucket_key(&cluster, first);
        let first_node = cluster.owner(cluster.slot_of(&key));
        first_node.command(&["DEL", &key]);
        let pause = Pause::of(node);
        // All ten tokens are refilled within 100 ms.
        let quick = Quota::new(10, Duration::from_millis(100), 10).expect("a valid quota");
        let quick = LimitRequest {
            quota: quick,
            cost: 10,
            ..first
        };
        let asked = Instant::now();
        let cancelled =
            tokio::time::timeout(Duration::from_millis(50), store.acquire(&[quick, second])).await;
        assert!(cancelled.is_err());
        // The 10 tokens are refilled before the other node decides, and are taken again.
        tokio::time::sleep(Duration::from_millis(150).saturating_sub(asked.elapsed())).await;
        assert!(
            acquire(&store, &[LimitRequest { cost: 10, ..first }])
                .await
                .admitted
        );
        let before = first_node.command(&["GET", &key]);
        if !pause.was_brief() {
            until_available(&store, second).await;
            continue;
        }
        eventually("the tokens are given back", async || {
            remaining(&store, second).await == 10
        })
        .await;
        assert_eq!(first_node.command(&["GET", &key]), before);
        assert!(matches!(before, Reply::Bytes(_)), "{before:?}");
        return;
    }
    panic!("every attempt was too slow on this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_leases_on_every_node_are_renewed_and_a_failed_node_affects_no_other() {
    let cluster = RedisCluster::start();
    let store = store_at(&cluster.url()).await;
    let callers = caller_per_node(&cluster);
    let keys = callers
        .iter()
        .flat_map(|caller| (0..300_u128).map(|name| RecordKey::new(*caller, name.to_be_bytes())));
    let runs: Vec<_> = keys.map(begin_of).collect();
    for run in &runs {
        store.begin(run).await.expect("a reply");
    }
    let leases: Vec<_> = runs.iter().map(Begin::lease).collect();
    let renewal_store = store.for_heartbeat().expect("a separate connection");
    assert_eq!(
        renewal_store.heartbeat(&leases, LEASE).await,
        Ok(vec![true; 900])
    );
    store
        .abort(leases[450], Duration::ZERO)
        .await
        .expect("a reply");
    let renewed = renewal_store
        .heartbeat(&leases, LEASE)
        .await
        .expect("a reply");
    assert_eq!(renewed.iter().position(|renewed| !renewed), Some(450));
    cluster.elapse(LEASE * 2 / 3).await;
    cluster.owner(slot_of(&cluster, callers[0])).kill();
    assert!(renewal_store.heartbeat(&leases, LEASE).await.is_err());
    cluster.elapse(LEASE * 2 / 3).await;
    for run in [&runs[300], &runs[899]] {
        assert_eq!(
            store.begin(&begin_of(run.key)).await,
            Ok(BeginOutcome::InFlight),
            "the lease was renewed"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_every_node_is_checked_at_start() {
    let cluster = RedisCluster::start();
    let node = cluster.primaries()[1];
    node.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    node.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let error = start_error(&cluster.url()).await;
    assert!(
        error.contains(&format!("{}: this server evicts", node.address())),
        "{error}"
    );
    node.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let denied = ["ACL", "SETUSER", "default", "-pexpire"];
    node.command(&denied);
    let error = start_error(&cluster.url()).await;
    assert!(
        error.contains(&format!("{}: the self-test failed", node.address())),
        "{error}"
    );
}

#[tokio::test]
async fn the_documented_commands_are_enough_for_a_user_on_a_cluster() {
    let cluster = RedisCluster::start();
    let needed = "+info +ping +eval +evalsha +get +mget +getrange +set +psetex +del +pttl +pexpire +time \
        +llen +lindex +lrange +lrem +ltrim +rpush +cluster|info +cluster|slots +asking";
    let setuser = ["ACL", "SETUSER", "app", "on", ">of/app", "~ap1:*", "-@all"];
    let setuser: Vec<_> = setuser
        .into_iter()
        .chain(needed.split_whitespace())
        .collect();
    for node in cluster.nodes() {
        node.command(&setuser);
        node.command(&["ACL", "SETUSER", "default", "off"]);
    }
    let error = start_error(&cluster.url()).await;
    assert!(error.contains("demands a password"), "{error}");
    let store = store_at(&cluster.url().replace("://", "://app:of%2Fapp@")).await;
    acquire(
        &store,
        &[
            limit_request(1, 10),
            limit_request(2, 10),
            limit_request(3, 10),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_a_cluster_is_a_start_error() {
    let server = RedisServer::start();
    let error = start_error(&server.url().replace("redis://", "redis+cluster://")).await;
    assert!(
        error.contains("cannot be used: ") && error.contains("cluster"),
        "{error}"
    );
    server.kill();
    let error = start_error(&server.url().replace("redis://", "redis+cluster://")).await;
    assert!(error.contains("onnection refused"), "{error}");
    let single_node = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let error = start_error(&single_node.url().replace("redis://", "redis+cluster://")).await;
    assert!(error.contains("reports no served slots"), "{error}");
}

#[tokio::test]
async fn one_reachable_node_is_enough_to_find_the_others() {
    let cluster = RedisCluster::start();
    let unused = RedisServer::start();
    unused.kill();
    let url = format!(
        "redis+cluster://{},{}",
        unused.address(),
        cluster.nodes()[4].address()
    );
    let store = store_at(&url).await;
    for caller in caller_per_node(&cluster) {
        assert_eq!(
            store
                .begin(&begin_of(RecordKey::new(caller, [1; 16])))
                .await,
            Ok(BeginOutcome::Started)
        );
    }
}
