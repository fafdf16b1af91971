//! Compares every store of records with the model. Each script uses a few clients, a few keys, and
//! steps in a random order.

use std::sync::Arc;

use aplomb::policies::idempotency::{EncryptionKeys, OnCrash};
use aplomb::store::{EncryptedRecords, MemoryRecords};
use aplomb::testing::TestClock;
use aplomb::testing::model::{Deviation, Network, Request, Span, Step, follows_the_model};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// The number of clients. It is small, like the number of keys, so that several clients often use
/// the same key.
const CLIENTS: usize = 3;

fn any_script() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any_step(), 1..48)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_begin(),
        3 => (0..CLIENTS).prop_map(|client| Step::RepeatBegin { client }),
        3 => (0..CLIENTS).prop_map(|client| Step::Heartbeat { client }),
        4 => (0..CLIENTS).prop_map(|client| Step::Complete { client }),
        1 => (0..CLIENTS).prop_map(|client| Step::Fail { client }),
        4 => (0..CLIENTS).prop_map(|client| Step::Abort { client }),
        2 => (0..CLIENTS).prop_map(|client| Step::MarkUnknown { client }),
        2 => (any_key(), any::<bool>()).prop_map(|(key, done)| Step::Resolve { key, done }),
        5 => any_span().prop_map(Step::Elapse),
        1 => (0..4 * CLIENTS).prop_map(|client| Step::Kill { client }),
        1 => Just(Step::LoseData),
    ]
}

fn any_begin() -> impl Strategy<Value = Step> {
    let network = prop_oneof![6 => Just(Network::Fine), 2 => Just(Network::LosesReply), 1 => Just(Network::Delays)];
    (0..CLIENTS, any_request(), network).prop_map(|(client, request, network)| Step::Begin {
        client,
        request,
        network,
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let body = prop_oneof![6 => Just(0), 1 => Just(1)];
    let on_crash = prop_oneof![2 => Just(OnCrash::Unknown), 1 => Just(OnCrash::Rerun)];
    (any_key(), body, on_crash).prop_map(|(key, body, on_crash)| Request {
        key,
        body,
        on_crash,
    })
}

fn any_key() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0), 1 => Just(1)]
}

fn any_span() -> impl Strategy<Value = Span> {
    prop_oneof![
        4 => Just(Span::Short),
        4 => Just(Span::Lapse),
        2 => Just(Span::Half),
        1 => Just(Span::Expiry),
    ]
}

/// Plays random scripts. Panics with the shortest script that deviates from the model, and with the
/// deviation. `./test.sh --faults` plays eight times the number of scripts.
fn check(
    cases: u32,
    runtime: &tokio::runtime::Runtime,
    play: &impl AsyncFn(&[Step]) -> Result<(), Deviation>,
) {
    let cases = if std::env::var_os("FAULTS").is_some() {
        8 * cases
    } else {
        cases
    };
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let play = |script: &[Step]| runtime.block_on(play(script));
    let result = TestRunner::new(config).run(&any_script(), |script| {
        play(&script).map_err(|deviation| TestCaseError::fail(deviation.to_string()))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, script)) => {
            let script = shrink(script, |script| play(script).is_err());
            let deviation = play(&script)
                .err()
                .map_or_else(|| reason.to_string(), |why| why.to_string());
            panic!("{deviation}\n{script:?}");
        }
    }
}

/// Removes the steps that the deviation does not need. Proptest first removes steps, and then
/// simplifies the remaining steps. After that, this function can remove further steps.
fn shrink(mut script: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut index = 0;
    while index < script.len() {
        let mut shorter = script.clone();
        shorter.remove(index);
        if fails(&shorter) {
            (script, index) = (shorter, 0);
        } else {
            index += 1;
        }
    }
    script
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

#[test]
fn records_in_memory_follow_the_model() {
    let play = async |script: &[Step]| {
        let clock = TestClock::new();
        let empty_store = async || {
            Arc::new(MemoryRecords::with_bounds(
                1_000,
                1 << 20,
                Arc::new(clock.clone()),
            ))
        };
        follows_the_model(empty_store, &clock, script).await
    };
    check(4_000, &runtime(), &play);
}

#[test]
fn a26_encrypted_records_in_memory_follow_the_model() {
    let play = async |script: &[Step]| {
        let clock = TestClock::new();
        let empty_store = async || {
            let records = MemoryRecords::with_bounds(1_000, 1 << 20, Arc::new(clock.clone()));
            Arc::new(EncryptedRecords::new(records, encryption_keys()))
        };
        follows_the_model(empty_store, &clock, script).await
    };
    check(1_000, &runtime(), &play);
}

fn encryption_keys() -> EncryptionKeys {
    EncryptionKeys::new("test", [7; 32]).expect("a valid id")
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use core::cell::Cell;

    use aplomb::store::SqliteRecords;
    use sqlx::sqlite::SqliteConnectOptions;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn records_in_a_sqlite_file_follow_the_model() {
        let play = async |script: &[Step]| {
            let (clock, directory) = (TestClock::new(), TempDir::new().expect("a directory"));
            let files = Cell::new(0);
            let empty_store = async || {
                files.set(files.get() + 1);
                let file = directory.path().join(format!("{}.db", files.get()));
                let options = SqliteConnectOptions::new().filename(file);
                let records = SqliteRecords::open(options, Arc::new(clock.clone())).await;
                Arc::new(records.expect("a new file"))
            };
            follows_the_model(empty_store, &clock, script).await
        };
        check(100, &runtime(), &play);
    }
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use aplomb::store::PostgresRecords;
    use aplomb::testing::{PostgresClock, PostgresServer};

    use super::*;

    #[test]
    fn records_on_postgres_follow_the_model() {
        let (runtime, server) = (runtime(), PostgresServer::start());
        let store = runtime.block_on(PostgresRecords::connect(&server.url()));
        let store = Arc::new(store.expect("a usable database"));
        let clock = runtime.block_on(PostgresClock::replace(&server.options("postgres")));
        let play = async |script: &[Step]| {
            let empty_store = async || {
                clock.remove_records().await;
                Arc::clone(&store)
            };
            follows_the_model(empty_store, &clock, script).await
        };
        check(500, &runtime, &play);
    }
}

#[cfg(feature = "redis")]
mod on_redis {
    use core::time::Duration;

    use aplomb::policies::idempotency::IdempotencyStore;
    use aplomb::store::{RedisConfig, RedisStore};
    use aplomb::testing::RedisServer;
    use aplomb::testing::admission::ByAdmission;

    use super::*;

    #[test]
    fn records_on_redis_follow_the_model() {
        check_on_redis(300, |store| store);
    }

    #[test]
    fn a26_encrypted_records_on_redis_follow_the_model() {
        check_on_redis(100, |store| EncryptedRecords::new(store, encryption_keys()));
    }

    #[test]
    fn records_that_admit_creates_on_redis_follow_the_model() {
        check_on_redis(100, |store| {
            ByAdmission::new(EncryptedRecords::new(store, encryption_keys()))
        });
    }

    fn check_on_redis<R: IdempotencyStore>(cases: u32, wrap: impl FnOnce(RedisStore) -> R) {
        let (runtime, server) = (runtime(), RedisServer::start());
        let config = RedisConfig::new(&server.url())
            .expect("a valid URL")
            .with_timeout(Duration::from_secs(10));
        let store = runtime
            .block_on(RedisStore::connect(&config, "test"))
            .expect("a usable server");
        let store = Arc::new(wrap(store));
        let play = async |script: &[Step]| {
            let empty_store = async || {
                server.flush_all();
                Arc::clone(&store)
            };
            follows_the_model(empty_store, &server, script).await
        };
        check(cases, &runtime, &play);
    }
}
