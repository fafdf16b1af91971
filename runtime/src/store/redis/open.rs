//! The checks of a Redis at the start of a service: inspection, shared secret and self-test.

use core::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::config::RedisConfig;
use super::describe_error::describe_error;
use super::inspect::{Info, coverage_warning, data_loss_warning, inspect};
use super::link::{Failure, NodeLink, Server, WhenDisconnected};
use super::{RedisStore, keys};
use crate::policies::idempotency::{Begin, Fingerprint, IdempotencyStore, OnCrash, Token};
use crate::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use crate::request::Caller;
use crate::secret::Secret;
use crate::start::{StartError, StartErrors};
use crate::store::StoreError;

/// The time that a server may take to reply at start.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the servers and inspects them.
pub(super) async fn open(config: &RedisConfig) -> Result<NodeLink, StartErrors> {
    let link = NodeLink::new(config);
    let servers = link.servers(Instant::now() + OPEN_TIMEOUT).await;
    let servers = servers.map_err(|failure| config.error(describe_failure(&failure)))?;
    let mut errors = StartErrors::new();
    for inspected in join_all(
        servers
            .iter()
            .map(|server| inspect_one(server, config, link.is_cluster())),
    )
    .await
    {
        errors.collect(inspected);
    }
    errors.into_result().map(|()| link)
}

async fn inspect_one(
    server: &Server,
    config: &RedisConfig,
    in_cluster: bool,
) -> Result<(), StartErrors> {
    let error = |reason| match &server.address {
        Some(address) => config.error(format_args!("{address}: {reason}")),
        None => config.error(reason),
    };
    let text = match call_server(server, &redis::cmd("INFO")).await {
        Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(_) => {
            return Err(error(String::from(
                "this server's reply to INFO is not text; is it a Redis?",
            ))
            .into());
        }
        Err(failure) => return Err(error(describe_failure(&failure)).into()),
    };
    let info = Info::parse(&text);
    let found = inspect(&info, in_cluster, config.accepts_eviction());
    let address = server.address.as_deref();
    found
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!(store = config.redacted_url(), address, "{warning}"));
    let mut errors = StartErrors::new();
    errors.extend(found.errors.into_iter().map(error));
    errors.into_result()?;
    warn_of_data_loss(server, config, &info).await;
    Ok(())
}

/// Reads the secret that the instances of a service share, or creates it in the store.
///
/// The read and the creation are one atomic step, so that instances that start together get the
/// same secret. An instance never reads the secret again, and uses this secret until it stops.
pub(super) async fn shared_secret(
    link: &NodeLink,
    config: &RedisConfig,
    namespace: &str,
) -> Result<Secret, StartError> {
    let (key, new_secret) = (keys::secret(namespace), Secret::random());
    tracing::warn!(
        store = config.redacted_url(),
        key,
        "APLOMB_SECRET is not set: the store keeps the secret, and cursors become invalid if the store loses it"
    );
    let mut set = redis::cmd("SET");
    set.arg(&key)
        .arg([&[SECRET_FORMAT], new_secret.as_bytes()].concat())
        .arg("NX")
        .arg("GET");
    match link.call(&key, &set, Instant::now() + OPEN_TIMEOUT).await {
        Ok(Value::Nil) => Ok(new_secret),
        Ok(Value::BulkString(value)) => {
            parse_secret(&value).ok_or_else(|| damaged_secret(config, &key))
        }
        Err(Failure::Refused(error)) if error.code() != Some("WRONGTYPE") => {
            Err(config.error(describe_error(&error)))
        }
        Ok(_) | Err(Failure::Refused(_)) => Err(damaged_secret(config, &key)),
        Err(failure) => Err(config.error(describe_failure(&failure))),
    }
}

/// The first byte of the stored secret.
const SECRET_FORMAT: u8 = 1;

fn parse_secret(value: &[u8]) -> Option<Secret> {
    value
        .strip_prefix(&[SECRET_FORMAT])
        .and_then(|secret| Secret::new(secret).ok())
}

fn damaged_secret(config: &RedisConfig, key: &str) -> StartError {
    config.error(format_args!(
        "the secret at `{key}` is damaged, or another version wrote it; \
         delete the key to create a new secret, which invalidates cursors"
    ))
}

/// Runs all scripts once on every server, with a record and buckets of random names.
///
/// So a missing permission or an incompatible server is found at start, not by the first request.
pub(super) async fn self_test(store: &RedisStore, config: &RedisConfig) -> Result<(), StartError> {
    let servers = store
        .link
        .servers(Instant::now() + OPEN_TIMEOUT)
        .await
        .map_err(|failure| config.error(describe_failure(&failure)))?;
    let mut untested: Vec<_> = servers.into_iter().map(|server| server.address).collect();
    // A random caller belongs to a random slot, so random callers are generated until each node was
    // tested. A node with very few slots may remain untested.
    for _ in 0..MAX_TEST_CALLERS {
        let caller = Caller::new(format!("{:032x}", rand::random::<u128>()));
        let node = store
            .link
            .address_of(&store.inner.keys.bucket(&test_bucket(&caller)));
        let Some(index) = untested.iter().position(|address| *address == node) else {
            continue;
        };
        untested.swap_remove(index);
        self_test_node(store, &caller).await.map_err(|error| {
            let node = node
                .map(|address| format!("{address}: "))
                .unwrap_or_default();
            config.error(format_args!("{node}the self-test failed: {error}"))
        })?;
        if untested.is_empty() {
            break;
        }
    }
    Ok(())
}

/// The maximum number of random callers that the self-test generates to reach every node. With
/// 2,000 callers, the self-test misses a node with one per cent of the slots once in 500 million
/// starts.
const MAX_TEST_CALLERS: usize = 2_000;

fn test_bucket(caller: &Caller) -> Bucket<'_> {
    Bucket {
        limit: 0,
        subject: LimitSubject::Caller(caller),
    }
}

async fn self_test_node(store: &RedisStore, caller: &Caller) -> Result<(), StoreError> {
    // If the test ends early, its record expires after ten seconds.
    let (short, record) = (
        Duration::from_secs(10),
        store.inner.keys.record_of(caller, rand::random()),
    );
    let begin = Begin::new(
        record,
        Fingerprint::new(0, [0; 32]),
        Token::random(),
        short,
        OnCrash::Unknown,
        short,
    );
    let quotas = [
        Quota::new(1, TEST_PERIOD, 1),
        Quota::leaky_bucket(1, TEST_PERIOD, 1),
        Quota::fixed_window(1, TEST_PERIOD),
        Quota::sliding_window(1, TEST_PERIOD),
    ];
    let bucket = || Bucket {
        limit: rand::random(),
        subject: LimitSubject::Caller(caller),
    };
    let requests = quotas.map(|quota| LimitRequest::new(bucket(), quota.expect("a valid quota")));
    store.acquire(&requests).await?;
    store.begin(&begin).await?;
    store.heartbeat(&[begin.lease()], short).await?;
    store.mark_unknown(begin.lease(), short).await?;
    store.resolve(record, None, short).await?;
    store.abort(begin.lease(), Duration::from_millis(1)).await
}

/// The period of the tested limits. It is short, because a bucket expires after its period.
const TEST_PERIOD: Duration = Duration::from_millis(1);

async fn warn_of_data_loss(server: &Server, config: &RedisConfig, info: &Info<'_>) {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET")
        .arg("save")
        .arg("appendfsync")
        .arg("cluster-require-full-coverage");
    // Managed servers may forbid `CONFIG GET`. Then the warnings rely on `INFO`.
    let settings = call_server(server, &get)
        .await
        .ok()
        .and_then(|reply| redis::from_redis_value(reply).ok());
    let settings = settings.unwrap_or_default();
    let data_loss = data_loss_warning(info, &settings);
    let coverage = coverage_warning(&settings).filter(|_| server.address.is_some());
    for warning in data_loss.as_deref().into_iter().chain(coverage) {
        tracing::warn!(
            store = config.redacted_url(),
            address = server.address,
            "{warning}"
        );
    }
}

async fn call_server(server: &Server, command: &Cmd) -> Result<Value, Failure> {
    server
        .connection
        .call(
            command,
            Instant::now() + OPEN_TIMEOUT,
            WhenDisconnected::Fail,
        )
        .await
}

/// Describes a failure for an operator who has set the URL.
fn describe_failure(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(reason) | Failure::Lost(reason) | Failure::TimedOut(reason) => {
            format!("cannot be used: {reason}")
        }
        Failure::Refused(error) => describe_error(error),
    }
}
