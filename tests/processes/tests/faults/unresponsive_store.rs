//! A Redis that does not reply in time: it is paused, or its replies are lost.

use aplomb::testing::Proxy;
use tokio::time::{Instant, sleep};

use crate::client::{Order, ResponseChecks};
use crate::deployment::{Deployment, LEASE};

/// The order that each test places first, so that Redis has the scripts. If a later reply is lost,
/// Redis has then executed the `begin`, and has not only reported a missing script.
const WARM_UP: Order = Order::of("first");
const TEA: Order = Order::of("tea");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_a_begin_with_a_lost_reply_is_removed() {
    let deployment = Deployment::start();
    let proxy = Proxy::start(deployment.redis.address()).await;
    let service = deployment.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    service.send(&WARM_UP).await.assert_placed();
    proxy.swallow_replies(true);
    service.send(&TEA).await.assert_store_unavailable();
    assert_eq!(
        deployment.records().len(),
        2,
        "the store has a record that never ran"
    );
    assert_eq!(deployment.runs("tea"), 0);

    proxy.swallow_replies(false);
    let first = service.retry(&TEA).await;
    first.assert_placed();
    for _ in 0..3 {
        service.send(&TEA).await.assert_replay_of(&first);
    }
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a08_a_begin_that_never_arrives_leaves_no_record() {
    let deployment = Deployment::start();
    let proxy = Proxy::start(deployment.redis.address()).await;
    let service = deployment.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    service.send(&WARM_UP).await.assert_placed();
    proxy.swallow_requests(true);
    service.send(&TEA).await.assert_store_unavailable();
    proxy.swallow_requests(false);
    service.retry(&TEA).await.assert_placed();
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a17_a_response_is_stored_if_only_the_confirmation_is_lost() {
    let deployment = Deployment::start();
    let proxy = Proxy::start(deployment.redis.address()).await;
    let service = deployment.instance_with("a", &[("APLOMB_STORE", &proxy.url())]);
    let other = deployment.instance("b");
    service.send(&WARM_UP).await.assert_placed();
    let tea = TEA.held();
    let run = service.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    proxy.swallow_replies(true);
    service.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    proxy.swallow_replies(false);
    service.retry(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a23_while_the_store_is_paused_no_handler_runs() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    service.send(&WARM_UP).await.assert_placed();
    let orders = [
        TEA,
        Order::of("coffee").to("/v1/limited-orders"),
        Order::of("cocoa").to("/v1/drafts"),
    ];
    deployment.redis.pause();
    for order in &orders {
        let started = Instant::now();
        let rejected = service.send(order).await;
        rejected.assert_store_unavailable();
        assert!(
            !rejected.has_limit_fields(),
            "local decisions have no limit fields: {rejected:?}"
        );
        assert!(
            started.elapsed() < core::time::Duration::from_secs(3),
            "the timeout of the store is shorter than the pause"
        );
    }
    deployment.redis.resume();
    for (order, item) in orders.iter().zip(["tea", "coffee", "cocoa"]) {
        assert_eq!(deployment.runs(item), 0);
        let first = service.retry(order).await;
        first.assert_placed();
        service.send(order).await.assert_replay_of(&first);
        assert_eq!(deployment.runs(item), 1);
    }
}

#[tokio::test]
async fn a08_a_pause_longer_than_the_lease_blocks_no_key() {
    const ITEMS: [&str; 6] = ["tea", "coffee", "cocoa", "milk", "salt", "rice"];
    let deployment = Deployment::start();
    let service = deployment.instance_with_short_lease("a");
    service.send(&WARM_UP).await.assert_placed();
    deployment.redis.pause();
    for rejected in ITEMS.map(|item| service.send_in_background(&Order::of(item))) {
        rejected.response().await.assert_store_unavailable();
    }
    // Redis executes these `begin` calls only after the pause. The pause is longer than their
    // lease.
    sleep(LEASE).await;
    deployment.redis.resume();
    for (item, retried) in ITEMS.map(|item| (item, service.retry_in_background(&Order::of(item)))) {
        let first = retried.response().await;
        first.assert_placed();
        service
            .send(&Order::of(item))
            .await
            .assert_replay_of(&first);
        assert_eq!(deployment.runs(item), 1);
    }
    // No late `begin` call creates a record.
    sleep(LEASE).await;
    for item in ITEMS {
        assert!(service.send(&Order::of(item)).await.replayed());
    }
    assert_eq!(deployment.records().len(), 1 + ITEMS.len());
}

#[tokio::test]
async fn a14_a_late_begin_that_is_never_removed_leaves_an_unknown_record_and_no_run() {
    let deployment = Deployment::start();
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    one.send(&WARM_UP).await.assert_placed();
    deployment.redis.pause();
    one.send(&TEA).await.assert_store_unavailable();
    one.kill();
    deployment.redis.resume();
    other.retry(&TEA).await.assert_unknown();
    assert_eq!(deployment.runs("tea"), 0);
}

#[tokio::test]
async fn a12_a_run_survives_a_pause_of_the_store() {
    let deployment = Deployment::start();
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    let tea = TEA.held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    deployment.redis.pause();
    // The lease lapses, because it cannot be renewed during the pause.
    sleep(LEASE * 2).await;
    deployment.redis.resume();
    let concurrent = other.retry_in_background(&tea);
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    one.retry(&tea).await.assert_replay_of(&first);
    // After the pause, Redis executes the renewal and the retry in either order. If the retry comes
    // first, it finds a lapsed lease and gets a 500. In both cases the retry does not run the
    // handler.
    let concurrent = concurrent.response().await;
    assert!(
        concurrent.replayed() || concurrent.status == 500,
        "{concurrent:?}"
    );
    other.retry(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}
