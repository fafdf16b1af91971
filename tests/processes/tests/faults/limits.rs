//! Limits that several instances keep together, and while Redis stands still or is gone.

use core::time::Duration;

use aplomb::testing::{ClientResponse, eventually};
use tokio::time::{Instant, sleep};

use crate::bench::Bench;
use crate::client::{Checked, Order};
use crate::instance::Instance;

/// Lets twelve clients of three instances ask for so many seconds, and gives for each request that was admitted
/// when it went and when it was back.
async fn rush(
    instances: &[Instance; 3],
    path: &'static str,
    seconds: u32,
) -> Vec<(Instant, Instant)> {
    let (end, order) = (Instant::now() + seconds * PERIOD, Order::get(path));
    let clients = (0..12).map(|number| {
        let (client, order) = (instances[number % 3].client.clone(), order.clone());
        tokio::spawn(async move {
            let mut admitted = Vec::new();
            while Instant::now() < end {
                let sent = Instant::now();
                match order
                    .send(&client)
                    .await
                    .expect("a response")
                    .status
                    .as_u16()
                {
                    200 => admitted.push((sent, Instant::now())),
                    429 => sleep(Duration::from_millis(2)).await,
                    status => panic!("{status}"),
                }
            }
            admitted
        })
    });
    let mut all = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        all.extend(client.await.expect("no panic"));
    }
    all
}

const PERIOD: Duration = Duration::from_secs(1);

/// The most requests that went and were back within one period.
fn most_in_a_period(admitted: &[(Instant, Instant)]) -> usize {
    let within = |from: Instant| {
        let inside = |(sent, back): &&(Instant, Instant)| *sent >= from && *back < from + PERIOD;
        admitted.iter().filter(inside).count()
    };
    admitted
        .iter()
        .map(|(sent, _)| within(*sent))
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn b01_three_processes_never_admit_more_than_the_worst_case_of_any_window() {
    let bench = Bench::start();
    let instances = ["a", "b", "c"].map(|name| bench.instance(name));
    // A window is judged from its begin to its end, so that two seconds show a whole one wherever it begins.
    let seconds: u32 = if std::env::var_os("FAULTS").is_some() {
        10
    } else {
        2
    };
    // A turn is kept to the millisecond, so that one more may come within a second of the clock outside.
    for (path, worst) in [
        ("/v1/token-bucket", 15),
        ("/v1/leaky-bucket", 11),
        ("/v1/fixed-window", 20),
        ("/v1/sliding-window", 10),
        ("/v1/leases", 40),
    ] {
        let admitted = rush(&instances, path, seconds).await;
        let most = most_in_a_period(&admitted);
        assert!(most <= worst, "{path}: {most} in a second");
        // Two thirds of the slowest rate.
        let least = 20 * seconds as usize / 3;
        assert!(
            admitted.len() >= least,
            "{path}: only {} in {seconds} seconds",
            admitted.len()
        );
    }
}

const PRICES: Order = Order::prices();

/// As many as the limit admits at once, and one more.
async fn twenty_and_one(service: &Instance) -> ClientResponse {
    for _ in 0..20 {
        let reply = service.send(&PRICES).await;
        assert_eq!(reply.status, 200);
        assert!(
            !reply.tells_limits(),
            "what one instance knows alone: {reply:?}"
        );
    }
    service.send(&PRICES).await
}

/// Asks until the store decides again.
async fn decided_by_the_store(service: &Instance) -> ClientResponse {
    let mut answer = None;
    let decides = async || answer.insert(service.send(&PRICES).await).tells_limits();
    eventually("the store is asked again", decides).await;
    answer.expect("the last answer")
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_stands_still() {
    let bench = Bench::start();
    let service = bench.instance("a");
    assert_eq!(decided_by_the_store(&service).await.status, 200);
    bench.redis.pause();
    let over = twenty_and_one(&service).await;
    over.refused(429, "RATE_LIMITED", true);
    assert!(!over.tells_limits(), "{over:?}");
    bench.redis.resume();
    // What was asked during the pause has been taken, too.
    let after = decided_by_the_store(&service).await;
    assert!([200, 429].contains(&after.status.as_u16()), "{after:?}");
    eventually("that is logged", async || {
        service.log().contains("the rate limit store answers again")
    })
    .await;
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_the_store_is_gone() {
    let bench = Bench::start();
    let service = bench.instance("a");
    decided_by_the_store(&service).await;
    bench.redis.kill();
    twenty_and_one(&service)
        .await
        .refused(429, "RATE_LIMITED", true);
    bench.redis.restart();
    let after = decided_by_the_store(&service).await;
    let left = after.header_number("x-ratelimit-remaining");
    assert!(
        after.status == 200 && (10..=18).contains(&left),
        "what was decided locally is not counted: {after:?}"
    );
}
