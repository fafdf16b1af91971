//! Tests of the commands with which operators read and resolve idempotency records.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aplomb::clock::SystemClock;
use aplomb::policies::idempotency::{
    Begin, BeginOutcome, Complete, EncryptionKeys, Fingerprint, IdempotencyStore, OnCrash, Outcome,
    RecordKey, StoredResponse, Token,
};
use aplomb::store::{EncryptedRecords, SqliteRecords};
use aplomb::testing::Program;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

/// A SQLite file with the records of the service.
struct Store {
    directory: TempDir,
}

impl Store {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("payments.db")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    async fn open(&self) -> SqliteRecords {
        let options = SqliteConnectOptions::new().filename(self.file());
        let records = SqliteRecords::open(options, Arc::new(SystemClock::new())).await;
        records.expect("a file")
    }
}

/// Runs `payments records resolve` with this store. Returns the exit code and the output.
fn resolve(store: &Store, arguments: &[&str]) -> (i32, String) {
    resolve_with(store, arguments, &[])
}

fn resolve_with(store: &Store, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    records(store, &[&["resolve"], arguments].concat(), settings)
}

fn show(store: &Store, record: RecordKey) -> (i32, String) {
    records(store, &["show", &record.to_string()], &[])
}

fn records(store: &Store, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
    let result = Program::new(env!("CARGO_BIN_EXE_payments"))
        .arg("records")
        .args(arguments)
        .env("APLOMB_STORE", store.url())
        .envs(settings)
        .run();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let errors = text(result.stderr);
    // The log line with the file of the records.
    let errors = errors
        .split_inclusive('\n')
        .filter(|line| !line.contains(" INFO "));
    (
        result.status.code().expect("an exit code"),
        text(result.stdout) + &errors.collect::<String>(),
    )
}

const RESPONSE_BODY: &str = r#"{"id":"pay_1"}"#;

/// Creates an idempotency record of the service, in the state UNKNOWN.
async fn unknown_record(store: &Store, name: u8) -> (SqliteRecords, Begin) {
    let store = store.open().await;
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
    store.begin(&begin).await.expect("the store replies");
    assert!(
        store
            .mark_unknown(begin.lease(), ttl)
            .await
            .expect("the store replies")
    );
    (store, begin)
}

#[tokio::test]
async fn a19_operators_can_resolve_unknown_records() {
    let file = Store::new();
    let (store, begin) = unknown_record(&file, 1).await;
    let record = begin.key.to_string();
    let (code, output) = resolve(&file, &[&record, "done", "201", RESPONSE_BODY]);
    assert_eq!(
        (code, output.contains("is set to DONE")),
        (0, true),
        "{output}"
    );
    let Ok(BeginOutcome::Done(response)) = store.begin(&begin).await else {
        panic!("not done")
    };
    assert_eq!(
        (
            response.status().as_u16(),
            response.body().map(AsRef::as_ref)
        ),
        (201, Some(RESPONSE_BODY.as_bytes()))
    );
    let (code, output) = resolve(&file, &[&record, "absent"]);
    assert_eq!(
        (
            code,
            output.contains("is absent, RUNNING or DONE: nothing was changed")
        ),
        (1, true),
        "{output}"
    );

    let (store, begin) = unknown_record(&file, 2).await;
    assert_eq!(resolve(&file, &[&begin.key.to_string(), "absent"]).0, 0);
    assert_eq!(store.begin(&begin).await, Ok(BeginOutcome::Started));
}

#[tokio::test]
async fn a26_the_response_of_a_resolved_record_is_encrypted() {
    let file = Store::new();
    let (store, begin) = unknown_record(&file, 1).await;
    let (record, keys) = (begin.key.to_string(), format!("a:{}=", "A".repeat(43)));
    let decision = [record.as_str(), "done", "201", RESPONSE_BODY];
    assert_eq!(
        resolve_with(&file, &decision, &[("APLOMB_ENCRYPTION_KEYS", &keys)]).0,
        0
    );
    let Ok(BeginOutcome::Done(response)) = store.begin(&begin).await else {
        panic!("not done")
    };
    assert_eq!(
        (response.encrypted_with(), response.body()),
        (Some("a"), None)
    );
    let decrypting = EncryptedRecords::new(store, EncryptionKeys::parse(&keys).expect("a key"));
    let Ok(BeginOutcome::Done(response)) = decrypting.begin(&begin).await else {
        panic!("not done")
    };
    assert_eq!(
        response.body().map(AsRef::as_ref),
        Some(RESPONSE_BODY.as_bytes())
    );
}

#[tokio::test]
async fn a19_operators_can_read_the_state_of_a_record() {
    let file = Store::new();
    let (store, begin) = unknown_record(&file, 1).await;
    let (code, output) = show(&file, begin.key);
    assert_eq!(
        (
            code,
            output.starts_with(&format!("{}\nUNKNOWN: ", begin.key))
        ),
        (0, true),
        "{output}"
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
    store.begin(&running).await.expect("the store replies");
    let (code, output) = show(&file, running.key);
    assert_eq!(
        (
            code,
            output.contains("\nRUNNING: the first request still runs")
        ),
        (0, true),
        "{output}"
    );
    let (head, ()) = axum::http::Response::builder()
        .status(201)
        .body(())
        .expect("a response")
        .into_parts();
    let outcome = Outcome::Response(StoredResponse::new(
        &head,
        Some(RESPONSE_BODY.as_bytes().into()),
    ));
    let complete = Complete::new(
        running.lease(),
        running.fingerprint,
        outcome,
        Duration::from_hours(1),
    );
    store.complete(&complete).await.expect("the store replies");
    let (code, output) = show(&file, running.key);
    assert_eq!(code, 0);
    assert!(
        output.contains("\nDONE: ")
            && output.ends_with(&format!("\n\n201 Created\n\n{RESPONSE_BODY}\n")),
        "{output}"
    );

    let (code, output) = show(&file, RecordKey::new([1; 16], [3; 16]));
    assert_eq!((code, output.contains("is absent")), (1, true), "{output}");
}

#[tokio::test]
async fn a26_operators_with_the_key_can_read_an_encrypted_response() {
    let file = Store::new();
    let (_, begin) = unknown_record(&file, 1).await;
    let (record, keys) = (begin.key.to_string(), format!("a:{}=", "A".repeat(43)));
    let settings = [("APLOMB_ENCRYPTION_KEYS", keys.as_str())];
    assert_eq!(
        resolve_with(&file, &[&record, "done", "201", RESPONSE_BODY], &settings).0,
        0
    );
    let (code, output) = records(&file, &["show", &record], &settings);
    assert_eq!(
        (code, output.contains(RESPONSE_BODY)),
        (0, true),
        "{output}"
    );
    let (code, output) = show(&file, begin.key);
    assert_eq!(code, 0);
    assert!(
        output.contains("encrypted with the key \"a\"") && !output.contains("pay_1"),
        "{output}"
    );
}

#[test]
fn an_unusable_store_is_a_settings_error() {
    let file = Store::new();
    let record = RecordKey::new([1; 16], [1; 16]);
    fs::create_dir(file.file()).expect("a directory");
    for command in [
        &["show", &record.to_string()][..],
        &["resolve", &record.to_string(), "absent"],
    ] {
        let (code, output) = records(&file, command, &[("APLOMB_LEASE", "5")]);
        assert_eq!(
            (
                code,
                output
                    .lines()
                    .filter(|line| line.starts_with("error: "))
                    .count()
            ),
            (2, 2),
            "{output}"
        );
    }
}

#[test]
fn an_invalid_command_points_to_the_help() {
    let file = Store::new();
    let record = RecordKey::new([1; 16], [1; 16]).to_string();
    for arguments in [
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
        let (code, output) = resolve(&file, arguments);
        assert!(
            code == 2 && output.starts_with("error: ") && output.contains("try '--help'"),
            "{output}"
        );
    }
    let (code, output) = resolve_with(&file, &[&record, "absent"], &[("APLOMB_STORE", "memory:")]);
    assert_eq!(
        (
            code,
            output.contains("set APLOMB_STORE to the store of the service")
        ),
        (2, true),
        "{output}"
    );
    let missing = std::env::temp_dir().join("aplomb-no-such-file.db");
    let store = format!("sqlite:{}", missing.display());
    let (code, output) = resolve_with(&file, &[&record, "absent"], &[("APLOMB_STORE", &store)]);
    assert_eq!(
        (code, output.contains("does not exist")),
        (2, true),
        "{output}"
    );
    assert!(!missing.exists());
}
