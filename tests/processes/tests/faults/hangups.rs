//! A hostile client that sends requests with idempotency keys and hangs up, again and again.
//!
//! Each test prints the memory of the service, and the median duration of an honest client's
//! requests before and during the attack. `--no-capture` shows these lines.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;

use aplomb::testing::{Client, eventually};
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::Request;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::instance::{Instance, Settings};
use crate::measure::median;

/// The bound of one caller. It is half of a round, so that each round exceeds it on a slow machine
/// as well.
const MAX_RUNS_PER_CALLER: usize = ROUND / 2;

/// The most memory that the service may use, in KiB. Its debug build uses about 12 MiB before an
/// attack, and 50 runs use 7 MiB. Without bounds, the attack over HTTP/2 took more
/// than 100 MiB.
const MAX_MEMORY: u64 = 64 << 10;

/// The requests of one round of an attack.
const ROUND: usize = 100;

/// The time between the requests of a round and its hang-up. It is a part of the attack.
const HANG_UP_AFTER: Duration = Duration::from_millis(10);

/// The longest time of an attack.
const ATTACK: Duration = Duration::from_secs(5);

/// The service, with records in memory.
fn start(directory: &Path) -> Instance {
    let keys = format!("mallory:{MALLORY},bob:{BOB}");
    let bound = MAX_RUNS_PER_CALLER.to_string();
    Settings::new(directory, "a")
        .with(&[
            ("APLOMB_API_KEYS", &keys),
            ("APLOMB_MAX_RUNS_PER_CALLER", &bound),
        ])
        .start()
}

const MALLORY: &str = "sk_test_mallory";
const BOB: &str = "sk_test_bob";

/// The requests of an attack, and those that were refused before the client hung up.
#[derive(Debug, Default)]
struct Attack {
    requests: usize,
    refused: usize,
}

/// The HTTP/2 connections of an attack. Each can have 24 streams, so a round needs several.
const CONNECTIONS: usize = 5;

/// Sends rounds of requests over HTTP/2 connections, and resets the streams of each round. Opens
/// other connections only after the service has closed one.
async fn attack_over_http2(address: SocketAddr) -> Attack {
    let (mut attack, end) = (Attack::default(), Instant::now() + ATTACK);
    while Instant::now() < end {
        let (mut clients, mut driving) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let handshake = h2::client::handshake(stream).await;
            let (client, connection) = handshake.expect("a handshake");
            driving.spawn(connection);
            clients.push(client);
        }
        while Instant::now() < end && attack_once(&mut clients, &mut attack).await.is_ok() {}
        driving.abort_all();
    }
    attack
}

/// Sends the requests of one round, waits, and resets their streams.
async fn attack_once(
    clients: &mut [SendRequest<Bytes>],
    attack: &mut Attack,
) -> Result<(), h2::Error> {
    let mut streams = Vec::new();
    for number in 0..ROUND {
        let client = &mut clients[number % CONNECTIONS];
        poll_fn(|context| client.poll_ready(context)).await?;
        let request = Request::post("http://x/v1/parcels")
            .header("authorization", format!("Bearer {MALLORY}"))
            .header("idempotency-key", format!("key-{}", attack.requests))
            .body(())
            .expect("a request");
        streams.push(client.send_request(request, true)?);
        attack.requests += 1;
    }
    sleep(HANG_UP_AFTER).await;
    for (response, mut stream) in streams {
        if let Ok(Ok(response)) = timeout(Duration::ZERO, response).await {
            attack.refused += usize::from(response.status() == 503);
        }
        stream.send_reset(Reason::CANCEL);
    }
    Ok(())
}

/// The most rounds of the attack over HTTP/1.1. Each request needs a connection, and a machine has
/// only some 28,000 ports for them.
const MAX_HTTP1_ROUNDS: usize = 60;

/// Sends each request over a new HTTP/1.1 connection, and closes the connections of each round.
async fn attack_over_http1(address: SocketAddr) -> Attack {
    let (mut attack, end) = (Attack::default(), Instant::now() + ATTACK);
    for _ in 0..MAX_HTTP1_ROUNDS {
        if Instant::now() >= end {
            break;
        }
        let mut connections = Vec::new();
        for _ in 0..ROUND {
            attack.requests += 1;
            let request = format!(
                "POST /v1/parcels HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MALLORY}\r\n\
                 idempotency-key: key-{}\r\n\r\n",
                attack.requests
            );
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let written = stream.write_all(request.as_bytes()).await;
            written.expect("an open connection");
            connections.push(stream);
        }
        sleep(HANG_UP_AFTER).await;
        for stream in connections {
            let mut head = [0; 12];
            let read = stream.try_read(&mut head).unwrap_or(0);
            attack.refused += usize::from(&head[..read] == b"HTTP/1.1 503");
        }
    }
    attack
}

/// Sends one order of an honest caller, and returns its duration.
async fn post(client: &Client, key: &str) -> Duration {
    let started = Instant::now();
    let response = client
        .post("/v1/orders")
        .bearer(BOB)
        .idempotency_key(key)
        .json(json!({ "item": key }).to_string())
        .send()
        .await;
    assert_eq!(response.status, 201, "{response:?}");
    started.elapsed()
}

/// Attacks the service while an honest caller sends orders.
async fn assert_withstands<F>(name: &str, attack: impl FnOnce(SocketAddr) -> F)
where
    F: Future<Output = Attack> + Send + 'static,
{
    let directory = TempDir::with_prefix("aplomb-hangups-").expect("a temporary directory");
    let instance = start(directory.path());
    let client = Client::new(instance.client.address());
    let mut before = Vec::new();
    for number in 0..100 {
        before.push(post(&client, &format!("before-{number}")).await);
    }
    let memory_before = instance.memory("VmRSS");
    let attacking = tokio::spawn(attack(client.address()));
    let (mut during, mut most_memory) = (Vec::new(), 0);
    while !attacking.is_finished() {
        during.push(post(&client, &format!("during-{}", during.len())).await);
        most_memory = most_memory.max(instance.memory("VmRSS"));
    }
    let attack = attacking.await.expect("no panic");
    let peak = instance.memory("VmHWM");
    println!(
        "{name}: {attack:?}; VmRSS {memory_before} KiB before, {most_memory} KiB during; \
         VmHWM {peak} KiB; honest p50 {:?} before, {:?} during ({} requests)",
        median(before),
        median(during.clone()),
        during.len()
    );
    assert!(attack.refused > 0, "the bound refused no request");
    let most = client.get("/v1/packers").bearer(BOB).send().await;
    let most: usize = most.text().parse().expect("a number");
    assert!(
        (1..=MAX_RUNS_PER_CALLER).contains(&most),
        "{most} handlers of one caller ran at the same time"
    );
    assert!(peak <= MAX_MEMORY, "{peak} KiB");
    // The permits are free after the last handler has ended.
    let is_free = async || {
        let request = client.post("/v1/parcels").bearer(MALLORY);
        request.idempotency_key("after").send().await.status == 204
    };
    eventually("the hostile caller is not refused any more", is_free).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_a_client_that_resets_its_http2_streams_runs_no_more_handlers_than_its_bound() {
    assert_withstands("HTTP/2", attack_over_http2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_a_client_that_closes_its_http1_connections_runs_no_more_handlers_than_its_bound() {
    assert_withstands("HTTP/1.1", attack_over_http1).await;
}
