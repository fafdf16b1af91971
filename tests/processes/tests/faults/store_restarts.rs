//! A Redis that is killed and started again, forgets, or holds what nobody can read.

use aplomb::testing::{RedisServer, Reply as RedisReply, eventually};
use tokio::time::sleep;

use crate::bench::{Bench, LEASE};
use crate::client::{Checked, Order};

const TEA: Order = Order::of("tea");

#[tokio::test]
async fn a_stored_response_survives_a_restart_of_the_store() {
    let bench = Bench::start();
    let service = bench.instance("a");
    let first = service.send(&TEA).await;
    first.placed();
    bench.redis.kill();
    service.send(&TEA).await.no_store();
    bench.redis.restart();
    service.retry(&TEA).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a_request_runs_again_after_the_store_lost_its_record() {
    let bench = Bench::start();
    let service = bench.instance("a");
    service.send(&TEA).await.placed();
    bench.redis.kill();
    bench.redis.restart_empty();
    let second = service.retry(&TEA).await;
    second.placed();
    assert_eq!(
        bench.runs("tea"),
        2,
        "the second effect of which the documentation warns"
    );
    service.send(&TEA).await.replays(&second);
}

#[tokio::test]
async fn a12_a_run_completes_after_a_restart_of_the_store() {
    for restart in [RedisServer::restart, RedisServer::restart_empty] {
        let bench = Bench::start();
        let service = bench.instance("a");
        let tea = TEA.held();
        let run = service.post(&tea);
        bench.has_run("tea", 1).await;
        bench.redis.kill();
        service.send(&tea).await.no_store();
        restart(&bench.redis);
        // A key that the store lost is free until its run completes: here that is at once.
        service.retry(&Order::of("coffee")).await.placed();
        service.let_go("tea");
        let first = run.answer().await;
        first.placed();
        service.retry(&tea).await.replays(&first);
        assert_eq!(bench.runs("tea"), 1);
    }
}

#[tokio::test]
async fn a12_a_run_survives_an_outage_longer_than_its_lease() {
    let bench = Bench::start();
    let (one, other) = (bench.short_lived("a"), bench.short_lived("b"));
    let tea = TEA.held();
    let run = one.post(&tea);
    bench.has_run("tea", 1).await;
    bench.redis.kill();
    sleep(LEASE).await;
    bench.redis.restart();
    other.retry(&tea).await.unknown();
    one.let_go("tea");
    let first = run.answer().await;
    first.placed();
    other.send(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a17_a_response_is_stored_after_the_store_is_back() {
    let bench = Bench::start();
    let service = bench.instance("a");
    let tea = TEA.held();
    let run = service.post(&tea);
    bench.has_run("tea", 1).await;
    bench.redis.kill();
    service.let_go("tea");
    let first = run.answer().await;
    first.placed();
    bench.redis.restart();
    service.retry(&tea).await.replays(&first);
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn b05_scripts_that_the_store_dropped_are_sent_again() {
    let bench = Bench::start();
    let service = bench.instance("a");
    for order in [TEA, Order::of("coffee").to("/v1/limited-orders")] {
        bench.redis.flush_scripts();
        let first = service.send(&order).await;
        first.placed();
        bench.redis.flush_scripts();
        service.send(&order).await.replays(&first);
    }
    let held = Order::of("cocoa").held();
    let run = service.post(&held);
    bench.has_run("cocoa", 1).await;
    bench.redis.flush_scripts();
    service.let_go("cocoa");
    let first = run.answer().await;
    first.placed();
    service.send(&held).await.replays(&first);
    assert_eq!(
        ["tea", "coffee", "cocoa"].map(|item| bench.runs(item)),
        [1, 1, 1]
    );
}

#[tokio::test]
async fn an_unreadable_record_is_logged_and_left_unchanged() {
    let bench = Bench::start();
    let service = bench.instance("a");
    service.send(&TEA).await.placed();
    let key = bench.records().pop().expect("one record");
    for unknown in [&b"\x02a later version"[..], b"", b"\x01D"] {
        bench.redis.command(&[b"SET", key.as_bytes(), unknown]);
        let errors = errors_about(&service.log(), &key);
        service.send(&TEA).await.no_store();
        assert_eq!(
            errors_about(&service.log(), &key),
            errors + 1,
            "{}",
            service.log()
        );
        assert_eq!(
            bench.redis.command(&["GET", &key]),
            RedisReply::bytes(unknown)
        );
    }
    assert_eq!(bench.runs("tea"), 1);
    bench.redis.command(&["DEL", &key]);
    service.send(&TEA).await.placed();
    assert_eq!(bench.runs("tea"), 2);
}

#[tokio::test]
async fn keys_of_another_type_are_logged_and_left_unchanged() {
    let bench = Bench::start();
    let service = bench.instance("a");
    let order = Order::of("tea").to("/v1/limited-orders");
    service.send(&order).await.placed();
    let bucket = bench.keys("*:l:*").pop().expect("one bucket");
    let record = bench.records().pop().expect("one record");
    for key in [record, bucket] {
        bench.redis.command(&["DEL", &key]);
        bench.redis.command(&["LPUSH", &key, "x"]);
        let errors = errors_about(&service.log(), &key);
        service.send(&order).await.no_store();
        assert_eq!(
            errors_about(&service.log(), &key),
            errors + 1,
            "{}",
            service.log()
        );
        assert_eq!(bench.redis.command(&["LLEN", &key]), RedisReply::Integer(1));
    }
    assert_eq!(bench.runs("tea"), 1);
}

#[tokio::test]
async fn a_record_damaged_during_its_run_is_left_unchanged_and_the_client_gets_its_response() {
    let bench = Bench::start();
    let service = bench.instance("a");
    let held = Order::of("tea").held();
    let run = service.post(&held);
    bench.has_run("tea", 1).await;
    let key = bench.records().pop().expect("one record");
    bench
        .redis
        .command(&[&b"SET"[..], key.as_bytes(), b"\x02a later version"]);
    service.let_go("tea");
    run.answer().await.placed();
    eventually("that is logged", async || service.log().contains(&key)).await;
    assert_eq!(
        bench.redis.command(&["GET", &key]),
        RedisReply::bytes(b"\x02a later version")
    );
    service.send(&held).await.no_store();
    assert_eq!(bench.runs("tea"), 1);
}

fn errors_about(log: &str, key: &str) -> usize {
    log.lines()
        .filter(|line| line.contains("ERROR") && line.contains(key))
        .count()
}
