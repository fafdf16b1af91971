//! An instance that receives SIGTERM.

use tokio::time::sleep;

use crate::client::{Order, ResponseChecks};
use crate::deployment::{Deployment, LEASE};

#[tokio::test]
async fn a11_a_run_completes_after_sigterm_and_another_instance_replays_it() {
    let deployment = Deployment::start();
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    let tea = Order::of("tea").held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    one.terminate().await;
    // The lease is renewed until the run ends.
    sleep(LEASE * 3 / 2).await;
    other.send(&tea).await.assert_in_flight();
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    assert_eq!(one.wait().code(), Some(0));
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a17_a_terminating_service_waits_until_a_response_is_stored() {
    let deployment = Deployment::start();
    let (one, other) = (deployment.instance("a"), deployment.instance("b"));
    let tea = Order::of("tea").held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    deployment.redis.kill();
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    one.terminate().await;
    deployment.redis.restart();
    assert_eq!(one.wait().code(), Some(0));
    other.retry(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}
