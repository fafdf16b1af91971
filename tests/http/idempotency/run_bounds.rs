//! The bounds of simultaneous runs, for the process and for one caller.

use core::sync::atomic::{AtomicUsize, Ordering};

use aplomb::testing::RawConnection;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, client};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

/// Has an effect after the test has released it.
#[endpoint(post = "/held", public, idempotent(anonymous))]
async fn held(State(app): State<App>) {
    app.hold().await;
    app.effect();
}

/// Panics after the test has released it.
#[endpoint(post = "/panicking", idempotent)]
async fn panicking(State(app): State<App>) {
    app.hold().await;
    panic!("as requested");
}

/// Is held past its deadline.
#[endpoint(post = "/late", idempotent, timeout = "50ms")]
async fn late(State(app): State<App>) {
    app.hold().await;
    app.effect();
}

/// Has an effect at once.
#[endpoint(post = "/quick", idempotent)]
async fn quick(State(app): State<App>) {
    app.effect();
}

/// Has an effect at once, two times an hour.
#[endpoint(post = "/limited", idempotent, rate_limit("2/hour"))]
async fn limited(State(app): State<App>) {
    app.effect();
}

/// Counts an effect when it is cancelled.
#[endpoint(post = "/cancelled", public, not_idempotent = "nothing is stored")]
async fn cancelled(State(app): State<App>) {
    struct Cancelled(App);

    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.effect();
        }
    }

    let _cancelled = Cancelled(app.clone());
    app.hold().await;
}

/// Starts a service with these bounds.
async fn service(max_runs: u32, max_runs_per_caller: u32) -> TestService {
    let routes = aplomb::routes![held, panicking, late, quick, limited, cancelled];
    TestService::start_with(routes, |api| {
        api.max_runs(max_runs)
            .max_runs_per_caller(max_runs_per_caller)
    })
    .await
}

fn post(service: &TestService, path: &str, token: &str, key: &str) -> ClientRequest {
    let request = service.client.post(path).bearer(token);
    request.idempotency_key(key)
}

/// Sends a request, and returns when its handler is held.
async fn hold(
    service: &TestService,
    path: &str,
    token: &str,
    key: &str,
) -> JoinHandle<ClientResponse> {
    let response = tokio::spawn(post(service, path, token, key).send());
    service.app.until_held().await;
    response
}

#[track_caller]
fn assert_overloaded(response: &ClientResponse) {
    let problem = response.problem(503, "OVERLOADED");
    assert_eq!(problem["retryable"], true, "{problem}");
    let wait = response.header("retry-after").expect("Retry-After");
    assert!(["1", "2", "3"].contains(&wait), "{wait}");
}

/// Sends a quick request of Alice, with a new key each time.
async fn quick_status(service: &TestService) -> u16 {
    static NEXT_KEY: AtomicUsize = AtomicUsize::new(0);
    let key = format!("quick-{}", NEXT_KEY.fetch_add(1, Ordering::SeqCst));
    let response = post(service, "/quick", ALICE, &key).send().await;
    if response.status != 200 {
        assert_overloaded(&response);
    }
    response.status.as_u16()
}

#[tokio::test]
async fn a11_the_next_run_of_a_caller_at_its_bound_is_a_503_and_another_caller_runs() {
    let service = service(10, 2).await;
    let first = hold(&service, "/held", ALICE, "a").await;
    let second = hold(&service, "/held", ALICE, "b").await;
    // A new key, a key in flight, and another endpoint.
    for (path, key) in [("/held", "c"), ("/held", "a"), ("/quick", "c")] {
        assert_overloaded(&post(&service, path, ALICE, key).send().await);
    }
    let other = hold(&service, "/held", BOB, "a").await;
    assert_eq!(service.app.effects(), 0, "no refused request runs");
    for run in [first, second, other] {
        service.app.release();
        assert_eq!(run.await.expect("a response").status, 200);
    }
    let again = post(&service, "/held", ALICE, "a").send().await;
    assert!(again.status == 200 && again.replayed());
    let first = post(&service, "/quick", ALICE, "c").send().await;
    assert!(
        first.status == 200 && !first.replayed(),
        "nothing was stored for the refused request: {first:?}"
    );
}

#[tokio::test]
async fn a11_beyond_the_bound_of_the_process_every_caller_gets_a_503() {
    let service = service(2, 2).await;
    let runs = [
        hold(&service, "/held", ALICE, "a").await,
        hold(&service, "/held", BOB, "a").await,
    ];
    for token in [ALICE, BOB] {
        assert_overloaded(&post(&service, "/held", token, "b").send().await);
    }
    let anonymous = service.client.post("/held").idempotency_key(UUID);
    assert_overloaded(&anonymous.send().await);
    for run in runs {
        service.app.release();
        assert_eq!(run.await.expect("a response").status, 200);
    }
    assert_eq!(quick_status(&service).await, 200);
}

#[tokio::test]
async fn a11_requests_without_a_caller_count_by_client_address() {
    let service = service(10, 1).await;
    let post = |key: &str| service.client.post("/held").idempotency_key(key).send();
    let run = tokio::spawn(post(UUID));
    service.app.until_held().await;
    let other_key = UUID.replace('8', "9");
    assert_overloaded(&post(&other_key).await);
    assert_eq!(quick_status(&service).await, 200, "Alice has no run");
    service.app.release();
    assert_eq!(run.await.expect("a response").status, 200);
}

/// Returns a request over HTTP/2.
fn http2_request(path: &str, key: Option<&str>) -> http::Request<()> {
    let request = http::Request::post(format!("http://x{path}"));
    let request = match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    let request = request.header("authorization", format!("Bearer {ALICE}"));
    request.body(()).expect("a request")
}

async fn http2(service: &TestService) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(service.server.address()).await;
    let handshake = client::handshake(stream.expect("a connection")).await;
    let (requests, connection) = handshake.expect("a handshake");
    tokio::spawn(connection);
    requests
}

#[tokio::test]
async fn a11_streams_of_one_http2_connection_count_against_the_bound_of_their_caller() {
    let service = service(10, 2).await;
    let mut requests = http2(&service).await;
    let mut runs = Vec::new();
    for key in ["a", "b"] {
        let request = http2_request("/held", Some(key));
        runs.push(requests.send_request(request, true).expect("a stream").0);
        service.app.until_held().await;
    }
    let next = requests.send_request(http2_request("/held", Some("c")), true);
    let refused = next.expect("a stream").0.await.expect("a response");
    assert_eq!(refused.status(), 503);
    for run in runs {
        service.app.release();
        assert_eq!(run.await.expect("a response").status(), 200);
    }
}

/// Checks that a run without a client counts, and that its permit is free after its end. The held
/// handler of the run is the only one.
async fn assert_counts_until_its_end(service: &TestService) {
    let effects = service.app.effects();
    assert_eq!(quick_status(service).await, 503);
    service.app.release();
    let is_free = async || quick_status(service).await == 200;
    eventually("the permit is free", is_free).await;
    let own = service.app.effects() - effects;
    assert_eq!(own, 2, "one effect of the run and one of the quick request");
}

#[tokio::test]
async fn a11_a_run_whose_http2_stream_was_reset_counts_until_its_end() {
    let service = service(10, 1).await;
    let mut requests = http2(&service).await;
    let mut streams = Vec::new();
    for (path, key) in [("/held", Some("a")), ("/cancelled", None)] {
        let request = http2_request(path, key);
        streams.push(requests.send_request(request, true).expect("a stream"));
        service.app.until_held().await;
    }
    // The server handles resets in order. When the effect of the cancelled handler is visible, the
    // server has also handled the earlier reset of the run.
    for (_, stream) in &mut streams {
        stream.send_reset(Reason::CANCEL);
    }
    eventually("the cancelled handler is dropped", async || {
        service.app.effects() > 0
    })
    .await;
    assert_counts_until_its_end(&service).await;
}

#[tokio::test]
async fn a11_a_run_whose_http1_connection_was_closed_counts_until_its_end() {
    let service = service(10, 1).await;
    let mut connections = Vec::new();
    for (path, key) in [("held", "idempotency-key: a\r\n"), ("cancelled", "")] {
        let mut raw = service.client.raw().await;
        raw.write(&format!(
            "POST /{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n{key}\r\n"
        ))
        .await;
        service.app.until_held().await;
        connections.push(raw);
    }
    // The server handles disconnects in order, as in the test above.
    connections.into_iter().for_each(drop);
    eventually("the cancelled handler is dropped", async || {
        service.app.effects() > 0
    })
    .await;
    assert_counts_until_its_end(&service).await;
}

#[tokio::test]
async fn a11_a_run_past_its_deadline_counts_until_its_end() {
    let service = service(10, 1).await;
    let late = hold(&service, "/late", ALICE, "a").await;
    assert_eq!(late.await.expect("a response").status, 504);
    assert_counts_until_its_end(&service).await;
}

#[tokio::test]
async fn a11_a_handler_that_panics_frees_its_permit() {
    let service = service(1, 1).await;
    for key in ["a", "b"] {
        let run = hold(&service, "/panicking", ALICE, key).await;
        assert_eq!(quick_status(&service).await, 503);
        service.app.release();
        assert_eq!(run.await.expect("a response").status, 500);
    }
    assert_eq!(quick_status(&service).await, 200);
}

#[tokio::test]
async fn a11_a_refused_run_takes_no_tokens_of_rate_limits() {
    let service = service(10, 1).await;
    let run = hold(&service, "/held", ALICE, "a").await;
    let limited = |key: &str, length: usize| {
        let request = post(&service, "/limited", ALICE, key);
        request.body("x".repeat(length)).send()
    };
    for length in [0, 1_000, 100_000] {
        assert_overloaded(&limited("b", length).await);
    }
    service.app.release();
    assert_eq!(run.await.expect("a response").status, 200);
    for (key, length) in [("c", 1_000), ("d", 100_000)] {
        assert_eq!(limited(key, length).await.status, 200, "{key}");
    }
    limited("e", 0).await.problem(429, "RATE_LIMITED");
}

/// Begins a chunked upload of Alice, and returns when the server reads its body.
async fn begin_upload(service: &TestService, path: &str) -> RawConnection {
    let mut raw = service.client.raw().await;
    raw.write(&format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\
         idempotency-key: upload\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    ))
    .await;
    let response = raw.response().await;
    assert!(response.starts_with("HTTP/1.1 100"), "{response}");
    raw
}

#[tokio::test]
async fn a11_an_upload_holds_no_permit() {
    let service = service(10, 1).await;
    let mut upload = begin_upload(&service, "/quick").await;
    assert_eq!(quick_status(&service).await, 200);
    let run = hold(&service, "/held", ALICE, "a").await;
    upload.write("1\r\nx\r\n0\r\n\r\n").await;
    let response = upload.response().await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    service.app.release();
    assert_eq!(run.await.expect("a response").status, 200);
}

#[tokio::test]
async fn a11_an_upload_that_has_taken_tokens_is_never_refused_by_a_bound() {
    let service = service(10, 1).await;
    let mut upload = begin_upload(&service, "/limited").await;
    assert_eq!(quick_status(&service).await, 503);
    upload.write("1\r\nx\r\n0\r\n\r\n").await;
    let response = upload.response().await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(quick_status(&service).await, 200);
    // A client that stops its upload frees the permit.
    drop(begin_upload(&service, "/limited").await);
    let is_free = async || quick_status(&service).await == 200;
    eventually("the permit is free", is_free).await;
}

#[tokio::test]
async fn a11_beyond_a_bound_a_body_is_not_read() {
    let service = service(1, 1).await;
    let run = hold(&service, "/held", ALICE, "a").await;
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut raw = service.client.raw().await;
        raw.write(&format!(
            "POST /quick HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\
             idempotency-key: b\r\nexpect: 100-continue\r\n{framing}\r\n\r\n"
        ))
        .await;
        let response = raw.response().await;
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    }
    service.app.release();
    assert_eq!(run.await.expect("a response").status, 200);
}
