//! Clients that send requests with keys all the time, and what became of each.

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

/// Clients of some callers, one each. A client sends one request after the other, each with a key of
/// its own, and again until it has its answer, as retrying clients do.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    books: Vec<Arc<Mutex<Book>>>,
    clients: Vec<JoinHandle<()>>,
}

/// What became of the requests of one caller.
#[derive(Debug, Default, Clone)]
pub(crate) struct Book {
    /// The keys whose run was completed, and the store said so.
    pub(crate) completed: Vec<RecordKey>,
    /// What calls met that had no answer.
    pub(crate) failures: Vec<StoreError>,
}

impl Load {
    /// Begins to send.
    pub(crate) fn start(store: &RedisStore, callers: &[[u8; 16]]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let books: Vec<_> = callers
            .iter()
            .map(|_| Arc::<Mutex<Book>>::default())
            .collect();
        let clients = callers.iter().zip(&books).map(|(caller, book)| {
            let client = Client {
                store: store.clone(),
                book: Arc::clone(book),
                caller: *caller,
            };
            tokio::spawn(client.run(Arc::clone(&stop)))
        });
        let clients = clients.collect();
        Self {
            stop,
            books,
            clients,
        }
    }

    /// What has become of the requests of this caller so far.
    pub(crate) fn book(&self, caller: usize) -> Book {
        self.books[caller]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until so many further requests of a caller are completed.
    pub(crate) async fn until_further(&self, caller: usize, count: usize) {
        let before = self.book(caller).completed.len();
        let completed = async || self.book(caller).completed.len() >= before + count;
        eventually("requests are completed", completed).await;
    }

    /// Ends when every request has its answer.
    pub(crate) async fn stop(self) -> Vec<Book> {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("no panic");
        }
        self.books
            .iter()
            .map(|book| book.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }
}

struct Client {
    store: RedisStore,
    book: Arc<Mutex<Book>>,
    caller: [u8; 16],
}

impl Client {
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut number: u128 = 0;
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let key = RecordKey::new(self.caller, number.to_be_bytes());
            self.request(key).await;
            self.book
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .completed
                .push(key);
        }
    }

    async fn request(&self, key: RecordKey) {
        let run = run(key);
        let begun = self.until_answered(|| self.store.begin(&run)).await;
        assert_eq!(begun, BeginOutcome::Started, "a key of its own");
        let done = done(&run);
        let completed = self.until_answered(|| self.store.complete(&done)).await;
        assert_eq!(completed, CompleteOutcome::Written);
    }

    async fn until_answered<'a, T: Unpin>(&self, ask: impl Fn() -> StoreFuture<'a, T>) -> T {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => {
                    self.book
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .failures
                        .push(error);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }
}

/// Where the store that tests use keeps the record with this key.
pub(crate) fn place(caller: [u8; 16], name: [u8; 16]) -> String {
    format!(
        "ap1:test:{{{}}}:i:{}",
        URL_SAFE_NO_PAD.encode(caller),
        URL_SAFE_NO_PAD.encode(name)
    )
}

/// A request with this key.
pub(crate) fn run(key: RecordKey) -> Begin {
    Begin::new(
        key,
        Fingerprint::new(1, [2; 32]),
        Token::random(),
        LEASE,
        OnCrash::Unknown,
        TTL,
    )
}

pub(crate) fn done(run: &Begin) -> Complete {
    let (head, ()) = http::Response::new(()).into_parts();
    let kept = StoredResponse::new(&head, Some(Bytes::from_static(b"done")));
    Complete::new(run.lease(), run.fingerprint, Outcome::Response(kept), TTL)
}

/// Sends a retry of each of these keys: every one is answered from its record, and none runs again.
pub(crate) async fn expect_replays(store: &RedisStore, keys: &[RecordKey]) {
    for key in keys {
        let begun = store.begin(&run(*key)).await;
        assert!(
            matches!(begun, Ok(BeginOutcome::Done(_))),
            "{key}: {begun:?}"
        );
    }
}

/// Sends retries of these keys all the time until it is aborted. None may run again; without an answer
/// they may be.
pub(crate) fn retry_for_ever(store: &RedisStore, keys: Vec<RecordKey>) -> JoinHandle<()> {
    let store = store.clone();
    tokio::spawn(async move {
        for key in keys.iter().cycle() {
            match store.begin(&run(*key)).await {
                Ok(BeginOutcome::Done(_)) => {}
                Err(error) => assert!(error.is_outage(), "{key}: {error}"),
                other => panic!("{key}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

/// Ends what was sent for ever, which must not have met what it may not.
pub(crate) async fn end(sent: JoinHandle<()>) {
    sent.abort();
    let ended = sent.await;
    assert!(
        ended
            .as_ref()
            .is_err_and(tokio::task::JoinError::is_cancelled),
        "{ended:?}"
    );
}
