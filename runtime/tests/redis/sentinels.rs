//! The store behind sentinels.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use aplomb::policies::idempotency::{BeginOutcome, CompleteOutcome, IdempotencyStore, RecordKey};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, Quota};
use aplomb::store::{RedisStore, StoreError};
use aplomb::testing::{RedisSentinels, RedisServer, Reply, eventually};
use tokio::task::block_in_place;

use crate::connection::{begin, claim};
use crate::load::{Load, done, end, expect_replays, place, retry_for_ever, run};
use crate::{namespace, refusal, store_at, store_of};

const CALLERS: [[u8; 16]; 2] = [[1; 16], [2; 16]];

mod limits {
    use super::*;

    aplomb::limit_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_of(&servers.url(), &namespace(case)).await), servers)
    });
}

mod admission {
    use super::*;

    aplomb::admission_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_of(&servers.url(), &namespace(case)).await), servers)
    });
}

mod records {
    use super::*;

    aplomb::idempotency_store_suite!(every_case: RedisSentinels::start() => |servers, case| async {
        (Arc::new(store_of(&servers.url(), &namespace(case)).await), servers)
    });
}

async fn until_it_answers(store: &RedisStore) {
    eventually("the store comes back", async || {
        store.acquire(&[claim()]).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_replicated_records_survive_a_failover() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let load = Load::start(&store, &CALLERS);
    load.until_further(0, 30).await;
    load.until_further(1, 30).await;
    let kept = [load.book(0).completed, load.book(1).completed].concat();
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    let retries = retry_for_ever(&store, kept.clone());
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    load.until_further(0, 10).await;
    load.until_further(1, 10).await;
    end(retries).await;
    let books = load.stop().await;
    assert!(
        books
            .iter()
            .flat_map(|book| &book.failures)
            .all(StoreError::is_outage),
        "{books:?}"
    );
    expect_replays(&store, &kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_replicated_tokens_stay_taken_after_a_failover() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let hour = Duration::from_hours(1);
    let quotas = [
        Quota::new(1, hour, 10),
        Quota::leaky_bucket(1, hour, 10),
        // So long that it does not end while it is looked at.
        Quota::fixed_window(10, 24 * hour),
        Quota::sliding_window(10, hour),
    ];
    let claims = quotas.map(|quota| LimitRequest {
        quota: quota.expect("a valid quota"),
        ..claim()
    });
    let claims: Vec<LimitRequest<'_>> = (101..)
        .zip(claims)
        .map(|(limit, claim)| LimitRequest {
            bucket: Bucket {
                limit,
                ..claim.bucket
            },
            cost: 7,
            ..claim
        })
        .collect();
    assert!(store.acquire(&claims).await.expect("an answer").admitted);
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    until_it_answers(&store).await;
    for claim in claims {
        let mut admitted = 0;
        while store
            .acquire(&[LimitRequest { cost: 1, ..claim }])
            .await
            .expect("an answer")
            .admitted
        {
            admitted += 1;
        }
        assert_eq!(admitted, 3, "{:?}", claim.quota.algorithm());
    }
}

/// Cuts the replicas off from their primary: from now on it speaks to nobody but its clients.
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
    let [kept, lost] = [1, 2].map(|name: u128| run(RecordKey::new([1; 16], name.to_be_bytes())));
    store.begin(&kept).await.expect("an answer");
    store.complete(&done(&kept)).await.expect("an answer");
    block_in_place(|| servers.until_all_replicated());
    cut_replicas_off(&servers);
    store.begin(&lost).await.expect("an answer");
    let before = servers.primary().address();
    servers.primary().kill();
    block_in_place(|| servers.until_failed_over(before));
    until_it_answers(&store).await;
    expect_replays(&store, &[kept.key]).await;
    assert_eq!(
        store.begin(&run(lost.key)).await,
        Ok(BeginOutcome::Started),
        "as the documentation says"
    );
    assert_eq!(
        store.complete(&done(&lost)).await,
        Ok(CompleteOutcome::Lost(BeginOutcome::InFlight)),
        "the first run learns it"
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
    let refused = store.begin(&run(RecordKey::new([1; 16], [2; 16]))).await;
    assert!(
        matches!(refused, Err(StoreError::Unreachable(_))),
        "nothing was done: {refused:?}"
    );
    assert!(
        store
            .acquire(&[claim()])
            .await
            .is_err_and(|error| error.is_outage())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a25_a_demoted_primary_is_abandoned_for_the_promoted_one() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let load = Load::start(&store, &CALLERS);
    load.until_further(0, 10).await;
    let before = servers.primary().address();
    assert_eq!(
        servers.sentinels()[0].command(&["SENTINEL", "FAILOVER", "aplomb"]),
        Reply::Status(String::from("OK"))
    );
    block_in_place(|| servers.until_failed_over(before));
    load.until_further(0, 10).await;
    load.until_further(1, 10).await;
    load.stop().await;
    let promoted = servers.primary();
    assert_ne!(promoted.address(), before);
    // It is made a replica eight seconds later, and takes in until then what will be lost.
    let started = Instant::now();
    for name in (0..u128::MAX).map(u128::to_be_bytes) {
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "the primary of before is not left"
        );
        let key = RecordKey::new([3; 16], name);
        let begun = store.begin(&run(key)).await;
        let arrived = promoted.command(&["EXISTS", &place([3; 16], name)]) == Reply::Integer(1);
        if begun == Ok(BeginOutcome::Started) && arrived {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_primary_is_abandoned_for_the_promoted_one() {
    let servers = RedisSentinels::start();
    let store = store_at(&servers.url()).await;
    let before = servers.primary().address();
    block_in_place(|| servers.until_all_replicated());
    servers.primary().pause();
    block_in_place(|| servers.until_failed_over(before));
    until_it_answers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_and_paused_sentinels_are_skipped() {
    let servers = RedisSentinels::start();
    servers.sentinels()[0].kill();
    servers.sentinels()[1].pause();
    let store = store_at(&servers.url()).await;
    assert!(store.acquire(&[claim()]).await.expect("an answer").admitted);
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
    let guard = [
        "ACL",
        "SETUSER",
        "guard",
        "on",
        ">of&guard",
        "-@all",
        "+ping",
    ];
    let guard = [&guard[..], &["+sentinel|get-master-addr-by-name"]].concat();
    let closed = ["ACL", "SETUSER", "default", "off"];
    for sentinel in servers.sentinels() {
        sentinel.command(&guard);
        sentinel.command(&closed);
    }
    let user = servers.url().replace("://", "://app:of%2Fapp@");
    let said = refusal(&user).await;
    assert!(
        said.contains("demands a password") && !said.contains("of"),
        "{said}"
    );
    let both = format!("{user}?sentinel_user=guard&sentinel_password=of%26guard");
    store_at(&both)
        .await
        .acquire(&[claim()])
        .await
        .expect("an answer");
    let said = refusal(&both.replace("of%2Fapp", "hunter2")).await;
    assert!(
        said.contains("refuses the user or the password") && !said.contains("hunter2"),
        "{said}"
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
    let said = refusal(&servers.url().replace("/aplomb", "/other")).await;
    assert!(
        said.contains(r#"no sentinel leads to the primary "other""#),
        "{said}"
    );
    assert!(said.contains("knows no primary of that name"), "{said}");
    let said = refusal(&servers.sentinels()[0].url()).await;
    assert!(
        said.contains("this is a Sentinel; name it with redis+sentinel://"),
        "{said}"
    );
    servers.sentinels().iter().for_each(RedisServer::kill);
    let said = refusal(&servers.url()).await;
    assert!(
        said.contains("cannot be asked: ") && said.contains("onnection refused"),
        "{said}"
    );
    let no_sentinel = servers.servers()[1]
        .url()
        .replace("redis://", "redis+sentinel://")
        + "/aplomb";
    let said = refusal(&no_sentinel).await;
    assert!(said.contains("cannot be asked: "), "{said}");
}
