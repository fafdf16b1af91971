//! A Redis that does not answer in time: it stands still, or its replies are lost.

use aplomb::testing::Proxy;
use tokio::time::{Instant, sleep};

use crate::bench::{Bench, LEASE};
use crate::client::{Checked, Order};

/// All tests here start with scripts that Redis knows, so that a lost reply is that of a `begin`
/// which was done.
const FIRST: Order = Order::of("first");
const TEA: Order = Order::of("tea");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_a_begin_with_a_lost_reply_is_removed() {
    let bench = Bench::start();
    let proxy = Proxy::start(bench.redis.address()).await;
    let service = bench.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    service.send(&FIRST).await.placed();
    proxy.swallow_replies(true);
    service.send(&TEA).await.no_store();
    assert_eq!(bench.records().len(), 2, "the store has the ghost of a run");
    assert_eq!(bench.runs("tea"), 0);

    proxy.swallow_replies(false);
    let first = service.retry(&TEA).await;
    first.placed();
    for _ in 0..3 {
        service.send(&TEA).await.replays(&first);
    }
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_a_begin_that_never_arrives_leaves_no_record() {
    let bench = Bench::start();
    let proxy = Proxy::start(bench.redis.address()).await;
    let service = bench.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    service.send(&FIRST).await.placed();
    proxy.swallow_requests(true);
    service.send(&TEA).await.no_store();
    proxy.swallow_requests(false);
    service.retry(&TEA).await.placed();
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a17_a_response_is_stored_if_only_the_confirmation_is_lost() {
    let bench = Bench::start();
    let proxy = Proxy::start(bench.redis.address()).await;
    let service = bench.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    let other = bench.instance("b");
    service.send(&FIRST).await.placed();
    let tea = TEA.held();
    let run = service.post(&tea);
    bench.has_run("tea", 1).await;
    proxy.swallow_replies(true);
    service.let_go("tea");
    let first = run.answer().await;
    first.placed();
    other.send(&tea).await.replays(&first);
    proxy.swallow_replies(false);
    service.retry(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a23_while_the_store_is_paused_no_handler_runs() {
    let bench = Bench::start();
    let service = bench.instance("a");
    service.send(&FIRST).await.placed();
    let orders = [
        TEA,
        Order::of("coffee").to("/v1/limited-orders"),
        Order::of("cocoa").to("/v1/drafts"),
    ];
    bench.redis.pause();
    for order in &orders {
        let asked = Instant::now();
        let refused = service.send(order).await;
        refused.no_store();
        assert!(
            !refused.tells_limits(),
            "they were decided here: {refused:?}"
        );
        assert!(
            asked.elapsed() < core::time::Duration::from_secs(3),
            "a client does not wait as long as the store"
        );
    }
    bench.redis.resume();
    for (order, item) in orders.iter().zip(["tea", "coffee", "cocoa"]) {
        assert_eq!(bench.runs(item), 0);
        let first = service.retry(order).await;
        first.placed();
        service.send(order).await.replays(&first);
        assert_eq!(bench.runs(item), 1);
    }
}

#[tokio::test]
async fn a08_a_pause_longer_than_the_lease_blocks_no_key() {
    const ITEMS: [&str; 6] = ["tea", "coffee", "cocoa", "milk", "salt", "rice"];
    let bench = Bench::start();
    let service = bench.short_lived("a");
    service.send(&FIRST).await.placed();
    bench.redis.pause();
    for refused in ITEMS.map(|item| service.post(&Order::of(item))) {
        refused.answer().await.no_store();
    }
    sleep(LEASE).await;
    bench.redis.resume();
    for (item, retried) in ITEMS.map(|item| (item, service.insist(&Order::of(item)))) {
        let first = retried.answer().await;
        first.placed();
        service.send(&Order::of(item)).await.replays(&first);
        assert_eq!(bench.runs(item), 1);
    }
    // Nothing late comes after all.
    sleep(LEASE).await;
    for item in ITEMS {
        assert!(service.send(&Order::of(item)).await.replayed());
    }
    assert_eq!(bench.records().len(), 1 + ITEMS.len());
}

#[tokio::test]
async fn a14_a_begin_that_is_never_removed_is_unknown_and_did_not_run() {
    let bench = Bench::start();
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    one.send(&FIRST).await.placed();
    bench.redis.pause();
    one.send(&TEA).await.no_store();
    one.kill();
    bench.redis.resume();
    other.retry(&TEA).await.unknown();
    assert_eq!(bench.runs("tea"), 0);
}

#[tokio::test]
async fn a12_a_run_survives_a_pause_of_the_store() {
    let bench = Bench::start();
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    let tea = TEA.held();
    let run = one.post(&tea);
    bench.has_run("tea", 1).await;
    bench.redis.pause();
    sleep(LEASE * 2).await;
    bench.redis.resume();
    let meanwhile = other.insist(&tea);
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    one.retry(&tea).await.replays(&first);
    // Whether the beat or the lapse came first, it did not run.
    let meanwhile = meanwhile.answer().await;
    assert!(
        meanwhile.replayed() || meanwhile.status == 500,
        "{meanwhile:?}"
    );
    other.retry(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}
