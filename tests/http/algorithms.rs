//! The behaviour of each algorithm of a rate limit, as clients see it.

use core::time::Duration;

use aplomb::prelude::*;
use aplomb::routes;
use aplomb::testing::ClientResponse;
use axum::body::Bytes;
use tokio::time::{Instant, sleep};

use crate::app::{ALICE, App, BOB, TestService};

/// Admits one request every 50 ms, and queues up to four.
#[endpoint(get = "/shaped", rate_limit("20/s", burst = 4, algorithm = leaky_bucket))]
async fn shaped() {}

/// Admits one request per second. A request whose queue delay passes the deadline is rejected.
#[endpoint(get = "/hasty", timeout = "1500ms", rate_limit("60/min", algorithm = leaky_bucket))]
async fn hasty() {}

/// Queues requests with an idempotency key.
#[endpoint(post = "/paid", idempotent, rate_limit("10/s", burst = 3, algorithm = leaky_bucket))]
async fn paid(State(app): State<App>) -> Json<usize> {
    Json(app.effect())
}

/// Admits one request per second, and reads a large body after the limits have decided.
#[endpoint(post = "/large", idempotent, timeout = "1500ms", rate_limit("60/min", algorithm = leaky_bucket))]
async fn large(body: Bytes) -> String {
    body.len().to_string()
}

/// Has a shadow limit, so requests do not wait in its queue.
#[endpoint(get = "/shadow", rate_limit("1/hour", burst = 5, algorithm = leaky_bucket, shadow))]
async fn with_shadow_limit() {}

/// Admits three requests in each minute of the clock.
#[endpoint(get = "/fixed", rate_limit("3/min", algorithm = fixed_window))]
async fn fixed() {}

/// Admits three requests in any minute.
#[endpoint(get = "/sliding", rate_limit("3/min", algorithm = sliding_window))]
async fn sliding() {}

async fn service() -> TestService {
    TestService::start(routes![
        shaped,
        hasty,
        paid,
        large,
        with_shadow_limit,
        fixed,
        sliding
    ])
    .await
}

async fn get(service: &TestService, path: &str, key: &str) -> ClientResponse {
    service.client.get(path).bearer(key).send().await
}

#[tokio::test]
async fn b01_requests_of_a_leaky_bucket_are_queued() {
    let service = service().await;
    let started = Instant::now();
    let send = || get(&service, "/shaped", ALICE);
    let replies: [ClientResponse; 6] =
        tokio::join!(send(), send(), send(), send(), send(), send()).into();
    let admitted = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(admitted, 4);
    // The test clock does not advance, so the fourth request waits for three intervals of 50 ms.
    assert!(
        started.elapsed() >= Duration::from_millis(150),
        "{:?}",
        started.elapsed()
    );
    let rejected = replies
        .iter()
        .find(|reply| reply.status == 429)
        .expect("the queue is full");
    assert_eq!(
        (
            rejected.header_number("x-ratelimit-limit"),
            rejected.header_number("x-ratelimit-remaining")
        ),
        (4, 0)
    );
    assert_eq!(rejected.header_number("retry-after"), 1);
}

#[tokio::test]
async fn b01_a_request_whose_queue_delay_passes_the_deadline_is_a_429() {
    let service = service().await;
    assert_eq!(get(&service, "/hasty", ALICE).await.status, 200);
    assert_eq!(
        get(&service, "/hasty", ALICE).await.status,
        200,
        "the queue delay is one second"
    );
    let rejected = get(&service, "/hasty", ALICE).await;
    rejected.problem(429, "RATE_LIMITED");
    assert_eq!(
        rejected.header_number("x-ratelimit-remaining"),
        58,
        "the queue is not full"
    );
    assert_eq!(rejected.header_number("retry-after"), 1);
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(get(&service, "/hasty", ALICE).await.status, 200);
}

#[tokio::test]
async fn b01_the_queue_delay_passes_while_the_body_arrives() {
    let service = service().await;
    let first = service
        .client
        .post("/large")
        .bearer(ALICE)
        .idempotency_key("k-1")
        .body("a")
        .send()
        .await;
    assert_eq!(first.status, 200);
    let body = "a".repeat(70_000);
    let mut connection = service.client.raw().await;
    let head = format!(
        "POST /large HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {ALICE}\r\nidempotency-key: k-2\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.write(&head).await;
    // Most of the queue delay of 1 s passes before the body arrives. If the delay began only after
    // the body, the response would miss the deadline of 1.5 s.
    sleep(Duration::from_millis(900)).await;
    connection.write(&body).await;
    let response = connection.response().await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn b01_runs_and_replays_are_queued() {
    let service = service().await;
    let pay = || {
        service
            .client
            .post("/paid")
            .bearer(ALICE)
            .idempotency_key("k-1")
            .send()
    };
    let started = Instant::now();
    for _ in 0..3 {
        let reply = pay().await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, 0.into()));
    }
    assert!(
        started.elapsed() >= Duration::from_millis(300),
        "{:?}",
        started.elapsed()
    );
    pay().await.problem(429, "RATE_LIMITED");
    assert_eq!(service.app.effects(), 1);
}

#[tokio::test]
async fn b17_requests_do_not_wait_in_the_queue_of_a_shadow_limit() {
    let service = service().await;
    for _ in 0..7 {
        assert_eq!(
            get(&service, "/shadow", ALICE).await.status,
            200,
            "a queue delay of an hour would miss the deadline"
        );
    }
}

#[tokio::test]
async fn b01_a_fixed_window_starts_at_the_full_minute() {
    let service = service().await;
    service.clock.advance(Duration::from_secs(50));
    for remaining in [2, 1, 0] {
        let reply = get(&service, "/fixed", ALICE).await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.header_number("x-ratelimit-remaining")
            ),
            (200, remaining)
        );
        assert_eq!(
            reply.header("ratelimit-policy"),
            Some("\"default\";q=3;w=60")
        );
    }
    let rejected = get(&service, "/fixed", ALICE).await;
    assert_eq!(
        (
            rejected.status.as_u16(),
            rejected.header_number("retry-after")
        ),
        (429, 10)
    );
    assert_eq!(get(&service, "/fixed", BOB).await.status, 200);
    service.clock.advance(Duration::from_secs(10));
    assert_eq!(
        get(&service, "/fixed", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
}

#[tokio::test]
async fn b01_a_sliding_window_counts_the_last_minute() {
    let service = service().await;
    service.clock.advance(Duration::from_secs(50));
    assert_eq!(
        get(&service, "/sliding", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        2
    );
    service.clock.advance(Duration::from_secs(20));
    assert_eq!(get(&service, "/sliding", ALICE).await.status, 200);
    assert_eq!(get(&service, "/sliding", ALICE).await.status, 200);
    let rejected = get(&service, "/sliding", ALICE).await;
    assert_eq!(
        (
            rejected.status.as_u16(),
            rejected.header_number("retry-after")
        ),
        (429, 40)
    );
    service.clock.advance(Duration::from_secs(40));
    assert_eq!(
        get(&service, "/sliding", ALICE)
            .await
            .header_number("x-ratelimit-remaining"),
        0
    );
}
