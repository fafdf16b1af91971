//! An instance that makes no progress (by SIGSTOP or by a blocking handler) for longer than its
//! lease.

use core::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::{Order, ResponseChecks};
use crate::deployment::{Deployment, LEASE};
use crate::instance::{Instance, Pending};

/// Suspends the first of two instances while it runs a handler.
async fn stop_during_run(
    deployment: &Deployment,
    order: &Order,
    item: &str,
) -> (Instance, Pending, Instance) {
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    let run = one.send_in_background(order);
    deployment.until_run(item, 1).await;
    one.pause();
    (one, run, other)
}

#[tokio::test]
async fn a12_a_stopped_run_is_unknown_until_it_completes() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").held();
    let (one, run, other) = stop_during_run(&deployment, &tea, "tea").await;
    other.retry(&tea).await.assert_unknown();
    one.release("tea");
    one.resume();
    let first = run.response().await;
    first.assert_placed();
    for instance in [&one, &other] {
        instance.send(&tea).await.assert_replay_of(&first);
    }
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a12_a_run_stopped_longer_than_its_lease_is_in_flight_at_its_instance_and_unknown_at_others()
 {
    let deployment = Deployment::start();
    let tea = Order::of("tea").held();
    let (one, run, other) = stop_during_run(&deployment, &tea, "tea").await;
    other.retry(&tea).await.assert_unknown();
    one.resume();
    let end = Instant::now() + LEASE;
    while Instant::now() < end {
        one.send(&tea).await.assert_in_flight();
        other.send(&tea).await.assert_unknown();
        sleep(LEASE / 20).await;
    }
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a12_after_a_pause_no_retry_at_the_same_instance_runs_beside_the_run_or_is_unknown() {
    let deployment = Deployment::start();
    let (lease, redis) = (Duration::from_millis(300), deployment.redis.url());
    for (store, path, item) in [
        ("memory:", "/v1/orders", "tea"),
        ("memory:", "/v1/drafts", "salt"),
        ("memory:", "/v1/limited-orders", "rice"),
        (redis.as_str(), "/v1/orders", "oil"),
        (redis.as_str(), "/v1/drafts", "milk"),
        (redis.as_str(), "/v1/limited-orders", "corn"),
    ] {
        let settings = [("APLOMB_LEASE", "300ms"), ("APLOMB_STORE", store)];
        let instance = deployment.instance_with(item, &settings);
        let order = Order::of(item).to(path).held();
        let run = instance.send_in_background(&order);
        deployment.until_run(item, 1).await;

        instance.pause();
        sleep(lease * 2).await;
        // These requests wait at the paused process, and arrive together with its next heartbeat.
        let waiting: Vec<_> = (0..8)
            .map(|_| instance.send_in_background(&order))
            .collect();
        sleep(lease).await;
        instance.resume();
        for retry in waiting {
            retry.response().await.assert_in_flight();
        }
        let end = Instant::now() + lease * 2;
        while Instant::now() < end {
            instance.send(&order).await.assert_in_flight();
            sleep(lease / 20).await;
        }

        instance.release(item);
        let first = run.response().await;
        first.assert_placed();
        instance.send(&order).await.assert_replay_of(&first);
        assert_eq!(deployment.runs(item), 1, "{store} {path}");
    }
}

#[tokio::test]
async fn a19_a_replaced_run_responds_with_the_result_of_the_other_run() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let (one, run, other) = stop_during_run(&deployment, &tea, "tea").await;
    other.release("tea");
    let second = other.retry(&tea).await;
    second.assert_placed();
    one.release("tea");
    one.resume();
    run.response().await.assert_replay_of(&second);
    for instance in [&one, &other] {
        instance.send(&tea).await.assert_replay_of(&second);
    }
    assert_eq!(deployment.runs("tea"), 2);
}

#[tokio::test]
async fn a19_a_replaced_run_responds_with_a_409_while_the_other_run_continues() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let (one, run, other) = stop_during_run(&deployment, &tea, "tea").await;
    let rerun = other.retry_in_background(&tea);
    deployment.until_run("tea", 2).await;
    one.release("tea");
    one.resume();
    run.response().await.assert_in_flight();
    other.release("tea");
    let second = rerun.response().await;
    second.assert_placed();
    one.send(&tea).await.assert_replay_of(&second);
    assert_eq!(deployment.runs("tea"), 2);
}

#[tokio::test]
async fn a12_a_handler_that_blocks_the_whole_runtime_keeps_its_lease() {
    let deployment = Deployment::start();
    let lease = [("APLOMB_LEASE", "2s"), ("TOKIO_WORKER_THREADS", "1")];
    let (one, other) = (
        deployment.instance_with("a", &lease),
        deployment.instance_with("b", &lease),
    );
    let report = Order::of("tea").to("/v1/reports").held();
    let run = one.send_in_background(&report);
    deployment.until_run("tea", 1).await;
    let waiting = one.send_in_background(&Order::prices());
    let end = Instant::now() + LEASE * 2;
    while Instant::now() < end {
        other.send(&report).await.assert_in_flight();
        sleep(LEASE / 40).await;
    }
    assert!(!waiting.is_finished(), "the handler must block the runtime");
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    assert_eq!(waiting.response().await.status, 200);
    other.send(&report).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a12_a_run_over_its_maximum_duration_is_unknown_until_it_completes() {
    for path in ["/v1/orders", "/v1/drafts"] {
        let deployment = Deployment::start();
        let settings = [
            ("APLOMB_LEASE", "3s"),
            ("APLOMB_MAX_HANDLER_DURATION", "1s"),
        ];
        let (one, other) = (
            deployment.instance_with("a", &settings),
            deployment.instance_with("b", &settings),
        );
        let tea = Order::of("tea").to(path).held();
        let run = one.send_in_background(&tea);
        deployment.until_run("tea", 1).await;
        other.retry(&tea).await.assert_unknown();
        one.release("tea");
        let first = run.response().await;
        first.assert_placed();
        other.send(&tea).await.assert_replay_of(&first);
        assert_eq!(deployment.runs("tea"), 1);
    }
}
