//! The stores of records without HTTP.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use aplomb::clock::SystemClock;
use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Complete, Fingerprint, IdempotencyStore, Lease, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};
use aplomb::store::{PostgresRecords, SqliteRecords};
use aplomb_benches::Failure;
use bytes::Bytes;
use http::Response;
use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;

use crate::database::sqlite_options;

/// The size of a stored response.
const RESPONSE_BYTES: usize = 300;

/// The number of keys whose responses are replayed.
const REPLAYED_KEYS: u64 = 64;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_hours(24);

/// The operations per second of a store.
#[derive(Debug, Serialize)]
pub(crate) struct Rates {
    /// `begin` and `complete` of a new key.
    pairs: f64,
    /// `begin` of a completed key.
    replays: f64,
}

#[derive(Clone)]
struct Store {
    records: Arc<dyn IdempotencyStore>,
    response: StoredResponse,
    /// The first half of all names. A new one is chosen for each run.
    run: u64,
    next: Arc<AtomicU64>,
}

/// The operation that a task repeats.
#[derive(Clone, Copy)]
enum Work {
    Pairs,
    Replays,
}

/// Measures pairs for some seconds, and then replays.
pub(crate) async fn measure(url: &str, tasks: u64, seconds: f64) -> Result<Rates, Failure> {
    let store = Store::open(url).await?;
    let duration = Duration::try_from_secs_f64(seconds)?;
    let pairs = store.repeat(Work::Pairs, tasks, duration).await?;
    for number in 0..REPLAYED_KEYS {
        store.pair(number).await?;
    }
    let replays = store.repeat(Work::Replays, tasks, duration).await?;
    Ok(Rates { pairs, replays })
}

/// Writes this number of completed records.
pub(crate) async fn fill(url: &str, count: u64) -> Result<(), Failure> {
    const TASKS: u64 = 16;
    let store = Store::open(url).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            loop {
                let number = store.next.fetch_add(1, Ordering::Relaxed);
                if number >= REPLAYED_KEYS + count {
                    return Ok::<_, Failure>(());
                }
                store.pair(number).await?;
            }
        });
    }
    tasks.join_all().await.into_iter().collect()
}

impl Store {
    async fn open(url: &str) -> Result<Self, Failure> {
        let records: Arc<dyn IdempotencyStore> = match url.strip_prefix("sqlite:") {
            Some(file) => {
                let clock = Arc::new(SystemClock::new());
                Arc::new(SqliteRecords::open(sqlite_options(file), clock).await?)
            }
            None => Arc::new(PostgresRecords::open(url.parse::<PgConnectOptions>()?).await?),
        };
        #[expect(clippy::cast_possible_truncation, reason = "half of a random number")]
        let run = Token::random().as_u128() as u64;
        Ok(Self {
            records,
            response: response(),
            run,
            next: Arc::new(AtomicU64::new(REPLAYED_KEYS)),
        })
    }

    /// Returns the operations per second of concurrent tasks.
    async fn repeat(&self, work: Work, tasks: u64, duration: Duration) -> Result<f64, Failure> {
        let start = Instant::now();
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            let store = self.clone();
            running.spawn(async move {
                let mut count = 0_u32;
                while start.elapsed() < duration {
                    let number = store.next.fetch_add(1, Ordering::Relaxed);
                    match work {
                        Work::Pairs => store.pair(number).await?,
                        Work::Replays => store.replay(number % REPLAYED_KEYS).await?,
                    }
                    count += 1;
                }
                Ok::<_, Failure>(count)
            });
        }
        let counts: Result<Vec<u32>, Failure> = running.join_all().await.into_iter().collect();
        let count: u32 = counts?.iter().sum();
        Ok(f64::from(count) / start.elapsed().as_secs_f64())
    }

    async fn pair(&self, number: u64) -> Result<(), Failure> {
        let begin = self.begin(number);
        match self.records.begin(&begin).await? {
            BeginOutcome::Started => {}
            other => return Err(format!("a new key is {other:?}").into()),
        }
        let (key, token) = (begin.key, begin.token);
        let lease = Lease { key, token };
        let outcome = Outcome::Response(self.response.clone());
        let complete = Complete::new(lease, begin.fingerprint, outcome, TTL);
        self.records.complete(&complete).await?;
        Ok(())
    }

    async fn replay(&self, number: u64) -> Result<(), Failure> {
        match self.records.begin(&self.begin(number)).await? {
            BeginOutcome::Done(_) => Ok(()),
            other => Err(format!("a completed key is {other:?}").into()),
        }
    }

    fn begin(&self, number: u64) -> Begin {
        // Names are hashes, so the number is mixed.
        let name = self
            .run
            .wrapping_add(number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let name = (u128::from(name) << 64 | u128::from(self.run)).to_be_bytes();
        Begin::new(
            RecordKey::new(name, name),
            Fingerprint::new(1, [7; 32]),
            Token::random(),
            LEASE,
            OnCrash::Rerun,
            TTL,
        )
    }
}

/// Returns a response whose stored form has the size of the benchmark.
fn response() -> StoredResponse {
    let (parts, ()) = Response::builder()
        .status(201)
        .header("content-type", "application/json")
        .body(())
        .expect("a valid response")
        .into_parts();
    let head = StoredResponse::new(&parts, Some(Bytes::new()))
        .to_bytes()
        .len();
    StoredResponse::new(&parts, Some(Bytes::from(vec![b' '; RESPONSE_BYTES - head])))
}
