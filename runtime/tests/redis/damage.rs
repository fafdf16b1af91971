//! What others wrote under our keys is named in an error, and left as it is.

use core::time::Duration;

use aplomb::policies::idempotency::{BeginOutcome, EncryptionKeys, IdempotencyStore, RecordKey};
use aplomb::policies::rate_limit::{LimitRequest, LimitStore};
use aplomb::store::{EncryptedRecords, RedisStore, StoreError};
use aplomb::testing::{RedisServer, Reply};
use bytes::Bytes;

use crate::connection::{begin, claim, done, lease};

const TTL: Duration = Duration::from_hours(24);

/// A store with one key in it.
struct Bench {
    server: RedisServer,
    store: RedisStore,
    key: String,
}

impl Bench {
    async fn with_record() -> Self {
        let server = RedisServer::start();
        let store = crate::store_at(&server.url()).await;
        store.begin(&begin()).await.expect("an answer");
        let key = only_key(&server, "*:i:*");
        Self { server, store, key }
    }

    fn set(&self, value: &[u8]) {
        self.server.command(&[b"SET", self.key.as_bytes(), value]);
    }

    fn value(&self) -> Reply {
        self.server.command(&["DUMP", &self.key])
    }

    /// Every operation says what is wrong, where, and changes nothing.
    async fn expect_malformed(&self, what: &str) {
        let (before, request) = (self.value(), begin());
        let names = |error: StoreError| match error {
            StoreError::Malformed { key, .. } => assert_eq!(key, self.key, "{what}"),
            other => panic!("{what}: {other}"),
        };
        names(self.store.begin(&request).await.expect_err(what));
        names(self.store.complete(&done(&request)).await.expect_err(what));
        names(
            self.store
                .abort(lease(&request), Duration::ZERO)
                .await
                .expect_err(what),
        );
        names(self.store.find(request.key).await.expect_err(what));
        names(
            self.store
                .resolve(request.key, None, TTL)
                .await
                .expect_err(what),
        );
        assert_eq!(
            self.store.heartbeat(&[lease(&request)], TTL).await,
            Ok(vec![false]),
            "{what}"
        );
        assert_eq!(self.value(), before, "{what}");
    }
}

pub(crate) fn only_key(server: &RedisServer, pattern: &str) -> String {
    match server.command(&["KEYS", pattern]) {
        Reply::Array(keys) => match keys.as_slice() {
            [Reply::Bytes(key)] => String::from_utf8(key.to_vec()).expect("a text"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn bytes(reply: Reply) -> Bytes {
    match reply {
        Reply::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn records_with_unreadable_values_are_named_in_every_error() {
    let bench = Bench::with_record().await;
    let good = bytes(bench.server.command(&["GET", &bench.key]));
    bench.set(b"");
    assert_eq!(
        bench.store.begin(&begin()).await.expect_err("empty"),
        malformed(&bench)
    );
    for (what, value) in [
        ("another format", [&[2], &good[1..]].concat()),
        ("another state", [&[1, b'X'], &good[2..]].concat()),
        ("truncated", good[..59].to_vec()),
        ("one byte", vec![1]),
        ("a text", b"hello".to_vec()),
    ] {
        bench.set(&value);
        bench.expect_malformed(what).await;
    }
}

fn malformed(bench: &Bench) -> StoreError {
    let why = String::from("the value is damaged, or of another version");
    StoreError::Malformed {
        key: bench.key.clone(),
        why,
    }
}

#[tokio::test]
async fn records_of_another_type_are_named_in_every_error() {
    let bench = Bench::with_record().await;
    for command in [
        &["LPUSH", "", "x"][..],
        &["HSET", "", "a", "b"],
        &["SADD", "", "x"],
    ] {
        bench.server.command(&["DEL", &bench.key]);
        let mut command = command.to_vec();
        command[1] = &bench.key;
        bench.server.command(&command);
        bench.expect_malformed(command[0]).await;
    }
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    let bench = Bench::with_record().await;
    bench.server.flush_all();
    bench
        .store
        .complete(&done(&begin()))
        .await
        .expect("an answer");
    let whole = bytes(bench.server.command(&["GET", &bench.key]));
    for length in 60..whole.len() {
        bench.set(&whole[..length]);
        let error = bench
            .store
            .begin(&begin())
            .await
            .expect_err("a truncated answer");
        assert!(
            matches!(&error, StoreError::Malformed { key, .. } if *key == bench.key),
            "{length}: {error}"
        );
    }
    bench.set(&whole);
    assert!(matches!(
        bench.store.begin(&begin()).await,
        Ok(BeginOutcome::Done(_))
    ));
}

#[tokio::test]
async fn a26_a_changed_or_moved_encrypted_response_is_an_error_and_left_unchanged() {
    let bench = Bench::with_record().await;
    let keys = EncryptionKeys::new("a", [7; 32]).expect("a valid id");
    let sealed = EncryptedRecords::new(bench.store.clone(), keys);
    bench.server.flush_all();
    sealed.complete(&done(&begin())).await.expect("an answer");
    let whole = bytes(bench.server.command(&["GET", &bench.key]));
    for index in 60..whole.len() {
        let mut changed = whole.to_vec();
        changed[index] ^= 1;
        bench.set(&changed);
        let before = bench.value();
        let error = sealed.begin(&begin()).await.expect_err("a changed answer");
        assert!(error.is_about_the_key(), "{index}: {error}");
        assert_eq!(bench.value(), before, "{index}");
    }
    bench.set(&whole);
    assert!(matches!(
        sealed.begin(&begin()).await,
        Ok(BeginOutcome::Done(_))
    ));
    let mut other = begin();
    other.key = RecordKey::new(*other.key.caller(), [9; 16]);
    sealed.begin(&other).await.expect("an answer");
    let Reply::Array(keys) = bench.server.command(&["KEYS", "*:i:*"]) else {
        panic!("no list of keys")
    };
    assert_eq!(keys.len(), 2);
    for key in keys {
        let Reply::Bytes(key) = key else {
            panic!("{key:?}")
        };
        bench.server.command(&[b"SET", &key[..], &whole[..]]);
    }
    let moved = sealed
        .begin(&other)
        .await
        .expect_err("an answer of another record");
    assert!(
        moved.to_string().contains(&other.key.to_string()),
        "{moved}"
    );
}

#[tokio::test]
async fn a_record_without_expiry_is_unknown() {
    let bench = Bench::with_record().await;
    bench.server.command(&["PERSIST", &bench.key]);
    assert_eq!(bench.store.begin(&begin()).await, Ok(BeginOutcome::Unknown));
}

#[tokio::test]
async fn unreadable_buckets_are_errors_and_affect_no_shadow_limit() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    // Of what was rehearsed.
    server.flush_all();
    store.acquire(&[claim()]).await.expect("an answer");
    let key = only_key(&server, "*:l:*");
    for value in [
        &b""[..],
        b"\x02123",
        b"\x01",
        b"\x01abc",
        b"\x01nan",
        b"\x01inf",
        b"\x01-1e300",
        b"17672256",
    ] {
        server.command(&[b"SET", key.as_bytes(), value]);
        match store.acquire(&[claim()]).await {
            Err(StoreError::Malformed { key: named, .. }) => assert_eq!(named, key, "{value:?}"),
            other => panic!("{value:?}: {other:?}"),
        }
        shadow_lets_through(&store, value).await;
    }
    server.command(&["DEL", &key]);
    server.command(&["LPUSH", &key, "x"]);
    shadow_lets_through(&store, b"another type").await;
    let error = store.acquire(&[claim()]).await.expect_err("another type");
    assert!(
        matches!(&error, StoreError::Malformed { key: named, .. } if *named == key),
        "{error}"
    );
}

/// A shadow limit refuses nobody, whatever its bucket holds, and leaves that as it was.
async fn shadow_lets_through(store: &impl LimitStore, value: &[u8]) {
    let taken = store
        .acquire(&[LimitRequest {
            shadow: true,
            ..claim()
        }])
        .await
        .expect("an answer");
    assert!(
        taken.admitted && taken.statuses[0].wait.is_some(),
        "{value:?}"
    );
    assert!(store.acquire(&[claim()]).await.is_err(), "{value:?}");
}
