//! The requests: connections that are kept, each asking again when it is answered.

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

use crate::payment::API_KEY;

/// What to ask, and how much.
#[derive(Clone)]
pub(crate) struct Plan {
    address: SocketAddr,
    prefix: String,
    keys: Keys,
    connections: u64,
    time: Duration,
    most: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    New,
    Replay,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    requests: u64,
    /// Requests whose answer was not the one that the plan expects.
    unexpected: u64,
    seconds: f64,
}

/// What is looked at of a response.
#[derive(PartialEq, Eq)]
struct Answer {
    status: u16,
    replayed: bool,
}

/// How many keys are replayed: those of the first requests with new keys.
const REPLAYED: u64 = 64;

const PAYMENT: &str = r#"{"from":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E6","to":"acc_01HZQK7P3WVXBN4Y9MRDTJC8E7","amount":1250}"#;

impl Plan {
    /// `<address> <key-prefix> new|replay <connections> <seconds> <most>`
    pub(crate) fn parse(arguments: &[&str]) -> Option<Self> {
        let [address, prefix, keys, connections, seconds, most] = *arguments else {
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
            time: Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?,
            most: most.parse().ok()?,
        })
    }

    fn request(&self, number: u64) -> String {
        let key = if self.keys == Keys::New {
            number
        } else {
            number % REPLAYED
        };
        let (prefix, length) = (&self.prefix, PAYMENT.len());
        format!(
            "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {API_KEY}\r\n\
             idempotency-key: {prefix}-{key:010}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{PAYMENT}"
        )
    }

    fn expects(&self, answer: &Answer) -> bool {
        *answer
            == Answer {
                status: 201,
                replayed: self.keys == Keys::Replay,
            }
    }
}

/// Asks over all connections until the time is over or the most is asked.
pub(crate) async fn run(plan: Plan) -> io::Result<Tally> {
    let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(ask(plan.clone(), begun, Arc::clone(&next)));
    }
    let mut tally = Tally::default();
    for one in connections.join_all().await {
        let one = one?;
        tally.requests += one.requests;
        tally.unexpected += one.unexpected;
    }
    tally.seconds = begun.elapsed().as_secs_f64();
    Ok(tally)
}

/// Asks over one connection.
async fn ask(plan: Plan, begun: Instant, next: Arc<AtomicU64>) -> io::Result<Tally> {
    let mut stream = TcpStream::connect(plan.address).await?;
    stream.set_nodelay(true)?;
    let (mut tally, mut buffer) = (Tally::default(), Vec::with_capacity(4096));
    while begun.elapsed() < plan.time {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.most {
            break;
        }
        stream.write_all(plan.request(number).as_bytes()).await?;
        let answer = answer(&mut stream, &mut buffer).await?;
        tally.requests += 1;
        tally.unexpected += u64::from(!plan.expects(&answer));
    }
    Ok(tally)
}

/// Reads one response, to its last byte.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Answer> {
    buffer.clear();
    loop {
        more(stream, buffer).await?;
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = core::str::from_utf8(&buffer[..end]).map_err(io::Error::other)?;
        let (answer, length) = read(head).ok_or_else(|| io::Error::other(head.to_owned()))?;
        while buffer.len() < end + 4 + length {
            more(stream, buffer).await?;
        }
        return Ok(answer);
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.read_buf(buffer).await?;
    if read == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

/// What the head of a response says, and how long its body is.
fn read(head: &str) -> Option<(Answer, usize)> {
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
    Some((Answer { status, replayed }, length))
}
