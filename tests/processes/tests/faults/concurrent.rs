//! Concurrent requests at two instances.

use std::thread;

use aplomb::testing::ClientResponse;
use serde_json::Value;

use crate::client::{Order, ResponseChecks};
use crate::deployment::Deployment;
use crate::instance::Instance;

/// Sends an order 15 times to each of two instances concurrently. Checks that one request runs and
/// 29 are replays.
pub(crate) async fn assert_only_one_request_runs(instances: &[Instance; 2], order: &Order) {
    let sent: Vec<_> = (0..15)
        .flat_map(|_| instances.iter().map(|one| one.retry_in_background(order)))
        .collect();
    let mut replies = Vec::new();
    for pending in sent {
        replies.push(pending.response().await);
    }
    let (runs, replays): (Vec<ClientResponse>, Vec<_>) =
        replies.into_iter().partition(|reply| !reply.replayed());
    assert_eq!((runs.len(), replays.len()), (1, 29));
    runs[0].assert_placed();
    for reply in replays {
        reply.assert_replay_of(&runs[0]);
    }
}

#[tokio::test]
async fn a08_concurrent_requests_at_two_instances_have_one_effect() {
    let deployment = Deployment::start();
    let instances = [deployment.instance("a"), deployment.instance("b")];
    for item in ["tea", "coffee", "cocoa", "milk"] {
        assert_only_one_request_runs(&instances, &Order::of(item)).await;
        assert_eq!(deployment.runs(item), 1);
        assert_only_one_request_runs(&instances, &Order::of(item).to("/v1/drafts")).await;
        assert_eq!(deployment.runs(item), 2, "another path has another record");
    }
}

#[tokio::test]
async fn a08_a_run_at_one_instance_is_in_flight_at_every_instance() {
    let deployment = Deployment::start();
    let [one, other] = [deployment.instance("a"), deployment.instance("b")];
    let tea = Order::of("tea").held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    for _ in 0..5 {
        one.send(&tea).await.assert_in_flight();
        other.send(&tea).await.assert_in_flight();
    }
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn instances_without_a_secret_share_the_secret_of_the_store() {
    let deployment = Deployment::start();
    let settings =
        ["a", "b", "c"].map(|name| deployment.settings(name).with(&[("APLOMB_SECRET", "")]));
    let starting = settings.map(|settings| thread::spawn(|| settings.start()));
    let instances = starting.map(|starting| starting.join().expect("a started instance"));
    let tea = Order::of("tea");
    let first = instances[0].send(&tea).await;
    first.assert_placed();
    let second_page = second_page(&instances[0]).await;
    for instance in &instances {
        instance.send(&tea).await.assert_replay_of(&first);
        assert_eq!(instance.send(&second_page).await.status, 200);
    }
    assert_eq!(deployment.runs("tea"), 1);
    for instance in &instances {
        assert!(
            instance
                .log()
                .contains("APLOMB_SECRET is not set: the store keeps the secret")
        );
    }
    let with_a_secret = deployment.instance("d");
    with_a_secret.send(&tea).await.assert_replay_of(&first);
    assert_eq!(
        deployment.runs("tea"),
        1,
        "keys do not depend on the secret"
    );
    with_a_secret
        .send(&second_page)
        .await
        .problem(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn a04_keys_and_cursors_survive_a_rolling_change_of_the_secret() {
    let deployment = Deployment::start();
    let old = deployment.instance_with("a", &[("APLOMB_SECRET", OLD)]);
    let tea = Order::of("tea");
    let first = old.send(&tea).await;
    first.assert_placed();
    let page = second_page(&old).await;
    let both = deployment.instance_with(
        "b",
        &[("APLOMB_SECRET", NEW), ("APLOMB_PREVIOUS_SECRET", OLD)],
    );
    assert_eq!(both.send(&page).await.status, 200);
    old.kill();
    let new = deployment.instance_with("c", &[("APLOMB_SECRET", NEW)]);
    new.send(&page).await.problem(400, "INVALID_CURSOR");
    assert_eq!(new.send(&second_page(&both).await).await.status, 200);
    for instance in [both, new] {
        instance.send(&tea).await.assert_replay_of(&first);
    }
    assert_eq!(deployment.runs("tea"), 1);
}

/// Returns the request for the second page of a list, with the cursor of this instance.
async fn second_page(instance: &Instance) -> Order {
    let page = instance.send(&Order::get("/v1/numbers")).await;
    let page: Value = serde_json::from_slice(&page.body).expect("a page");
    let cursor = page["next_cursor"].as_str().expect("another page");
    Order::get(format!("/v1/numbers?cursor={cursor}").leak())
}

const OLD: &str = "the old secret of the service, long enough";
const NEW: &str = "the new secret of the service, long enough";
