//! An instance that is asked to end (SIGTERM).

use tokio::time::sleep;

use crate::bench::{Bench, LEASE};
use crate::client::{Checked, Order};

#[tokio::test]
async fn a11_a_run_completes_after_sigterm_and_another_instance_replays_it() {
    let bench = Bench::start();
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    let tea = Order::of("tea").held();
    let run = one.post(&tea);
    bench.has_run("tea", 1).await;
    one.terminate().await;
    // Its lease is renewed to the end.
    sleep(LEASE * 3 / 2).await;
    other.send(&tea).await.in_flight();
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    assert_eq!(one.wait().code(), Some(0));
    other.send(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a17_a_terminating_service_waits_until_a_response_is_stored() {
    let bench = Bench::start();
    let (one, other) = (bench.instance("a"), bench.instance("b"));
    let tea = Order::of("tea").held();
    let run = one.post(&tea);
    bench.has_run("tea", 1).await;
    bench.redis.kill();
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    one.terminate().await;
    bench.redis.restart();
    assert_eq!(one.wait().code(), Some(0));
    other.retry(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}
