//! Limits that several instances share, and limits while Redis is paused or down.

use core::time::Duration;

use aplomb::testing::{ClientResponse, eventually};
use tokio::time::{Instant, sleep};

use crate::client::{Order, ResponseChecks};
use crate::deployment::Deployment;
use crate::instance::Instance;

/// Sends requests from twelve clients to three instances for this number of seconds. Returns the
/// start and the end of each admitted request.
async fn send_from_twelve_clients(
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
                    // The delay is short, so that the clients use every free token.
                    429 => sleep(Duration::from_millis(2)).await,
                    status => panic!("{status}"),
                }
            }
            admitted
        })
    });
    let mut admitted_by_all = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        admitted_by_all.extend(client.await.expect("no panic"));
    }
    admitted_by_all
}

const PERIOD: Duration = Duration::from_secs(1);

/// Returns the largest number of requests that started and ended within one period.
fn max_in_one_period(admitted: &[(Instant, Instant)]) -> usize {
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
async fn b01_three_processes_never_admit_more_than_the_documented_maximum() {
    let deployment = Deployment::start();
    let instances = ["a", "b", "c"].map(|name| deployment.instance(name));
    // Any interval of two seconds contains a whole period of one second.
    let seconds: u32 = if std::env::var_os("FAULTS").is_some() {
        10
    } else {
        2
    };
    // The queue delay of the leaky bucket is rounded to milliseconds, so one second may contain 11
    // requests.
    for (path, maximum) in [
        ("/v1/token-bucket", 15),
        ("/v1/leaky-bucket", 11),
        ("/v1/fixed-window", 20),
        ("/v1/sliding-window", 10),
        ("/v1/prefetched", 40),
    ] {
        let admitted = send_from_twelve_clients(&instances, path, seconds).await;
        let observed = max_in_one_period(&admitted);
        assert!(observed <= maximum, "{path}: {observed} in a second");
        // Each limit must admit at least two thirds of the lowest rate, which is 10 per second.
        let minimum = 20 * seconds as usize / 3;
        assert!(
            admitted.len() >= minimum,
            "{path}: only {} in {seconds} seconds",
            admitted.len()
        );
    }
}

const PRICES: Order = Order::prices();

/// Sends 21 requests, one more than the burst. Returns the last response.
async fn send_21_requests(service: &Instance) -> ClientResponse {
    for _ in 0..20 {
        let reply = service.send(&PRICES).await;
        assert_eq!(reply.status, 200);
        assert!(
            !reply.has_limit_fields(),
            "a local decision has no limit fields: {reply:?}"
        );
    }
    service.send(&PRICES).await
}

/// Repeats a request until the store decides the limits.
async fn until_decided_by_store(service: &Instance) -> ClientResponse {
    let mut answer = None;
    let decides = async || {
        answer
            .insert(service.send(&PRICES).await)
            .has_limit_fields()
    };
    eventually("the store decides again", decides).await;
    answer.expect("the last response")
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_redis_is_paused() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    assert_eq!(until_decided_by_store(&service).await.status, 200);
    deployment.redis.pause();
    let rejected = send_21_requests(&service).await;
    rejected.assert_problem(429, "RATE_LIMITED", true);
    assert!(!rejected.has_limit_fields(), "{rejected:?}");
    deployment.redis.resume();
    // Redis executes the calls that arrived during the pause late, so these calls have taken tokens
    // too.
    let after = until_decided_by_store(&service).await;
    assert!([200, 429].contains(&after.status.as_u16()), "{after:?}");
    eventually("the log has the line", async || {
        service.log().contains("the rate limit store answers again")
    })
    .await;
}

#[tokio::test]
async fn b15_limits_are_decided_locally_while_redis_is_down() {
    let deployment = Deployment::start();
    let service = deployment.instance("a");
    until_decided_by_store(&service).await;
    deployment.redis.kill();
    send_21_requests(&service)
        .await
        .assert_problem(429, "RATE_LIMITED", true);
    deployment.redis.restart();
    let after = until_decided_by_store(&service).await;
    let remaining = after.header_number("x-ratelimit-remaining");
    assert!(
        after.status == 200 && (10..=18).contains(&remaining),
        "local decisions take no tokens of the store: {after:?}"
    );
}
