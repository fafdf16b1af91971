//! Hostile clients that each send most of a large body and then wait.

use core::time::Duration;
use std::net::SocketAddr;

use aplomb::testing::Client;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::instance::Settings;
use crate::measure::median;

/// The number of hostile connections.
const CONNECTIONS: usize = 500;
/// The announced length of each hostile body.
const ANNOUNCED: usize = 1_000_000;
/// The number of bytes of each hostile body that are sent.
const SENT: usize = 999_000;
/// The longest time of a hostile connection.
const HOSTILE_TIME: Duration = Duration::from_secs(30);
/// The memory for bodies of the service, in KiB.
const BODY_MEMORY: u64 = 64 << 10;
/// The most memory that each connection uses apart from the counted bytes of its body, in KiB: the
/// 16 KiB that are not counted, the read buffer of hyper (64 KiB), and a margin for the state of the
/// request and for the fragmentation of the heap.
const PER_CONNECTION: u64 = 16 + 64 + 128;
/// The most memory that the service may use in addition to its memory before the attack, in KiB.
const CEILING: u64 = BODY_MEMORY + CONNECTIONS as u64 * PER_CONNECTION;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_large_bodies_take_bounded_memory_and_small_bodies_pass() {
    let directory = TempDir::with_prefix("aplomb-faults-").expect("a temporary directory");
    let memory = format!("{BODY_MEMORY}KiB");
    let service = Settings::new(directory.path(), "a")
        .with(&[("APLOMB_BODY_MEMORY", &memory)])
        .start();
    let client = Client::new(service.client.address());
    let mut before = Vec::new();
    for _ in 0..200 {
        before.push(post_small_body(&client).await);
    }
    let idle = service.memory("VmRSS");

    let attack = attack(client.address());
    let mut during = Vec::new();
    while !attack.is_finished() {
        during.push(post_small_body(&client).await);
    }
    let responses = attack.await.expect("no panic");
    let is_overload = |response: &&String| response.contains("\"code\":\"OVERLOADED\"");
    let refused = responses.iter().filter(is_overload).count();
    let (after, peak) = (service.memory("VmRSS"), service.memory("VmHWM"));
    println!(
        "{CONNECTIONS} incomplete bodies of {SENT} bytes, {refused} refused. VmRSS {idle} KiB before, \
         {after} KiB after; VmHWM {peak} KiB. p50 of {} small bodies {:?} before, of {} {:?} during",
        before.len(),
        median(before.clone()),
        during.len(),
        median(during),
    );
    assert!(refused > CONNECTIONS / 2, "{refused} refused");
    assert!(
        peak < idle + CEILING,
        "VmHWM {peak} KiB, before {idle} KiB, allowed increase {CEILING} KiB"
    );
}

/// Sends a small body, and returns the time until its response.
async fn post_small_body(client: &Client) -> Duration {
    let begun = Instant::now();
    let post = client.post("/v1/uploads").bearer("sk_test_alice");
    let response = post.body("x".repeat(1_000)).send().await;
    assert_eq!(response.status, 200, "{response:?}");
    begun.elapsed()
}

/// Opens the hostile connections, and returns their responses. A connection without a response has
/// an empty one.
fn attack(address: SocketAddr) -> JoinHandle<Vec<String>> {
    let connection = move |number| async move {
        let sent = timeout(HOSTILE_TIME, send_incomplete_body(address, number));
        sent.await.unwrap_or_default()
    };
    let connections: JoinSet<_> = (0..CONNECTIONS).map(connection).collect();
    tokio::spawn(connections.join_all())
}

/// Sends most of a body, and returns the response after the service has closed the connection. Half
/// of the requests have a key.
async fn send_incomplete_body(address: SocketAddr, number: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let path = ["/v1/uploads", "/v1/orders"][number % 2];
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_test_alice\r\n\
         idempotency-key: hostile-{number}\r\ncontent-type: application/json\r\n\
         content-length: {ANNOUNCED}\r\n\r\n"
    );
    let mut response = Vec::new();
    // An error means that the service has closed the connection. The response is still readable.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&vec![b'x'; SENT]).await;
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}
