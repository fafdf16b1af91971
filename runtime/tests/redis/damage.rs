//! Tests operations on Redis keys whose value is damaged or has another format. Each error must
//! name the key, and the value must not change.

use core::time::Duration;

use aplomb::policies::idempotency::{BeginOutcome, EncryptionKeys, IdempotencyStore, RecordKey};
use aplomb::policies::rate_limit::{LimitRequest, LimitStore};
use aplomb::store::{EncryptedRecords, RedisStore, StoreError};
use aplomb::testing::{RedisServer, Reply};
use bytes::Bytes;

use crate::connection::{begin, completion, lease, limit_request};

const TTL: Duration = Duration::from_hours(24);

/// A store with one record, and the Redis key of this record.
struct StoreWithRecord {
    server: RedisServer,
    store: RedisStore,
    key: String,
}

impl StoreWithRecord {
    async fn start() -> Self {
        let server = RedisServer::start();
        let store = crate::store_at(&server.url()).await;
        store.begin(&begin()).await.expect("a reply");
        let key = single_key(&server, "*:i:*");
        Self { server, store, key }
    }

    fn set(&self, value: &[u8]) {
        self.server.command(&[b"SET", self.key.as_bytes(), value]);
    }

    fn value(&self) -> Reply {
        self.server.command(&["DUMP", &self.key])
    }

    /// Checks that no operation succeeds or changes the value, and that each error names the key.
    async fn assert_every_operation_fails(&self, what: &str) {
        let (before, request) = (self.value(), begin());
        let assert_names_key = |error: StoreError| match error {
            StoreError::Malformed { key, .. } => assert_eq!(key, self.key, "{what}"),
            other => panic!("{what}: {other}"),
        };
        assert_names_key(self.store.begin(&request).await.expect_err(what));
        assert_names_key(
            self.store
                .complete(&completion(&request))
                .await
                .expect_err(what),
        );
        assert_names_key(
            self.store
                .abort(lease(&request), Duration::ZERO)
                .await
                .expect_err(what),
        );
        assert_names_key(self.store.find(request.key).await.expect_err(what));
        assert_names_key(
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

pub(crate) fn single_key(server: &RedisServer, pattern: &str) -> String {
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
    let fixture = StoreWithRecord::start().await;
    let valid = bytes(fixture.server.command(&["GET", &fixture.key]));
    fixture.set(b"");
    assert_eq!(
        fixture.store.begin(&begin()).await.expect_err("empty"),
        malformed(&fixture)
    );
    for (what, value) in [
        ("another format", [&[2], &valid[1..]].concat()),
        ("another state", [&[1, b'X'], &valid[2..]].concat()),
        ("truncated", valid[..59].to_vec()),
        ("one byte", vec![1]),
        ("a text", b"hello".to_vec()),
    ] {
        fixture.set(&value);
        fixture.assert_every_operation_fails(what).await;
    }
}

fn malformed(fixture: &StoreWithRecord) -> StoreError {
    let why = String::from("the value is damaged, or another version wrote it");
    StoreError::Malformed {
        key: fixture.key.clone(),
        why,
    }
}

#[tokio::test]
async fn records_of_another_type_are_named_in_every_error() {
    let fixture = StoreWithRecord::start().await;
    for command in [
        &["LPUSH", "", "x"][..],
        &["HSET", "", "a", "b"],
        &["SADD", "", "x"],
    ] {
        fixture.server.command(&["DEL", &fixture.key]);
        let mut command = command.to_vec();
        command[1] = &fixture.key;
        fixture.server.command(&command);
        fixture.assert_every_operation_fails(command[0]).await;
    }
}

#[tokio::test]
async fn a_truncated_response_is_an_error() {
    let fixture = StoreWithRecord::start().await;
    fixture.server.flush_all();
    fixture
        .store
        .complete(&completion(&begin()))
        .await
        .expect("a reply");
    let encoded = bytes(fixture.server.command(&["GET", &fixture.key]));
    for length in 60..encoded.len() {
        fixture.set(&encoded[..length]);
        let error = fixture
            .store
            .begin(&begin())
            .await
            .expect_err("a truncated response");
        assert!(
            matches!(&error, StoreError::Malformed { key, .. } if *key == fixture.key),
            "{length}: {error}"
        );
    }
    fixture.set(&encoded);
    assert!(matches!(
        fixture.store.begin(&begin()).await,
        Ok(BeginOutcome::Done(_))
    ));
}

#[tokio::test]
async fn a26_a_changed_or_moved_encrypted_response_is_an_error_and_left_unchanged() {
    let fixture = StoreWithRecord::start().await;
    let keys = EncryptionKeys::new("a", [7; 32]).expect("a valid id");
    let encrypted = EncryptedRecords::new(fixture.store.clone(), keys);
    fixture.server.flush_all();
    encrypted
        .complete(&completion(&begin()))
        .await
        .expect("a reply");
    let encoded = bytes(fixture.server.command(&["GET", &fixture.key]));
    for index in 60..encoded.len() {
        let mut changed = encoded.to_vec();
        changed[index] ^= 1;
        fixture.set(&changed);
        let before = fixture.value();
        let error = encrypted
            .begin(&begin())
            .await
            .expect_err("a changed response");
        assert!(error.is_malformed(), "{index}: {error}");
        assert_eq!(fixture.value(), before, "{index}");
    }
    fixture.set(&encoded);
    assert!(matches!(
        encrypted.begin(&begin()).await,
        Ok(BeginOutcome::Done(_))
    ));
    let mut other = begin();
    other.key = RecordKey::new(*other.key.caller(), [9; 16]);
    encrypted.begin(&other).await.expect("a reply");
    let Reply::Array(keys) = fixture.server.command(&["KEYS", "*:i:*"]) else {
        panic!("no list of keys")
    };
    assert_eq!(keys.len(), 2);
    for key in keys {
        let Reply::Bytes(key) = key else {
            panic!("{key:?}")
        };
        fixture.server.command(&[b"SET", &key[..], &encoded[..]]);
    }
    let moved = encrypted
        .begin(&other)
        .await
        .expect_err("the response of another record");
    assert!(
        moved.to_string().contains(&other.key.to_string()),
        "{moved}"
    );
}

#[tokio::test]
async fn a_record_without_expiry_is_unknown() {
    let fixture = StoreWithRecord::start().await;
    fixture.server.command(&["PERSIST", &fixture.key]);
    assert_eq!(
        fixture.store.begin(&begin()).await,
        Ok(BeginOutcome::Unknown)
    );
}

#[tokio::test]
async fn unreadable_buckets_are_errors_and_affect_no_shadow_limit() {
    let server = RedisServer::start();
    let store = crate::store_at(&server.url()).await;
    // Removes the keys that the self-test at start has left.
    server.flush_all();
    store.acquire(&[limit_request()]).await.expect("a reply");
    let key = single_key(&server, "*:l:*");
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
        match store.acquire(&[limit_request()]).await {
            Err(StoreError::Malformed { key: named_key, .. }) => {
                assert_eq!(named_key, key, "{value:?}");
            }
            other => panic!("{value:?}: {other:?}"),
        }
        assert_shadow_admits(&store, value).await;
    }
    server.command(&["DEL", &key]);
    server.command(&["LPUSH", &key, "x"]);
    assert_shadow_admits(&store, b"another type").await;
    let error = store
        .acquire(&[limit_request()])
        .await
        .expect_err("another type");
    assert!(
        matches!(&error, StoreError::Malformed { key: named_key, .. } if *named_key == key),
        "{error}"
    );
}

/// Checks that a shadow limit admits a request although the value of its bucket is unreadable, and
/// that the value is still unreadable afterwards.
async fn assert_shadow_admits(store: &impl LimitStore, value: &[u8]) {
    let acquired = store
        .acquire(&[LimitRequest {
            shadow: true,
            ..limit_request()
        }])
        .await
        .expect("a reply");
    assert!(
        acquired.admitted && acquired.statuses[0].wait.is_some(),
        "{value:?}"
    );
    assert!(
        store.acquire(&[limit_request()]).await.is_err(),
        "{value:?}"
    );
}
