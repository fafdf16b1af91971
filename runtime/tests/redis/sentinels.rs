//! Tests the Redis store behind sentinels.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use aplomb::policies::idempotency::{BeginOutcome, CompleteOutcome, IdempotencyStore, RecordKey};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, Quota};
use aplomb::store::{RedisStore, StoreError};
use aplomb::testing::{RedisSentinels, RedisServer, Reply, eventually};
use tokio::task::block_in_place;

use crate::connection::{begin, limit_request};
use crate::load::{
    Load, begin_of, completion, expect_replays, record_key, retry_forever, stop_retries,
};
use crate::{namespace, start_error, store_at, store_in_namespace};

const CALLERS: [[u8; 16]; 2] = [[1; 16], [2; 16]];

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_in_namespace(&servers.url(), &namespace(case)).await), servers)
    });
}

mod admission {
    use super::*;

    aplomb::admission_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_in_namespace(&servers.url(), &namespace(case)).await), servers)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_in_namespace(&servers.url(), &namespace(case)).await), servers)
    });
}

async fn until_it_responds(store: &RedisStore) {
    eventually("the store is available again", async || {
        store.acquire(&[limit_request()]).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_replicated_records_survive_a_failover() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let load = Load::start(&store, &CALLERS);
    load.until_completed(0, 30).await;
    load.until_completed(1, 30).await;
    let stored = [load.log(0).completed, load.log(1).completed].concat();
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    let retries = retry_forever(&store, stored.clone());
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    load.until_completed(0, 10).await;
    load.until_completed(1, 10).await;
    stop_retries(retries).await;
    let logs = load.stop().await;
    assert!(
        logs.iter()
            .flat_map(|log| &log.failures)
            .all(StoreError::is_outage),
        "{logs:?}"
    );
    expect_replays(&store, &stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_replicated_tokens_stay_taken_after_a_failover() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let hour = Duration::from_hours(1);
    let quotas = [
        Quota::new(1, hour, 10),
        Quota::leaky_bucket(1, hour, 10),
        // A window of 24 hours does not end during the test.
        Quota::fixed_window(10, 24 * hour),
        Quota::sliding_window(10, hour),
    ];
    let requests = quotas.map(|quota| LimitRequest {
        quota: quota.expect("a valid quota"),
        ..limit_request()
    });
    let requests: Vec<LimitRequest<'_>> = (101..)
        .zip(requests)
        .map(|(limit, request)| LimitRequest {
            bucket: Bucket {
                limit,
                ..request.bucket
            },
            cost: 7,
            ..request
        })
        .collect();
    assert!(store.acquire(&requests).await.expect("a reply").admitted);
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    until_it_responds(&store).await;
    for request in requests {
        let mut admitted = 0;
        while store
            .acquire(&[LimitRequest { cost: 1, ..request }])
            .await
            .expect("a reply")
            .admitted
        {
            admitted += 1;
        }
        assert_eq!(admitted, 3, "{:?}", request.quota.algorithm());
    }
}

/// Disconnects the replicas from their primary, which then serves only its clients.
fn cut_replicas_off(servers: &RedisSentinels) {
    let primary = servers.primary();
    for replica in servers
        .servers()
        .iter()
        .filter(|server| server.address() != primary.address())
    {
        replica.command(&["CONFIG", "SET", "masterauth", "wrong"]);
    }
    assert_eq!(
        primary.command(&["CLIENT", "KILL", "TYPE", "replica"]),
        Reply::Integer(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_records_that_were_not_replicated_are_lost_in_a_failover() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let [stored, lost] =
        [1, 2].map(|name: u128| begin_of(RecordKey::new([1; 16], name.to_be_bytes())));
    store.begin(&stored).await.expect("a reply");
    store.complete(&completion(&stored)).await.expect("a reply");
    block_in_place(|| servers.until_all_replicated());
    cut_replicas_off(&servers);
    store.begin(&lost).await.expect("a reply");
    let before = servers.primary().address();
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    until_it_responds(&store).await;
    expect_replays(&store, &[stored.key]).await;
    assert_eq!(
        store.begin(&begin_of(lost.key)).await,
        Ok(BeginOutcome::Started),
        "a record that was not replicated is lost, as documented"
    );
    assert_eq!(
        store.complete(&completion(&lost)).await,
        Ok(CompleteOutcome::Lost(BeginOutcome::InFlight)),
        "the first run gets the state of the record that replaced its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_a_primary_that_requires_replicas_rejects_writes_without_them() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    servers
        .primary()
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(store.begin(&begin()).await, Ok(BeginOutcome::Started));
    cut_replicas_off(&servers);
    let rejected = store
        .begin(&begin_of(RecordKey::new([1; 16], [2; 16])))
        .await;
    assert!(
        matches!(rejected, Err(StoreError::NotExecuted(_))),
        "the primary must reject the call without executing it: {rejected:?}"
    );
    assert!(
        store
            .acquire(&[limit_request()])
            .await
            .is_err_and(|error| error.is_outage())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_the_store_changes_from_a_demoted_primary_to_the_promoted_one() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let load = Load::start(&store, &CALLERS);
    load.until_completed(0, 10).await;
    let before = servers.primary().address();
    assert_eq!(
        servers.sentinels()[0].command(&["SENTINEL", "FAILOVER", "aplomb"]),
        Reply::Status(String::from("OK"))
    );
    block_in_place(|| servers.until_failed_over(before));
    load.until_completed(0, 10).await;
    load.until_completed(1, 10).await;
    load.stop().await;
    let promoted = servers.primary();
    assert_ne!(promoted.address(), before);
    // The sentinels demote the old primary after eight seconds. Until then it accepts writes that
    // will be lost.
    let started = Instant::now();
    for name in (0..u128::MAX).map(u128::to_be_bytes) {
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "the store still uses the demoted primary"
        );
        let key = RecordKey::new([3; 16], name);
        let begun = store.begin(&begin_of(key)).await;
        let arrived =
            promoted.command(&["EXISTS", &record_key([3; 16], name)]) == Reply::Integer(1);
        if begun == Ok(BeginOutcome::Started) && arrived {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_changes_from_a_paused_primary_to_the_promoted_one() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    servers.primary().pause();
    block_in_place(|| servers.until_failed_over(before));
    until_it_responds(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_and_paused_sentinels_are_skipped() {
    let servers = RedisSentinels::start();
    servers.sentinels()[0].kill();
    servers.sentinels()[1].pause();
    let store = store_at(&servers.url()).await;
    assert!(
        store
            .acquire(&[limit_request()])
            .await
            .expect("a reply")
            .admitted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_are_enough_for_a_user_behind_sentinels() {
    let servers = RedisSentinels::start();
    let needed = "+info +ping +eval +evalsha +get +mget +getrange +set +psetex +del +pttl +pexpire +time \
        +llen +lindex +lrange +lrem +ltrim +rpush +role";
    let setuser = ["ACL", "SETUSER", "app", "on", ">of/app", "~ap1:*", "-@all"];
    let setuser: Vec<_> = setuser.into_iter().chain(needed.split(' ')).collect();
    servers
        .servers()
        .iter()
        .for_each(|server| drop(server.command(&setuser)));
    let sentinel_user = [
        "ACL",
        "SETUSER",
        "guard",
        "on",
        ">of&guard",
        "-@all",
        "+ping",
    ];
    let sentinel_user = [&sentinel_user[..], &["+sentinel|get-master-addr-by-name"]].concat();
    let disable_default = ["ACL", "SETUSER", "default", "off"];
    for sentinel in servers.sentinels() {
        sentinel.command(&sentinel_user);
        sentinel.command(&disable_default);
    }
    let user = servers.url().replace("://", "://app:of%2Fapp@");
    let error = start_error(&user).await;
    assert!(
        error.contains("demands a password") && !error.contains("of"),
        "{error}"
    );
    let both = format!("{user}?sentinel_user=guard&sentinel_password=of%26guard");
    store_at(&both)
        .await
        .acquire(&[limit_request()])
        .await
        .expect("a reply");
    let error = start_error(&both.replace("of%2Fapp", "hunter2")).await;
    assert!(
        error.contains("rejects the user or the password") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_share_no_records() {
    let servers = RedisSentinels::start();
    let (first, second) = (
        store_at(&servers.url()).await,
        store_at(&format!("{}/1", servers.url())).await,
    );
    assert_eq!(first.begin(&begin()).await, Ok(BeginOutcome::Started));
    assert_eq!(second.begin(&begin()).await, Ok(BeginOutcome::Started));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_without_a_primary_are_a_start_error() {
    let servers = RedisSentinels::start();
    let error = start_error(&servers.url().replace("/aplomb", "/other")).await;
    assert!(
        error.contains(r#"no sentinel leads to the primary "other""#),
        "{error}"
    );
    assert!(error.contains("has no primary with that name"), "{error}");
    let error = start_error(&servers.sentinels()[0].url()).await;
    assert!(
        error.contains("this is a Sentinel; name it with redis+sentinel://"),
        "{error}"
    );
    servers.sentinels().iter().for_each(RedisServer::kill);
    let error = start_error(&servers.url()).await;
    assert!(
        error.contains("cannot be reached: ") && error.contains("onnection refused"),
        "{error}"
    );
    let no_sentinel = servers.servers()[1]
        .url()
        .replace("redis://", "redis+sentinel://")
        + "/aplomb";
    let error = start_error(&no_sentinel).await;
    assert!(error.contains("cannot be reached: "), "{error}");
}
