//! An instance that stands still (SIGSTOP, or a handler that blocks it) for longer than its lease.

use tokio::time::{Instant, sleep};

use crate::bench::{Bench, LEASE};
use crate::client::{Checked, Order};
use crate::instance::{Instance, Pending};

/// Stops the first of two instances in the middle of a run.
async fn stopped(bench: &Bench, order: &Order, item: &str) -> (Instance, Pending, Instance) {
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    let run = one.post(order);
    bench.has_run(item, 1).await;
    one.stop();
    (one, run, other)
}

#[tokio::test]
async fn a12_a_stopped_run_is_unknown_until_it_completes() {
    let bench = Bench::start();
    let tea = Order::of("tea").held();
    let (one, run, other) = stopped(&bench, &tea, "tea").await;
    other.retry(&tea).await.unknown();
    one.let_go("tea");
    one.go_on();
    let first = run.answer().await;
    first.placed();
    for instance in [&one, &other] {
        instance.send(&tea).await.replays(&first);
    }
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a12_a_run_stopped_longer_than_its_lease_stays_unknown_while_it_continues() {
    let bench = Bench::start();
    let tea = Order::of("tea").held();
    let (one, run, other) = stopped(&bench, &tea, "tea").await;
    other.retry(&tea).await.unknown();
    one.go_on();
    let end = Instant::now() + LEASE;
    while Instant::now() < end {
        one.send(&tea).await.unknown();
        sleep(LEASE / 20).await;
    }
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    other.send(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a19_a_replaced_run_responds_with_the_result_of_the_other_run() {
    let bench = Bench::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let (one, run, other) = stopped(&bench, &tea, "tea").await;
    other.let_go("tea");
    let second = other.retry(&tea).await;
    second.placed();
    one.let_go("tea");
    one.go_on();
    run.answer().await.replays(&second);
    for instance in [&one, &other] {
        instance.send(&tea).await.replays(&second);
    }
    assert_eq!(bench.runs("tea"), 2);
}

#[tokio::test]
async fn a19_a_replaced_run_responds_with_a_409_while_the_other_run_continues() {
    let bench = Bench::start();
    let tea = Order::of("tea").to("/v1/drafts").held();
    let (one, run, other) = stopped(&bench, &tea, "tea").await;
    let rerun = other.insist(&tea);
    bench.has_run("tea", 2).await;
    one.let_go("tea");
    one.go_on();
    run.answer().await.in_flight();
    other.let_go("tea");
    let second = rerun.answer().await;
    second.placed();
    one.send(&tea).await.replays(&second);
    assert_eq!(bench.runs("tea"), 2);
}

#[tokio::test]
async fn a12_a_handler_that_blocks_the_whole_runtime_keeps_its_lease() {
    let bench = Bench::start();
    let lease = [("APLOMB_LEASE", "2s"), ("TOKIO_WORKER_THREADS", "1")];
    let (one, other) = (
        bench.instance_with("a", &lease),
        bench.instance_with("b", &lease),
    );
    let report = Order::of("tea").to("/v1/reports").held();
    let run = one.post(&report);
    bench.has_run("tea", 1).await;
    let waiting = one.post(&Order::prices());
    let end = Instant::now() + LEASE * 2;
    while Instant::now() < end {
        other.send(&report).await.in_flight();
        sleep(LEASE / 40).await;
    }
    assert!(!waiting.is_answered(), "the runtime is not blocked");
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    assert_eq!(waiting.answer().await.status, 200);
    other.send(&report).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a12_a_run_over_its_maximum_duration_is_unknown_until_it_completes() {
    for path in ["/v1/orders", "/v1/drafts"] {
        let bench = Bench::start();
        let settings = [
            ("APLOMB_LEASE", "3s"),
            ("APLOMB_MAX_HANDLER_DURATION", "1s"),
        ];
        let (one, other) = (
            bench.instance_with("a", &settings),
            bench.instance_with("b", &settings),
        );
        let tea = Order::of("tea").to(path).held();
        let run = one.post(&tea);
        bench.has_run("tea", 1).await;
        other.retry(&tea).await.unknown();
        one.let_go("tea");
        let first = run.answer().await;
        first.placed();
        other.send(&tea).await.replays(&first);
        assert_eq!(bench.runs("tea"), 1);
    }
}
