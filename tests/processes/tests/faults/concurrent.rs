//! Two instances that do the same at once.

use std::thread;

use aplomb::testing::ClientResponse;
use serde_json::Value;

use crate::bench::Bench;
use crate::client::{Checked, Order};
use crate::instance::Instance;

/// Sends an order many times at once to both, and checks that one of them all runs.
pub(crate) async fn one_of_many_runs(instances: &[Instance; 2], order: &Order) {
    let sent: Vec<_> = (0..15)
        .flat_map(|_| instances.iter().map(|one| one.insist(order)))
        .collect();
    let mut replies = Vec::new();
    for pending in sent {
        replies.push(pending.answer().await);
    }
    let (ran, replayed): (Vec<ClientResponse>, Vec<_>) =
        replies.into_iter().partition(|reply| !reply.replayed());
    assert_eq!((ran.len(), replayed.len()), (1, 29));
    ran[0].placed();
    for reply in replayed {
        reply.replays(&ran[0]);
    }
}

#[tokio::test]
async fn a08_concurrent_requests_at_two_instances_have_one_effect() {
    let bench = Bench::start();
    let instances = [bench.instance("a"), bench.instance("b")];
    for item in ["tea", "coffee", "cocoa", "milk"] {
        one_of_many_runs(&instances, &Order::of(item)).await;
        assert_eq!(bench.runs(item), 1);
        one_of_many_runs(&instances, &Order::of(item).to("/v1/drafts")).await;
        assert_eq!(bench.runs(item), 2, "at another path it is another key");
    }
}

#[tokio::test]
async fn a08_a_run_at_one_instance_is_in_flight_at_every_instance() {
    let bench = Bench::start();
    let [one, other] = [bench.instance("a"), bench.instance("b")];
    let tea = Order::of("tea").held();
    let run = one.post(&tea);
    bench.has_run("tea", 1).await;
    for _ in 0..5 {
        one.send(&tea).await.in_flight();
        other.send(&tea).await.in_flight();
    }
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    other.send(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn instances_without_a_secret_share_the_secret_of_the_store() {
    let bench = Bench::start();
    let settings = ["a", "b", "c"].map(|name| bench.settings(name).with(&[("APLOMB_SECRET", "")]));
    let starting = settings.map(|settings| thread::spawn(|| settings.start()));
    let instances = starting.map(|starting| starting.join().expect("it starts"));
    let tea = Order::of("tea");
    let first = instances[0].send(&tea).await;
    first.placed();
    let second_page = second_page(&instances[0]).await;
    for instance in &instances {
        instance.send(&tea).await.replays(&first);
        assert_eq!(instance.send(&second_page).await.status, 200);
    }
    assert_eq!(bench.runs("tea"), 1);
    for instance in &instances {
        assert!(
            instance
                .log()
                .contains("APLOMB_SECRET is not set: the store keeps the secret")
        );
    }
    let with_a_secret = bench.instance("d");
    with_a_secret.send(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1, "keys do not depend on the secret");
    with_a_secret
        .send(&second_page)
        .await
        .problem(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn a04_keys_and_cursors_survive_a_rolling_change_of_the_secret() {
    let bench = Bench::start();
    let old = bench.instance_with("a", &[("APLOMB_SECRET", OLD)]);
    let tea = Order::of("tea");
    let first = old.send(&tea).await;
    first.placed();
    let page = second_page(&old).await;
    let both = bench.instance_with(
        "b",
        &[("APLOMB_SECRET", NEW), ("APLOMB_PREVIOUS_SECRET", OLD)],
    );
    assert_eq!(both.send(&page).await.status, 200);
    old.kill();
    let new = bench.instance_with("c", &[("APLOMB_SECRET", NEW)]);
    new.send(&page).await.problem(400, "INVALID_CURSOR");
    assert_eq!(new.send(&second_page(&both).await).await.status, 200);
    for instance in [both, new] {
        instance.send(&tea).await.replays(&first);
    }
    assert_eq!(bench.runs("tea"), 1);
}

/// The second page of a list, by the cursor that this instance gives.
async fn second_page(instance: &Instance) -> Order {
    let page = instance.send(&Order::get("/v1/numbers")).await;
    let page: Value = serde_json::from_slice(&page.body).expect("a page");
    let cursor = page["next_cursor"].as_str().expect("another page");
    Order::get(format!("/v1/numbers?cursor={cursor}").leak())
}

const OLD: &str = "the old secret of the service, long enough";
const NEW: &str = "the new secret of the service, long enough";
