//! Limits while Redis stands still or is gone.

use core::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bench::{Bench, PATIENCE, until};
use crate::client::{Order, Reply};
use crate::instance::Instance;

const PRICES: Order = Order::prices();

/// As many as the limit admits at once, and one more.
async fn twenty_and_one(service: &Instance) -> Reply {
    for _ in 0..20 {
        let reply = service.send(&PRICES).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.tells_limits(), "what one instance knows alone: {reply:?}");
    }
    service.send(&PRICES).await
}

/// Asks until the store decides again.
async fn decided_by_the_store(service: &Instance) -> Reply {
    let end = Instant::now() + PATIENCE;
    loop {
        let reply = service.send(&PRICES).await;
        if reply.tells_limits() {
            return reply;
        }
        assert!(Instant::now() < end, "the store is asked no more: {reply:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_stands_still() {
    let bench = Bench::start();
    let service = bench.instance("a");
    assert_eq!(decided_by_the_store(&service).await.status, 200);
    bench.redis.pause();
    let over = twenty_and_one(&service).await;
    over.problem(429, "RATE_LIMITED", true);
    assert!(!over.tells_limits(), "{over:?}");
    bench.redis.resume();
    // What was asked during the pause has been taken, too.
    let after = decided_by_the_store(&service).await;
    assert!([200, 429].contains(&after.status), "{after:?}");
    until("that is logged", || service.log().contains("the store of limits answers again")).await;
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_is_gone() {
    let bench = Bench::start();
    let service = bench.instance("a");
    decided_by_the_store(&service).await;
    bench.redis.kill();
    twenty_and_one(&service).await.problem(429, "RATE_LIMITED", true);
    bench.redis.restart();
    let after = decided_by_the_store(&service).await;
    let left: u64 =
        after.header("x-ratelimit-remaining").and_then(|left| left.parse().ok()).expect("a number");
    assert!(
        after.status == 200 && (10..=18).contains(&left),
        "what was decided locally is not counted: {after:?}"
    );
}
