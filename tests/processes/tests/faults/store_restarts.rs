//! A Redis that is killed and restarted, loses data, or contains unreadable values.

use aplomb::testing::{RedisServer, Reply as RedisReply, eventually};
use tokio::time::sleep;

use crate::client::{Order, ResponseChecks};
use crate::deployment::{Deployment, LEASE};

const TEA: Order = Order::of("tea");

#[tokio::test]
async fn a_stored_response_survives_a_restart_of_the_store() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    let first = service.send(&TEA).await;
    first.assert_placed();
    deployment.redis.kill();
    service.send(&TEA).await.assert_store_unavailable();
    deployment.redis.restart();
    service.retry(&TEA).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a_request_runs_again_after_the_store_lost_its_record() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    service.send(&TEA).await.assert_placed();
    deployment.redis.kill();
    deployment.redis.restart_empty();
    let second = service.retry(&TEA).await;
    second.assert_placed();
    assert_eq!(
        deployment.runs("tea"),
        2,
        "a lost record causes a second effect, as documented"
    );
    service.send(&TEA).await.assert_replay_of(&second);
}

#[tokio::test]
async fn a12_a_run_completes_after_a_restart_of_the_store() {
    for restart in [RedisServer::restart, RedisServer::restart_empty] {
        let deployment = Deployment::start();
        let service = deployment.instance("a");
        let tea = TEA.held();
        let run = service.send_in_background(&tea);
        deployment.until_run("tea", 1).await;
        deployment.redis.kill();
        service.send(&tea).await.assert_in_flight();
        let coffee = Order::of("coffee");
        service.send(&coffee).await.assert_store_unavailable();
        restart(&deployment.redis);
        service.retry(&coffee).await.assert_placed();
        // If Redis has lost the record, the key is free for other instances until the run completes.
        service.send(&tea).await.assert_in_flight();
        service.release("tea");
        let first = run.response().await;
        first.assert_placed();
        service.retry(&tea).await.assert_replay_of(&first);
        assert_eq!(deployment.runs("tea"), 1);
    }
}

#[tokio::test]
async fn a12_a_run_survives_an_outage_longer_than_its_lease() {
    let deployment = Deployment::start();
    let (one, other) = (
        deployment.instance_with_short_lease("a"),
        deployment.instance_with_short_lease("b"),
    );
    let tea = TEA.held();
    let run = one.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    deployment.redis.kill();
    // The outage lasts for at least a lease.
    sleep(LEASE).await;
    deployment.redis.restart();
    other.retry(&tea).await.assert_unknown();
    one.release("tea");
    let first = run.response().await;
    first.assert_placed();
    other.send(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a17_a_response_is_stored_after_the_store_is_back() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    let tea = TEA.held();
    let run = service.send_in_background(&tea);
    deployment.until_run("tea", 1).await;
    deployment.redis.kill();
    service.release("tea");
    let first = run.response().await;
    first.assert_placed();
    deployment.redis.restart();
    service.retry(&tea).await.assert_replay_of(&first);
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn b05_scripts_that_the_store_dropped_are_sent_again() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    for order in [TEA, Order::of("coffee").to("/v1/limited-orders")] {
        deployment.redis.flush_scripts();
        let first = service.send(&order).await;
        first.assert_placed();
        deployment.redis.flush_scripts();
        service.send(&order).await.assert_replay_of(&first);
    }
    let held = Order::of("cocoa").held();
    let run = service.send_in_background(&held);
    deployment.until_run("cocoa", 1).await;
    deployment.redis.flush_scripts();
    service.release("cocoa");
    let first = run.response().await;
    first.assert_placed();
    service.send(&held).await.assert_replay_of(&first);
    assert_eq!(
        ["tea", "coffee", "cocoa"].map(|item| deployment.runs(item)),
        [1, 1, 1]
    );
}

#[tokio::test]
async fn an_unreadable_record_is_logged_and_left_unchanged() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    service.send(&TEA).await.assert_placed();
    let key = deployment.records().pop().expect("one record");
    for value in [&b"\x02a later version"[..], b"", b"\x01D"] {
        deployment.redis.command(&[b"SET", key.as_bytes(), value]);
        let errors = count_errors_about(&service.log(), &key);
        service.send(&TEA).await.assert_store_unavailable();
        assert_eq!(
            count_errors_about(&service.log(), &key),
            errors + 1,
            "{}",
            service.log()
        );
        assert_eq!(
            deployment.redis.command(&["GET", &key]),
            RedisReply::bytes(value)
        );
    }
    assert_eq!(deployment.runs("tea"), 1);
    deployment.redis.command(&["DEL", &key]);
    service.send(&TEA).await.assert_placed();
    assert_eq!(deployment.runs("tea"), 2);
}

#[tokio::test]
async fn keys_of_another_type_are_logged_and_left_unchanged() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    let order = Order::of("tea").to("/v1/limited-orders");
    service.send(&order).await.assert_placed();
    let bucket = deployment.keys("*:l:*").pop().expect("one bucket");
    let record = deployment.records().pop().expect("one record");
    for key in [record, bucket] {
        deployment.redis.command(&["DEL", &key]);
        deployment.redis.command(&["LPUSH", &key, "x"]);
        let errors = count_errors_about(&service.log(), &key);
        service.send(&order).await.assert_store_unavailable();
        assert_eq!(
            count_errors_about(&service.log(), &key),
            errors + 1,
            "{}",
            service.log()
        );
        assert_eq!(
            deployment.redis.command(&["LLEN", &key]),
            RedisReply::Integer(1)
        );
    }
    assert_eq!(deployment.runs("tea"), 1);
}

#[tokio::test]
async fn a_record_damaged_during_its_run_is_left_unchanged_and_the_client_gets_its_response() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    let held = Order::of("tea").held();
    let run = service.send_in_background(&held);
    deployment.until_run("tea", 1).await;
    let key = deployment.records().pop().expect("one record");
    deployment
        .redis
        .command(&[&b"SET"[..], key.as_bytes(), b"\x02a later version"]);
    service.release("tea");
    run.response().await.assert_placed();
    eventually("the log has the line", async || {
        service.log().contains(&key)
    })
    .await;
    assert_eq!(
        deployment.redis.command(&["GET", &key]),
        RedisReply::bytes(b"\x02a later version")
    );
    service.send(&held).await.assert_store_unavailable();
    assert_eq!(deployment.runs("tea"), 1);
}

fn count_errors_about(log: &str, key: &str) -> usize {
    log.lines()
        .filter(|line| line.contains("ERROR") && line.contains(key))
        .count()
}
