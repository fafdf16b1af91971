//! Tests of the server over real sockets, with short time limits.

use core::future::pending;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use bytes::Bytes;
use h2::client::SendRequest;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::accept::{ServerLimits, ShutdownOutcome, ShutdownSignals, serve_until};
use super::request_checks::RequestChecks;
use crate::client::{ForwardedField, Networks, TrustedProxies};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

const LIMITS: ServerLimits = ServerLimits {
    head: LONG,
    response: LONG,
    grace: LONG,
    connections: 100,
};

/// The state of the handlers.
#[derive(Debug, Clone)]
struct Counts {
    /// Handlers of `/held` that have begun.
    begun: Arc<AtomicUsize>,
    /// Handlers of `/held` that were dropped or have ended.
    ended: Arc<AtomicUsize>,
    /// Handlers of `/held` end if they get a permit.
    release: Arc<Semaphore>,
}

struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counts {
    async fn hold(self) -> &'static str {
        let _ended = Ended(self.ended);
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.release.acquire().await.expect("open").forget();
        "held"
    }

    async fn until(count: &AtomicUsize, expected: usize) {
        let reached = async {
            while count.load(Ordering::SeqCst) < expected {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, reached).await.expect("the expected count");
    }
}

const LIST: usize = 300_000;

struct Server {
    address: SocketAddr,
    counts: Counts,
    stop: oneshot::Sender<()>,
    task: JoinHandle<ShutdownOutcome>,
}

struct StopSignal(Option<oneshot::Receiver<()>>);

impl ShutdownSignals for StopSignal {
    async fn requested(&mut self) {
        match self.0.take() {
            Some(stopped) => drop(stopped.await),
            None => pending().await,
        }
    }
}

impl Server {
    async fn start(limits: ServerLimits) -> Self {
        Self::start_behind("", limits).await
    }

    async fn start_behind(proxies: &str, limits: ServerLimits) -> Self {
        let counts = Counts {
            begun: Arc::default(),
            ended: Arc::default(),
            release: Arc::new(Semaphore::new(0)),
        };
        let (held, lists) = (counts.clone(), counts.clone());
        let list = move || {
            lists.begun.fetch_add(1, Ordering::SeqCst);
            core::future::ready("x".repeat(LIST))
        };
        let slow_lists = counts.clone();
        let slow_list = move || {
            let begun = Arc::clone(&slow_lists.begun);
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
                "x".repeat(LIST)
            }
        };
        // Reads its body after the client has closed its side.
        let late = async |request: Request| {
            sleep(SHORT).await;
            request
                .into_body()
                .collect()
                .await
                .map_or(0, |body| body.to_bytes().len())
                .to_string()
        };
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/held", get(move || held.clone().hold()))
            .route("/list", get(list))
            .route("/slow-list", get(slow_list))
            .route("/late", post(late))
            .route("/large", get(|| async { "x".repeat(64 << 20) }))
            .route(
                "/body",
                post(|body: Bytes| async move { body.len().to_string() }),
            );
        let networks = Networks::new(proxies).expect("networks");
        let proxies = TrustedProxies::new(networks, ForwardedField::XForwardedFor);
        let checks = RequestChecks::new(String::from("urn:test:"), proxies, router);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let signal = StopSignal(Some(stopped));
            serve_until(listener, checks, signal, limits, &TaskTracker::new()).await
        });
        Self {
            address,
            counts,
            stop,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    /// Sends a request, and returns the connection.
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream
    }

    async fn http2(&self, window: u32) -> (SendRequest<Bytes>, JoinHandle<()>) {
        let stream = self.connect().await;
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(4 << 20)
            .handshake::<_, Bytes>(stream)
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(async move {
            // An error is an end of the connection.
            let _ = connection.await;
        });
        (client.ready().await.expect("ready"), connection)
    }

    async fn stop(self) -> ShutdownOutcome {
        self.stop.send(()).expect("a server that runs");
        self.task.await.expect("no panic")
    }
}

const HELLO: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const HELD: &str = "GET /held HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn http2_get(path: &str) -> http::Request<()> {
    let uri = format!("http://x{path}");
    http::Request::get(uri).body(()).expect("a request")
}

/// Reads until the end of the connection. A reset is an end.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(LONG, stream.read_to_end(&mut bytes))
        .await
        .expect("an end of the connection");
    String::from_utf8(bytes).expect("UTF-8")
}

/// Reads the response of `/`, which ends with its body.
async fn read_hello(stream: &mut TcpStream) {
    let mut text = String::new();
    while !text.ends_with("hello") {
        let mut part = [0; 1024];
        let read = timeout(LONG, stream.read(&mut part))
            .await
            .expect("a response");
        let count = read.expect("a response");
        assert!(count > 0, "closed after {text:?}");
        text.push_str(str::from_utf8(&part[..count]).expect("UTF-8"));
    }
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let limits = ServerLimits {
        connections: 3,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let mut idle = server.send(HELLO).await;
    read_hello(&mut idle).await;
    let mut silent = server.connect().await;
    let mut half = server.send("GET / HTTP/1.1\r\n").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = server.send(HELLO).await;
        read_hello(&mut stream).await;
        open.push(stream);
    }
    for (name, stream) in [
        ("idle", &mut idle),
        ("silent", &mut silent),
        ("half", &mut half),
    ] {
        assert_eq!(read_to_end(stream).await, "", "{name}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_while_all_others_are_in_use() {
    let limits = ServerLimits {
        connections: 2,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let mut held = [server.send(HELD).await, server.send(HELD).await];
    Counts::until(&server.counts.begun, 2).await;
    let mut third = server.send(HELLO).await;
    let early = timeout(Duration::from_millis(1500), third.readable()).await;
    assert!(early.is_err(), "all connections are in use");
    assert_eq!(server.counts.ended.load(Ordering::SeqCst), 0);
    server.counts.release.add_permits(2);
    for stream in &mut held {
        assert!(read_to_end(stream).await.ends_with("held"));
    }
    read_hello(&mut third).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let limits = ServerLimits {
        response: SHORT,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(SHORT * 5).await;
    assert!(read_to_end(&mut stream).await.len() < 64 << 20);
}

#[tokio::test]
async fn an_http2_client_that_only_answers_pings_is_disconnected() {
    let limits = ServerLimits {
        // The server sends a PING at this interval, and the client of h2 acknowledges it.
        head: SHORT / 4,
        response: SHORT,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    for path in ["/list", "/"] {
        let (mut client, mut connection) = server.http2(0).await;
        let (response, _) = client
            .send_request(http2_get(path), true)
            .expect("a stream");
        let response = response.await.expect("the head of the response");
        assert_eq!(response.status(), StatusCode::OK);
        timeout(LONG, &mut connection)
            .await
            .expect("an end of the connection")
            .expect("no panic");
    }
}

#[tokio::test]
async fn a_small_response_that_is_partly_sent_is_not_idle() {
    let limits = ServerLimits {
        connections: 1,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let (mut client, _connection) = server.http2(1).await;
    let (response, _) = client.send_request(http2_get("/"), true).expect("a stream");
    let mut body = response.await.expect("a response").into_body();
    // Another client waits for the only connection.
    let _other = server.connect().await;
    sleep(Duration::from_millis(1500)).await;
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("the rest of the response");
        text.extend_from_slice(&data);
        body.flow_control()
            .release_capacity(data.len())
            .expect("open");
    }
    assert_eq!(text, b"hello");
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_disconnected() {
    let limits = ServerLimits {
        response: SHORT,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let (mut client, _connection) = server.http2(16 << 10).await;
    let (response, _) = client
        .send_request(http2_get("/list"), true)
        .expect("a stream");
    let mut body = response.await.expect("a response").into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let count = data.expect("data").len();
        length += count;
        if length % (16 << 10) == 0 {
            // The whole list takes five times the limit.
            sleep(SHORT / 4).await;
        }
        body.flow_control().release_capacity(count).expect("open");
    }
    assert_eq!(length, LIST);
}

#[tokio::test]
async fn a_client_that_reads_slowly_over_http1_is_not_disconnected() {
    let limits = ServerLimits {
        response: SHORT * 2,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(16 << 10)
        .expect("a small buffer");
    let mut stream = socket.connect(server.address).await.expect("a connection");
    let request = "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let begun = Instant::now();
    let mut part = vec![0; 64 << 10];
    while begun.elapsed() < SHORT * 20 {
        stream.read_exact(&mut part).await.expect("more data");
        sleep(SHORT / 4).await;
    }
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let limits = ServerLimits {
        head: SHORT,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    // The h2 client acknowledges each PING.
    let (client, connection) = server.http2(1 << 16).await;
    timeout(LONG, connection)
        .await
        .expect("an end of the connection")
        .expect("no panic");
    drop(client);
}

#[tokio::test]
async fn an_http2_connection_with_a_running_request_is_not_idle() {
    let limits = ServerLimits {
        head: SHORT,
        ..LIMITS
    };
    let server = Server::start(limits).await;
    let (mut client, _connection) = server.http2(1 << 16).await;
    let (response, _) = client
        .send_request(http2_get("/held"), true)
        .expect("a stream");
    Counts::until(&server.counts.begun, 1).await;
    sleep(SHORT * 3).await;
    server.counts.release.add_permits(1);
    assert_eq!(response.await.expect("a response").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_half_closed_connection_gets_its_response() {
    let server = Server::start(LIMITS).await;
    for (version, interim) in [("1.1", "HTTP/1.1 100 Continue\r\n\r\n"), ("1.0", "")] {
        let mut stream = server
            .send(&format!("GET /held HTTP/{version}\r\nhost: x\r\n\r\n"))
            .await;
        stream.shutdown().await.expect("open");
        sleep(SHORT).await;
        server.counts.release.add_permits(1);
        let text = read_to_end(&mut stream).await;
        let expected = format!("{interim}HTTP/{version} 200 OK\r\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.ends_with("held"), "{text}");
    }
    let request = "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nwhole";
    let mut stream = server.send(request).await;
    stream.shutdown().await.expect("open");
    assert!(read_to_end(&mut stream).await.ends_with("\r\n\r\n5"));
    let chunked = "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    let mut stream = server.send(chunked).await;
    stream.shutdown().await.expect("open");
    assert!(read_to_end(&mut stream).await.ends_with("\r\n\r\n5"));
}

#[tokio::test]
async fn a_half_closed_connection_gets_the_response_of_a_handler_that_reads_late() {
    let server = Server::start(LIMITS).await;
    let request = "POST /late HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nwhole";
    let mut stream = server.send(request).await;
    stream.shutdown().await.expect("open");
    let text = read_to_end(&mut stream).await;
    assert!(text.ends_with("\r\n\r\n5"), "{text}");
}

#[tokio::test]
async fn a_client_that_sends_more_than_is_read_gets_the_response() {
    let server = Server::start(LIMITS).await;
    // The first request is complete. The head of the second is too large for hyper.
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(4 << 20));
    for first in ["", HELLO] {
        let mut stream = server.send(first).await;
        if !first.is_empty() {
            read_hello(&mut stream).await;
        }
        stream
            .write_all(head.as_bytes())
            .await
            .expect("the server reads");
        let text = read_to_end(&mut stream).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }
}

#[tokio::test]
async fn a_large_response_is_complete_on_a_half_closed_connection() {
    let server = Server::start(LIMITS).await;
    let mut stream = server.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    stream.shutdown().await.expect("open");
    sleep(SHORT).await;
    assert!(read_to_end(&mut stream).await.len() > 64 << 20);
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_its_handler() {
    let server = Server::start(LIMITS).await;
    let stream = server.send(HELD).await;
    Counts::until(&server.counts.begun, 1).await;
    drop(stream);
    Counts::until(&server.counts.ended, 1).await;
}

#[tokio::test]
async fn a_body_that_ends_early_on_a_half_closed_connection_is_not_waited_for() {
    let server = Server::start(LIMITS).await;
    let request = "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhal";
    let mut stream = server.send(request).await;
    stream.shutdown().await.expect("open");
    let text = read_to_end(&mut stream).await;
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 400 "),
        "{text}"
    );
}

#[tokio::test]
async fn connections_in_the_accept_queue_get_responses_at_shutdown() {
    let server = Server::start(LIMITS).await;
    // The server runs on the thread of this test, so that it cannot accept these connections yet.
    let mut waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(server.address).expect("a connection");
            stream.write_all(HELLO.as_bytes()).expect("sent");
            stream
        })
        .collect();
    assert_eq!(server.stop().await, ShutdownOutcome::Finished);
    for stream in &mut waiting {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("a response");
        assert!(text.ends_with("hello"), "{text:?}");
    }
}

/// Requests 20 lists over one connection, and reads none of them. Returns the number of lists whose
/// handlers have begun.
async fn lists_of_a_client_that_does_not_read(server: &Server, path: &str) -> usize {
    let (mut client, _connection) = server.http2(0).await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        client = client.ready().await.expect("ready");
        let (response, _) = client
            .send_request(http2_get(path), true)
            .expect("a stream");
        responses.push(response);
    }
    sleep(SHORT).await;
    server.counts.begun.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_that_a_client_does_not_read_take_little_memory() {
    for path in ["/list", "/slow-list"] {
        let server = Server::start(LIMITS).await;
        let made = lists_of_a_client_that_does_not_read(&server, path).await;
        assert!((1..=2).contains(&made), "{path}: {made} lists of 300 kB");
    }
}

#[tokio::test]
async fn requests_of_a_trusted_proxy_do_not_wait_for_each_other() {
    let server = Server::start_behind("127.0.0.1", LIMITS).await;
    let made = lists_of_a_client_that_does_not_read(&server, "/slow-list").await;
    assert_eq!(made, 20);
}

#[tokio::test]
async fn a_request_of_a_client_that_does_not_read_is_a_503() {
    let server = Server::start(LIMITS).await;
    let (mut client, _connection) = server.http2(0).await;
    let mut responses = Vec::new();
    for path in ["/list", "/list", "/"] {
        client = client.ready().await.expect("ready");
        let (response, _) = client
            .send_request(http2_get(path), true)
            .expect("a stream");
        responses.push(response.await.expect("a response"));
    }
    let statuses = responses.iter().map(|response| response.status().as_u16());
    assert_eq!(statuses.collect::<Vec<_>>(), [200, 200, 503]);
}

#[tokio::test]
async fn a_slow_handler_does_not_block_other_requests_of_its_connection() {
    let server = Server::start(LIMITS).await;
    let (mut client, _connection) = server.http2(1 << 20).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        client = client.ready().await.expect("ready");
        let (response, _) = client
            .send_request(http2_get("/held"), true)
            .expect("a stream");
        held.push(response);
    }
    client = client.ready().await.expect("ready");
    let (hello, _) = client.send_request(http2_get("/"), true).expect("a stream");
    let response = timeout(Duration::from_secs(5), hello)
        .await
        .expect("in time");
    assert_eq!(response.expect("a response").status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_that_wait_for_room_run_when_the_client_reads() {
    let server = Server::start(LIMITS).await;
    let (mut client, _connection) = server.http2(1 << 16).await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        client = client.ready().await.expect("ready");
        let (response, _) = client
            .send_request(http2_get("/list"), true)
            .expect("a stream");
        responses.push(response);
    }
    for response in responses {
        let mut body = timeout(LONG, response)
            .await
            .expect("a response in time")
            .expect("a response")
            .into_body();
        let mut length = 0;
        while let Some(data) = timeout(LONG, body.data()).await.expect("data in time") {
            let count = data.expect("data").len();
            length += count;
            body.flow_control().release_capacity(count).expect("open");
        }
        assert_eq!(length, LIST);
    }
    assert_eq!(server.counts.begun.load(Ordering::SeqCst), 20);
}
