//! An instance that is killed (SIGKILL) while a handler runs.

use aplomb::testing::PostgresServer;

use crate::client::{Order, ResponseChecks};
use crate::concurrent::assert_only_one_request_runs;
use crate::deployment::{Deployment, LEASE, postgres};
use crate::instance::Instance;

/// Kills an instance while it runs the handler of an order. Returns another instance.
async fn kill_during_run(deployment: &Deployment, order: &Order, item: &str) -> Instance {
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    let run = one.send_in_background(order);
    deployment.until_run(item, 1).await;
    one.kill();
    assert!(run.ends_without_response().await);
    other
}

#[tokio::test]
async fn a14_a_killed_run_is_in_flight_and_then_unknown() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").held();
    let other = kill_during_run(&deployment, &tea, "tea").await;
    other.send(&tea).await.assert_in_flight();
    other.retry(&tea).await.assert_unknown();
    let restarted = deployment.instance_with_short_lease("a");
    for instance in [&other, &restarted, &other] {
        instance.send(&tea).await.assert_unknown();
    }
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a14_a_killed_run_is_rerun_if_the_endpoint_declares_on_crash_rerun() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let other = kill_during_run(&deployment, &tea, "tea").await;
    other.release("tea");
    other.send(&tea).await.assert_in_flight();
    assert_eq!(deployment.runs("tea"), 1);
    let second = other.retry(&tea).await;
    second.assert_placed();
    let restarted = deployment.instance_with_short_lease("a");
    for instance in [&other, &restarted] {
        instance.send(&tea).await.assert_replay_of(&second);
    }
    assert_eq!(deployment.runs("tea"), 2);
}

#[tokio::test]
async fn a14_only_one_of_many_retries_reruns_a_killed_run() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let instances = [
        kill_during_run(&deployment, &tea, "tea").await,
        deployment.instance_with_short_lease("c"),
    ];
    for instance in &instances {
        instance.release("tea");
    }
    assert_only_one_request_runs(&instances, &tea).await;
    assert_eq!(deployment.runs("tea"), 2);
}

#[tokio::test]
async fn a14_a_killed_run_is_unknown_to_its_own_instance_after_a_restart() {
    let deployment = Deployment::start();
    let tea = Order::of("tea").to("/v1/limited-orders").held();
    drop(kill_during_run(&deployment, &tea, "tea").await);
    let restarted = deployment.instance_with_short_lease("a");
    restarted.retry(&tea).await.assert_unknown();
    assert_eq!(deployment.runs("tea"), 1);
}

/// Kills both instances on a store: the first one during a run, the second one later.
async fn assert_killed_instances_run_each_order_once(
    deployment: &Deployment,
    settings: &[(&'static str, String)],
) {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let start = |name| deployment.instance_with(name, &settings);
    let (one, other) = (start("a"), start("b"));
    let (milk, tea) = (Order::of("milk"), Order::of("tea").held());
    let first = one.send(&milk).await;
    first.assert_placed();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    one.kill();
    assert!(run.ends_without_response().await);
    other.send(&tea).await.assert_in_flight();
    other.retry(&tea).await.assert_unknown();
    other.kill();
    let restarted = start("a");
    restarted.send(&milk).await.assert_replay_of(&first);
    restarted.send(&tea).await.assert_unknown();
    assert_eq!((deployment.runs("milk"), deployment.runs("tea")), (1, 1));
}

#[tokio::test]
async fn a14_killed_instances_on_one_sqlite_file_run_each_order_once() {
    let deployment = Deployment::start();
    assert_killed_instances_run_each_order_once(&deployment, &deployment.sqlite()).await;
}

#[tokio::test]
async fn a14_killed_instances_on_one_postgres_run_each_order_once() {
    let (deployment, server) = (Deployment::start(), PostgresServer::start());
    assert_killed_instances_run_each_order_once(&deployment, &postgres(&server)).await;
}

#[tokio::test]
async fn a17_a_run_is_stored_although_postgres_restarts_during_the_run() {
    let (deployment, server) = (Deployment::start(), PostgresServer::start());
    let settings = postgres(&server);
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let (one, other) = (
        deployment.instance_with("a", &settings),
        deployment.instance_with("b", &settings),
    );
    let tea = Order::of("tea").held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    server.restart();
    other.send(&tea).await.assert_in_flight();
    server.terminate_backends().await;
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a12_a_run_keeps_its_lease_although_postgres_pauses() {
    let (deployment, server) = (Deployment::start(), PostgresServer::start());
    let settings = postgres(&server);
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let (one, other) = (
        deployment.instance_with("a", &settings),
        deployment.instance_with("b", &settings),
    );
    let tea = Order::of("tea").held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    // The lease of 3 s is renewed each second, and the lease ends in the time of the server.
    server.pause();
    tokio::time::sleep(LEASE / 3).await;
    server.resume();
    tokio::time::sleep(LEASE).await;
    other.send(&tea).await.assert_in_flight();
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}
