//! The load generator: each connection sends its next request when it has received the response to
//! its previous request.

use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::payment::API_KEY;

/// The requests of a run, and its limits.
#[derive(Debug, Clone)]
pub struct Plan {
    address: SocketAddr,
    prefix: String,
    keys: Keys,
    connections: u64,
    duration: Duration,
    max_requests: u64,
    /// The requests per second of all connections together, in equal distances; `None` for as many
    /// as possible.
    rate: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    New,
    Replay,
}

/// The result of a run.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    requests: u64,
    /// The number of responses that differ from the response that the plan expects.
    unexpected: u64,
    seconds: f64,
    latency: Latency,
    /// The latencies in microseconds.
    #[serde(skip)]
    latencies: Vec<u64>,
}

/// The latencies of the requests of a run, in milliseconds.
#[derive(Debug, Default, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

/// The checked parts of a response.
#[derive(PartialEq, Eq)]
struct ResponseHead {
    status: u16,
    replayed: bool,
}

/// The number of keys in a run of replays: 0 to 63. A run of new keys with the same prefix uses these
/// keys for its first requests.
const REPLAYED_KEYS: u64 = 64;

const PAYMENT: &str = r#"{"from":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E6","to":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E7","amount":1250}"#;

impl Plan {
    /// Parses `<address> <key-prefix> new|replay <connections> <seconds> <max requests>
    /// [<requests/s>]`.
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        let (rate, arguments) = match *arguments {
            [ref first @ .., rate] if arguments.len() == 7 => (Some(rate.parse().ok()?), first),
            _ => (None, arguments),
        };
        let [address, prefix, keys, connections, seconds, max_requests] = *arguments else {
            return None;
        };
        let keys = match keys {
            "new" => Keys::New,
            "replay" => Keys::Replay,
            _ => return None,
        };
        Some(Self {
            address: address.parse().ok()?,
            prefix: prefix.to_owned(),
            keys,
            connections: connections.parse().ok()?,
            duration: Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?,
            max_requests: max_requests.parse().ok()?,
            rate,
        })
    }

    /// Returns the time at which a request is due; `None` if it is due as soon as a connection is
    /// free.
    fn due(&self, start: Instant, number: u64) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2⁵³ requests")]
        let after = |rate| Duration::from_secs_f64(number as f64 / rate);
        self.rate.map(|rate| start + after(rate))
    }

    fn request(&self, number: u64) -> String {
        let key = if self.keys == Keys::New {
            number
        } else {
            number % REPLAYED_KEYS
        };
        let (prefix, length) = (&self.prefix, PAYMENT.len());
        format!(
            "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {API_KEY}\r\n\
             idempotency-key: {prefix}-{key:010}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{PAYMENT}"
        )
    }

    fn expects(&self, response: &ResponseHead) -> bool {
        *response
            == ResponseHead {
                status: 201,
                replayed: self.keys == Keys::Replay,
            }
    }
}

impl Latency {
    /// Returns the quantiles of sorted latencies in microseconds.
    fn of(latencies: &[u64]) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no request takes 2⁵³ microseconds"
        )]
        let quantile = |hundredths: usize| {
            let index = (latencies.len() * hundredths / 100).min(latencies.len().saturating_sub(1));
            latencies.get(index).copied().unwrap_or_default() as f64 / 1000.0
        };
        Self {
            p50: quantile(50),
            p99: quantile(99),
            max: quantile(100),
        }
    }
}

/// Sends requests on all connections until the duration has passed or the maximum number is sent.
pub async fn run(plan: Plan) -> io::Result<Summary> {
    let (start, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(send_requests(plan.clone(), start, Arc::clone(&next)));
    }
    let mut summary = Summary::default();
    for part in connections.join_all().await {
        let part = part?;
        summary.requests += part.requests;
        summary.unexpected += part.unexpected;
        summary.latencies.extend(part.latencies);
    }
    summary.latencies.sort_unstable();
    summary.latency = Latency::of(&summary.latencies);
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// Sends requests on one connection.
async fn send_requests(plan: Plan, start: Instant, next: Arc<AtomicU64>) -> io::Result<Summary> {
    let mut stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    let (mut summary, mut buffer) = (Summary::default(), Vec::with_capacity(4096));
    while start.elapsed() < plan.duration {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.max_requests {
            break;
        }
        // The latency of a delayed request includes the delay.
        let due = match plan.due(start, number) {
            Some(due) => {
                sleep_until(due.into()).await;
                due
            }
            None => Instant::now(),
        };
        stream.write_all(plan.request(number).as_bytes()).await?;
        let response = read_response(&mut stream, &mut buffer).await?;
        let latency = due.elapsed().as_micros();
        summary
            .latencies
            .push(u64::try_from(latency).unwrap_or(u64::MAX));
        summary.requests += 1;
        summary.unexpected += u64::from(!plan.expects(&response));
    }
    Ok(summary)
}

/// Reads one complete response.
async fn read_response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<ResponseHead> {
    buffer.clear();
    loop {
        read_more(stream, buffer).await?;
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = core::str::from_utf8(&buffer[..end]).map_err(io::Error::other)?;
        let (response, length) =
            parse_head(head).ok_or_else(|| io::Error::other(head.to_owned()))?;
        while buffer.len() < end + 4 + length {
            read_more(stream, buffer).await?;
        }
        return Ok(response);
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let count = stream.read_buf(buffer).await?;
    if count == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

/// Parses the head of a response. Returns its checked parts and the length of the body.
fn parse_head(head: &str) -> Option<(ResponseHead, usize)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut replayed, mut length) = (false, 0);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name {
            "content-length" => length = value.parse().ok()?,
            "idempotent-replayed" => replayed = value == "true",
            _ => {}
        }
    }
    Some((ResponseHead { status, replayed }, length))
}
