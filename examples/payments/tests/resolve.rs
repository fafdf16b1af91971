//! The command with which operators decide what nobody knows.

use std::time::Duration;

use aplomb::Secret;
use aplomb::policies::idempotency::{
    Begin, Begun, Fingerprint, IdempotencyStore, OnCrash, RecordKey, SealKeys, Token,
};
use aplomb::store::{RedisConfig, RedisStore, SealedRecords};
use aplomb::testing::{Program, RedisServer};

/// Runs `payments resolve` on this Redis: its exit code, and what it says.
fn resolve(redis: &RedisServer, arguments: &[&str]) -> (i32, String) {
    resolve_with(redis, arguments, &[])
}

fn resolve_with(redis: &RedisServer, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let output = Program::new(env!("CARGO_BIN_EXE_payments"))
        .arg("resolve")
        .args(arguments)
        .env("APLOMB_STORE", redis.url())
        .env("APLOMB_SECRET", SECRET)
        .envs(settings)
        .run();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an end"), String::from_utf8(said).expect("UTF-8"))
}

const ANSWER: &str = r#"{"id":"pay_1"}"#;
const SECRET: &str = "a secret for tests, of 32 bytes or more";

/// A record of the service that is UNKNOWN.
async fn unknown_record(redis: &RedisServer, name: u8) -> (RedisStore, Begin) {
    let secret = Secret::new(SECRET).expect("long enough");
    let config = RedisConfig::new(&redis.url()).expect("a URL");
    let store = RedisStore::connect(&config, "payments", &secret).await.expect("a good server");
    let (key, fingerprint) = (RecordKey::new([1; 16], [name; 16]), Fingerprint::new(1, [2; 32]));
    let (lease, ttl) = (Duration::from_secs(30), Duration::from_hours(1));
    let begin = Begin::new(key, fingerprint, Token::random(), lease, OnCrash::Unknown, ttl);
    store.begin(&begin).await.expect("an answer");
    assert!(store.write_off(begin.lease(), ttl).await.expect("an answer"));
    (store, begin)
}

#[tokio::test]
async fn a19_operators_decide_what_nobody_knows() {
    let redis = RedisServer::start();
    let (store, begin) = unknown_record(&redis, 1).await;
    let record = begin.key.to_string();
    let (code, said) = resolve(&redis, &[&record, "done", "201", ANSWER]);
    assert_eq!((code, said.contains("is decided")), (0, true), "{said}");
    let Ok(Begun::Done(kept)) = store.begin(&begin).await else { panic!("no answer") };
    assert_eq!((kept.status().as_u16(), kept.body().map(AsRef::as_ref)), (201, Some(ANSWER.as_bytes())));
    assert_eq!(resolve(&redis, &[&record, "absent"]).0, 1, "it is known by now");

    let (store, begin) = unknown_record(&redis, 2).await;
    assert_eq!(resolve(&redis, &[&begin.key.to_string(), "absent"]).0, 0);
    assert_eq!(store.begin(&begin).await, Ok(Begun::Started));
}

#[tokio::test]
async fn a26_what_operators_decide_is_sealed_too() {
    let redis = RedisServer::start();
    let (store, begin) = unknown_record(&redis, 1).await;
    let (record, keys) = (begin.key.to_string(), format!("a:{}=", "A".repeat(43)));
    let decision = [record.as_str(), "done", "201", ANSWER];
    assert_eq!(resolve_with(&redis, &decision, &[("APLOMB_SEAL_KEYS", &keys)]).0, 0);
    let Ok(Begun::Done(kept)) = store.begin(&begin).await else { panic!("no answer") };
    assert_eq!((kept.sealed_with(), kept.body()), (Some("a"), None));
    let opening = SealedRecords::new(store, SealKeys::parse(&keys).expect("a key"));
    let Ok(Begun::Done(kept)) = opening.begin(&begin).await else { panic!("no answer") };
    assert_eq!(kept.body().map(AsRef::as_ref), Some(ANSWER.as_bytes()));
}

#[test]
fn a_wrong_command_says_what_is_right() {
    let redis = RedisServer::start();
    let record = RecordKey::new([1; 16], [1; 16]).to_string();
    for wrong in [
        &[][..],
        &["x", "absent"],
        &[&record],
        &[&record, "gone"],
        &[&record, "done"],
        &[&record, "done", "9"],
        &[&record, "done", "101"],
        &[&record, "done", "500"],
        &[&record, "done", "200", "{"],
        &[&record, "absent", "absent"],
    ] {
        let (code, said) = resolve(&redis, wrong);
        assert!(
            code == 2 && said.starts_with("error: ") && said.contains("usage: payments resolve"),
            "{said}"
        );
    }
    let (code, said) = resolve_with(&redis, &[&record, "absent"], &[("APLOMB_STORE", "memory:")]);
    assert_eq!((code, said.contains("APLOMB_STORE names no Redis")), (2, true), "{said}");
    let other = Program::new(env!("CARGO_BIN_EXE_payments")).arg("serve").run();
    assert_eq!(other.status.code(), Some(2));
}
