//! The commands with which operators look at records, and decide what nobody knows.

use std::time::Duration;

use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Complete, EncryptionKeys, Fingerprint, IdempotencyStore, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};
use aplomb::store::{EncryptedRecords, RedisConfig, RedisStore};
use aplomb::testing::{Program, RedisServer};

/// Runs `payments records resolve` on this Redis: its exit code, and what it says.
fn resolve(redis: &RedisServer, arguments: &[&str]) -> (i32, String) {
    resolve_with(redis, arguments, &[])
}

fn resolve_with(
    redis: &RedisServer,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String) {
    records(redis, &[&["resolve"], arguments].concat(), settings)
}

fn show(redis: &RedisServer, record: RecordKey) -> (i32, String) {
    records(redis, &["show", &record.to_string()], &[])
}

fn records(redis: &RedisServer, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let output = Program::new(env!("CARGO_BIN_EXE_payments"))
        .arg("records")
        .args(arguments)
        .env("APLOMB_STORE", redis.url())
        .envs(settings)
        .run();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("an end"),
        String::from_utf8(said).expect("UTF-8"),
    )
}

const ANSWER: &str = r#"{"id":"pay_1"}"#;

/// A record of the service that is UNKNOWN.
async fn unknown_record(redis: &RedisServer, name: u8) -> (RedisStore, Begin) {
    let config = RedisConfig::new(&redis.url()).expect("a URL");
    let store = RedisStore::connect(&config, "payments")
        .await
        .expect("a good server");
    let (key, fingerprint) = (
        RecordKey::new([1; 16], [name; 16]),
        Fingerprint::new(1, [2; 32]),
    );
    let (lease, ttl) = (Duration::from_secs(30), Duration::from_hours(1));
    let begin = Begin::new(
        key,
        fingerprint,
        Token::random(),
        lease,
        OnCrash::Unknown,
        ttl,
    );
    store.begin(&begin).await.expect("an answer");
    assert!(
        store
            .mark_unknown(begin.lease(), ttl)
            .await
            .expect("an answer")
    );
    (store, begin)
}

#[tokio::test]
async fn a19_operators_decide_what_nobody_knows() {
    let redis = RedisServer::start();
    let (store, begin) = unknown_record(&redis, 1).await;
    let record = begin.key.to_string();
    let (code, said) = resolve(&redis, &[&record, "done", "201", ANSWER]);
    assert_eq!((code, said.contains("is set to DONE")), (0, true), "{said}");
    let Ok(BeginOutcome::Done(kept)) = store.begin(&begin).await else {
        panic!("no answer")
    };
    assert_eq!(
        (kept.status().as_u16(), kept.body().map(AsRef::as_ref)),
        (201, Some(ANSWER.as_bytes()))
    );
    let (code, said) = resolve(&redis, &[&record, "absent"]);
    assert_eq!(
        (
            code,
            said.contains("is absent, RUNNING or DONE: nothing was changed")
        ),
        (1, true),
        "{said}"
    );

    let (store, begin) = unknown_record(&redis, 2).await;
    assert_eq!(resolve(&redis, &[&begin.key.to_string(), "absent"]).0, 0);
    assert_eq!(store.begin(&begin).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a26_what_operators_decide_is_sealed_too() {
    let redis = RedisServer::start();
    let (store, begin) = unknown_record(&redis, 1).await;
    let (record, keys) = (begin.key.to_string(), format!("a:{}=", "A".repeat(43)));
    let decision = [record.as_str(), "done", "201", ANSWER];
    assert_eq!(
        resolve_with(&redis, &decision, &[("APLOMB_ENCRYPTION_KEYS", &keys)]).0,
        0
    );
    let Ok(BeginOutcome::Done(kept)) = store.begin(&begin).await else {
        panic!("no answer")
    };
    assert_eq!((kept.encrypted_with(), kept.body()), (Some("a"), None));
    let opening = EncryptedRecords::new(store, EncryptionKeys::parse(&keys).expect("a key"));
    let Ok(BeginOutcome::Done(kept)) = opening.begin(&begin).await else {
        panic!("no answer")
    };
    assert_eq!(kept.body().map(AsRef::as_ref), Some(ANSWER.as_bytes()));
}

#[tokio::test]
async fn a19_operators_see_what_a_record_is() {
    let redis = RedisServer::start();
    let (store, begin) = unknown_record(&redis, 1).await;
    let (code, said) = show(&redis, begin.key);
    assert_eq!(
        (code, said.starts_with(&format!("{}\nUNKNOWN: ", begin.key))),
        (0, true),
        "{said}"
    );

    let (key, lease) = (RecordKey::new([1; 16], [2; 16]), Duration::from_secs(30));
    let running = Begin::new(
        key,
        begin.fingerprint,
        Token::random(),
        lease,
        OnCrash::Unknown,
        begin.ttl,
    );
    store.begin(&running).await.expect("an answer");
    let (code, said) = show(&redis, running.key);
    assert_eq!(
        (
            code,
            said.contains("\nRUNNING: the first request still runs")
        ),
        (0, true),
        "{said}"
    );
    let (head, ()) = axum::http::Response::builder()
        .status(201)
        .body(())
        .expect("a response")
        .into_parts();
    let outcome = Outcome::Response(StoredResponse::new(&head, Some(ANSWER.as_bytes().into())));
    let complete = Complete::new(
        running.lease(),
        running.fingerprint,
        outcome,
        Duration::from_hours(1),
    );
    store.complete(&complete).await.expect("an answer");
    let (code, said) = show(&redis, running.key);
    assert_eq!(code, 0);
    assert!(
        said.contains("\nDONE: ") && said.ends_with(&format!("\n\n201 Created\n\n{ANSWER}\n")),
        "{said}"
    );

    let (code, said) = show(&redis, RecordKey::new([1; 16], [3; 16]));
    assert_eq!((code, said.contains("is absent")), (1, true), "{said}");
}

#[tokio::test]
async fn a26_operators_with_the_key_see_what_is_sealed() {
    let redis = RedisServer::start();
    let (_, begin) = unknown_record(&redis, 1).await;
    let (record, keys) = (begin.key.to_string(), format!("a:{}=", "A".repeat(43)));
    let sealed = [("APLOMB_ENCRYPTION_KEYS", keys.as_str())];
    assert_eq!(
        resolve_with(&redis, &[&record, "done", "201", ANSWER], &sealed).0,
        0
    );
    let (code, said) = records(&redis, &["show", &record], &sealed);
    assert_eq!((code, said.contains(ANSWER)), (0, true), "{said}");
    let (code, said) = show(&redis, begin.key);
    assert_eq!(code, 0);
    assert!(
        said.contains("encrypted with the key \"a\"") && !said.contains("pay_1"),
        "{said}"
    );
}

#[test]
fn a_store_that_cannot_be_used_is_a_wrong_setting() {
    let redis = RedisServer::start();
    let record = RecordKey::new([1; 16], [1; 16]);
    redis.kill();
    for command in [
        &["show", &record.to_string()][..],
        &["resolve", &record.to_string(), "absent"],
    ] {
        let (code, said) = records(&redis, command, &[("APLOMB_LEASE", "5")]);
        assert_eq!(
            (
                code,
                said.lines()
                    .filter(|line| line.starts_with("error: "))
                    .count()
            ),
            (2, 2),
            "{said}"
        );
    }
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
            code == 2 && said.starts_with("error: ") && said.contains("try '--help'"),
            "{said}"
        );
    }
    let (code, said) = resolve_with(&redis, &[&record, "absent"], &[("APLOMB_STORE", "memory:")]);
    assert_eq!(
        (code, said.contains("set APLOMB_STORE to the Redis")),
        (2, true),
        "{said}"
    );
}
