//! An instance that is killed (SIGKILL) while a handler runs.

use crate::bench::Bench;
use crate::client::{Checked, Order};
use crate::concurrent::one_of_many_runs;
use crate::instance::Instance;

/// Kills an instance in the middle of a run; gives another.
async fn killed(bench: &Bench, order: &Order, item: &str) -> Instance {
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    let run = one.post(order);
    bench.has_run(item, 1).await;
    one.kill();
    assert!(run.broken_off().await);
    other
}

#[tokio::test]
async fn a14_a_killed_run_is_in_flight_and_then_unknown() {
    let bench = Bench::start();
    let tea = Order::of("tea").held();
    let other = killed(&bench, &tea, "tea").await;
    other.send(&tea).await.in_flight();
    other.retry(&tea).await.unknown();
    let restarted = bench.short_lived("a");
    for instance in [&other, &restarted, &other] {
        instance.send(&tea).await.unknown();
    }
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a14_a_killed_run_is_rerun_if_declared() {
    let bench = Bench::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let other = killed(&bench, &tea, "tea").await;
    other.let_go("tea");
    other.send(&tea).await.in_flight();
    assert_eq!(bench.runs("tea"), 1);
    let second = other.retry(&tea).await;
    second.placed();
    let restarted = bench.short_lived("a");
    for instance in [&other, &restarted] {
        instance.send(&tea).await.replays(&second);
    }
    assert_eq!(bench.runs("tea"), 2);
}

#[tokio::test]
async fn a14_of_many_retries_of_a_killed_run_one_reruns() {
    let bench = Bench::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let instances = [killed(&bench, &tea, "tea").await, bench.short_lived("c")];
    for instance in &instances {
        instance.let_go("tea");
    }
    one_of_many_runs(&instances, &tea).await;
    assert_eq!(bench.runs("tea"), 2);
}

#[tokio::test]
async fn a14_a_killed_run_is_unknown_to_its_own_instance_after_a_restart() {
    let bench = Bench::start();
    let tea = Order::of("tea").to("/v1/limited-orders").held();
    drop(killed(&bench, &tea, "tea").await);
    let restarted = bench.short_lived("a");
    restarted.retry(&tea).await.unknown();
    assert_eq!(bench.runs("tea"), 1);
}
