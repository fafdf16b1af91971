//! Clients that continuously send requests with idempotency keys, and the results of these
//! requests.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, IdempotencyStore, OnCrash,
    Outcome, RecordKey, StoredResponse, Token,
};
use aplomb::store::{RedisStore, StoreError, StoreFuture};
use aplomb::testing::eventually;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio::task::JoinHandle;

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_hours(24);

/// Several clients, one for each caller. A client sends one request after another. Each request has
/// a new key, and the client repeats it until the store responds.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    logs: Vec<Arc<Mutex<CallerLog>>>,
    clients: Vec<JoinHandle<()>>,
}

/// The results of the requests of one caller.
#[derive(Debug, Default, Clone)]
pub(crate) struct CallerLog {
    /// The keys whose completion the store confirmed.
    pub(crate) completed: Vec<RecordKey>,
    /// The errors of all failed calls.
    pub(crate) failures: Vec<StoreError>,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(store: &RedisStore, callers: &[[u8; 16]]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let logs: Vec<_> = callers
            .iter()
            .map(|_| Arc::<Mutex<CallerLog>>::default())
            .collect();
        let clients = callers.iter().zip(&logs).map(|(caller, log)| {
            let client = Client {
                store: store.clone(),
                log: Arc::clone(log),
                caller: *caller,
            };
            tokio::spawn(client.run(Arc::clone(&stop)))
        });
        let clients = clients.collect();
        Self {
            stop,
            logs,
            clients,
        }
    }

    /// Returns the results of this caller up to now.
    pub(crate) fn log(&self, caller: usize) -> CallerLog {
        self.logs[caller]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until `count` more requests of a caller are completed.
    pub(crate) async fn until_completed(&self, caller: usize, count: usize) {
        let before = self.log(caller).completed.len();
        let completed = async || self.log(caller).completed.len() >= before + count;
        eventually("requests are completed", completed).await;
    }

    /// Stops the clients after their current requests.
    pub(crate) async fn stop(self) -> Vec<CallerLog> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("no panic");
        }
        self.logs
            .iter()
            .map(|log| log.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }
}

struct Client {
    store: RedisStore,
    log: Arc<Mutex<CallerLog>>,
    caller: [u8; 16],
}

impl Client {
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut number: u128 = 0;
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let key = RecordKey::new(self.caller, number.to_be_bytes());
            self.request(key).await;
            self.log
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .completed
                .push(key);
        }
    }

    async fn request(&self, key: RecordKey) {
        let run = begin_of(key);
        let outcome = self.retry_until_response(|| self.store.begin(&run)).await;
        assert_eq!(outcome, BeginOutcome::Started, "the key is new");
        let completion = completion(&run);
        let completed = self
            .retry_until_response(|| self.store.complete(&completion))
            .await;
        assert_eq!(completed, CompleteOutcome::Written);
    }

    async fn retry_until_response<'a, T: Unpin>(&self, call: impl Fn() -> StoreFuture<'a, T>) -> T {
        loop {
            match call().await {
                Ok(reply) => return reply,
                Err(error) => {
                    self.log
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .failures
                        .push(error);
                    // Avoids a busy loop during an outage.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

/// Returns the Redis key of the record with this caller and name.
pub(crate) fn record_key(caller: [u8; 16], name: [u8; 16]) -> String {
    format!(
        "ap1:test:{{{}}}:i:{}",
        URL_SAFE_NO_PAD.encode(caller),
        URL_SAFE_NO_PAD.encode(name)
    )
}

/// Returns a begin with this key.
pub(crate) fn begin_of(key: RecordKey) -> Begin {
    Begin::new(
        key,
        Fingerprint::new(1, [2; 32]),
        Token::random(),
        LEASE,
        OnCrash::Unknown,
        TTL,
    )
}

pub(crate) fn completion(run: &Begin) -> Complete {
    let (head, ()) = http::Response::new(()).into_parts();
    let stored = StoredResponse::new(&head, Some(Bytes::from_static(b"done")));
    Complete::new(run.lease(), run.fingerprint, Outcome::Response(stored), TTL)
}

/// Retries each of these keys, and checks that the store replays its response.
pub(crate) async fn expect_replays(store: &RedisStore, keys: &[RecordKey]) {
    for key in keys {
        let outcome = store.begin(&begin_of(*key)).await;
        assert!(
            matches!(outcome, Ok(BeginOutcome::Done(_))),
            "{key}: {outcome:?}"
        );
    }
}

/// Retries these keys in turn until the task is aborted. Panics if a key runs again. A retry may
/// fail, because the store can be down.
pub(crate) fn retry_forever(store: &RedisStore, keys: Vec<RecordKey>) -> JoinHandle<()> {
    let store = store.clone();
    tokio::spawn(async move {
        for key in keys.iter().cycle() {
            match store.begin(&begin_of(*key)).await {
                Ok(BeginOutcome::Done(_)) => {}
                Err(error) => assert!(error.is_outage(), "{key}: {error}"),
                other => panic!("{key}: {other:?}"),
            }
            // The pause leaves most of the machine to the load.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// Aborts the retries, and checks that they did not panic.
pub(crate) async fn stop_retries(sent: JoinHandle<()>) {
    sent.abort();
    let ended = sent.await;
    assert!(
        ended
            .as_ref()
            .is_err_and(tokio::task::JoinError::is_cancelled),
        "{ended:?}"
    );
}
