//! Hostile clients that open many connections, and use little of them. Each test prints the memory
//! of the service, and asserts a ceiling.

use core::time::Duration;
use std::net::SocketAddr;

use aplomb::testing::{Client, Process, Program, RedisServer, eventually};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::measure;

const KEY: &str = "sk_test_alice";

/// Starts a service with a store in memory.
fn service(settings: &[(&str, &str)]) -> Process {
    program(Program::new(env!("CARGO_BIN_EXE_aplomb-process-tests")))
        .envs(settings)
        .start()
}

fn program(program: Program) -> Program {
    program.envs(&[
        ("GATES", "/nonexistent"),
        ("RUNS", "/dev/null"),
        ("APLOMB_API_KEYS", "alice:sk_test_alice"),
        ("TOKIO_WORKER_THREADS", "2"),
    ])
}

fn memory(process: &Process) -> u64 {
    measure::memory(process.id(), "VmRSS")
}

/// Sends requests of an honest client over new connections, and returns their median time.
async fn median_of_gets(client: &Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let response = client.get("/v1/numbers").bearer(KEY).send().await;
        assert_eq!(response.status, 200);
        times.push(begun.elapsed());
    }
    measure::median(times)
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = timeout(Duration::from_secs(20), TcpStream::connect(address)).await;
    stream.expect("a connection in time").expect("a connection")
}

/// An HTTP/2 client that reads no data of any response, because its window is closed.
async fn closed_window(address: SocketAddr) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(0)
        .handshake::<_, Bytes>(connect(address).await)
        .await
        .expect("HTTP/2");
    let driving = tokio::spawn(async move {
        // An error is an end of the connection.
        let _ = connection.await;
    });
    (client, driving)
}

/// Opens a number of streams for this path, as far as the server allows them.
async fn open_streams(
    client: &SendRequest<Bytes>,
    path: &str,
    count: usize,
) -> Vec<impl Sized + use<>> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let Ok(Ok(mut ready)) = timeout(Duration::from_millis(50), client.clone().ready()).await
        else {
            break;
        };
        let request = http::Request::get(format!("http://x{path}"))
            .header("authorization", format!("Bearer {KEY}"))
            .body(())
            .expect("a request");
        let (response, _) = ready.send_request(request, true).expect("a stream");
        streams.push(tokio::spawn(response));
    }
    streams
}

/// The service before an attack: its memory in KiB, and the median time of an honest client.
struct Before {
    memory: u64,
    median: Duration,
}

impl Before {
    async fn measure(service: &Process) -> Self {
        // The first requests make allocations that remain.
        median_of_gets(&service.client()).await;
        Self {
            memory: memory(service),
            median: median_of_gets(&service.client()).await,
        }
    }

    /// Prints the effect of an attack, and returns the memory that one of its connections takes.
    async fn compare(&self, name: &str, service: &Process, connections: u64) -> u64 {
        let during = memory(service);
        let each = during.saturating_sub(self.memory) / connections;
        println!(
            "{name}: {} KiB before, {during} KiB with {connections} connections: {each} KiB each; \
             honest p50 {:?} before, {:?} during",
            self.memory,
            self.median,
            median_of_gets(&service.client()).await
        );
        each
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_before_its_end() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(service.address()).await;
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(400_000));
        // The service closes the connection after the first 64 KiB.
        let _ = stream.write_all(head.as_bytes()).await;
        connections.push(stream);
    }
    let each = before.compare("a head of 400 kB", &service, 200).await;
    assert!(each <= 80, "{each} KiB");
    for connection in &mut connections {
        let mut response = [0; 12];
        let read = connection.read_exact(&mut response).await;
        read.expect("a response, although the head was not read to its end");
        assert_eq!(&response, b"HTTP/1.1 431");
    }
}

#[tokio::test]
async fn an_unfinished_head_takes_at_most_80_kib() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    // With more connections, the other memory of the service has less effect.
    for _ in 0..500 {
        let mut stream = connect(service.address()).await;
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(63_000));
        stream
            .write_all(head.as_bytes())
            .await
            .expect("an open connection");
        connections.push(stream);
    }
    sleep(Duration::from_secs(1)).await;
    let each = before.compare("a head of 63 kB", &service, 500).await;
    assert!(each <= 80, "{each} KiB");
}

#[tokio::test]
async fn streams_with_a_closed_window_take_at_most_128_kib_a_connection() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    for _ in 0..50 {
        let (client, driving) = closed_window(service.address()).await;
        let streams = open_streams(&client, "/v1/numbers", 200).await;
        connections.push((client, driving, streams));
    }
    sleep(Duration::from_secs(1)).await;
    let streams: usize = connections
        .iter()
        .map(|(_, _, streams)| streams.len())
        .sum();
    assert!(streams > 50 * 24, "{streams} streams");
    let each = before.compare("closed windows", &service, 50).await;
    assert!(each <= 128, "{each} KiB");
}

#[tokio::test]
async fn lists_that_are_not_read_take_at_most_1_mib_a_connection() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        let (client, driving) = closed_window(service.address()).await;
        let streams = open_streams(&client, "/v1/catalog", 20).await;
        assert_eq!(streams.len(), 20);
        connections.push((client, driving, streams));
    }
    sleep(Duration::from_secs(1)).await;
    let each = before.compare("20 lists, HTTP/2", &service, 20).await;
    assert!(each <= 1024, "{each} KiB");
}

#[tokio::test]
async fn pipelined_lists_that_are_not_read_take_at_most_1_mib_a_connection() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(service.address()).await;
        let request =
            format!("GET /v1/catalog HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n");
        stream
            .write_all(request.repeat(20).as_bytes())
            .await
            .expect("an open connection");
        connections.push(stream);
    }
    sleep(Duration::from_secs(1)).await;
    let each = before.compare("20 lists, HTTP/1.1", &service, 20).await;
    assert!(each <= 1024, "{each} KiB");
}

#[tokio::test]
async fn many_idle_connections_do_not_shut_out_honest_clients() {
    let service = service(&[("APLOMB_MAX_CONNECTIONS", "100")]);
    let honest = service.client().without_reuse();
    let (before, memory_before) = (median_of_gets(&honest).await, memory(&service));
    let mut connections = Vec::new();
    for number in 0..500 {
        // More connections than the limit wait in the queue of the system.
        let mut stream = connect(service.address()).await;
        let begin = ["", "P", "GET / HTTP/1.1\r\nhost: x\r\n"][number % 3];
        stream
            .write_all(begin.as_bytes())
            .await
            .expect("an open connection");
        connections.push(stream);
    }
    let first = Instant::now();
    assert_eq!(
        honest.get("/v1/numbers").bearer(KEY).send().await.status,
        200
    );
    let first = first.elapsed();
    let during = median_of_gets(&honest).await;
    println!(
        "honest client: {before:?} before, {first:?} for the first request during, then {during:?}; \
         memory: {memory_before} KiB before, {} KiB during",
        memory(&service)
    );
    assert!(memory(&service) < memory_before + 20_000);
}

#[tokio::test]
async fn a_header_block_that_never_ends_takes_at_most_128_kib() {
    let service = service(&[]);
    let before = Before::measure(&service).await;
    let mut connections = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(service.address()).await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut frame = |kind: u8, stream: u8, payload: &[u8]| {
            let length = u32::try_from(payload.len()).expect("a small frame");
            bytes.extend_from_slice(&length.to_be_bytes()[1..]);
            bytes.extend_from_slice(&[kind, 0, 0, 0, 0, stream]);
            bytes.extend_from_slice(payload);
        };
        // SETTINGS, and HEADERS whose CONTINUATION frames never end.
        frame(4, 0, &[]);
        frame(1, 1, &[0x82; 16_000]);
        (0..25).for_each(|_| frame(9, 1, &[0x82; 16_000]));
        // The service closes the connection before it has read everything.
        let _ = stream.write_all(&bytes).await;
        connections.push(stream);
    }
    sleep(Duration::from_secs(1)).await;
    let each = before.compare("endless header blocks", &service, 50).await;
    assert!(each <= 128, "{each} KiB");
}

#[tokio::test]
async fn a_service_without_files_serves_its_open_connections_and_recovers() {
    // The service allows 15 connections, but only about 8 files are left for them.
    let limited = Program::new("sh").args([
        "-c",
        "ulimit -n 30 && exec \"$0\"",
        env!("CARGO_BIN_EXE_aplomb-process-tests"),
    ]);
    let service = program(limited).env("OPEN_FILES", "10").start();
    let reused = service.client();
    assert_eq!(
        reused.get("/v1/numbers").bearer(KEY).send().await.status,
        200
    );
    let mut connections = Vec::new();
    for _ in 0..40 {
        connections.push(connect(service.address()).await);
    }
    let log = "cannot accept connections";
    eventually("the service runs out of files", async || {
        service.stderr().contains(log)
    })
    .await;
    let honest = service.client().without_reuse();
    let response = honest.get("/v1/numbers").bearer(KEY).send().await;
    assert_eq!(response.status, 200, "idle connections are closed");
    drop(connections);
    median_of_gets(&honest).await;
}

#[tokio::test]
async fn clients_cannot_use_up_the_files_that_the_store_needs() {
    let redis = RedisServer::start();
    // The shell sets the hard limit as well, so that the service cannot raise it.
    let limited = Program::new("sh").args([
        "-c",
        "ulimit -n 200 && exec \"$0\"",
        env!("CARGO_BIN_EXE_aplomb-process-tests"),
    ]);
    let service = program(limited).env("APLOMB_STORE", redis.url()).start();
    let honest = service.client().without_reuse();
    let order = async |key: &str| {
        let order = honest
            .post("/v1/orders")
            .bearer(KEY)
            .idempotency_key(key)
            .json(r#"{"item":"tea"}"#);
        order.send().await
    };
    assert_eq!(order("first").await.status, 201);
    let mut connections = Vec::new();
    for _ in 0..400 {
        connections.push(connect(service.address()).await);
    }
    sleep(Duration::from_secs(1)).await;
    // The service has to connect to the store again.
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let end = Instant::now() + Duration::from_secs(20);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let response = order("second").await;
        if response.status == 201 {
            break;
        }
        assert_eq!(response.status, 503, "{response:?}");
        assert!(
            Instant::now() < end,
            "the store is not reached: {response:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
    println!("{attempts} attempts until the store was reached again");
}
