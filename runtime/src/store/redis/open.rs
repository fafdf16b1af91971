//! Meeting servers for the first time: whether promises can be kept with them.

use core::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::config::RedisConfig;
use super::describe_error::describe_error;
use super::inspect::{Info, coverage, inspect, persistence};
use super::link::{Failure, NodeLink, Server, WhenDisconnected};
use super::{RedisStore, keys};
use crate::policies::idempotency::{Begin, Fingerprint, IdempotencyStore, OnCrash, Token};
use crate::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use crate::request::Caller;
use crate::secret::Secret;
use crate::start::{StartError, StartErrors};
use crate::store::StoreError;

/// How long a server may take to answer at start.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A link to servers that will do.
pub(super) async fn open(config: &RedisConfig) -> Result<NodeLink, StartErrors> {
    let link = NodeLink::new(config);
    let servers = link.servers(Instant::now() + OPEN_TIMEOUT).await;
    let servers = servers.map_err(|failure| config.error(refusal(&failure)))?;
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
    is_node: bool,
) -> Result<(), StartErrors> {
    let error = |why| match &server.address {
        Some(address) => config.error(format_args!("{address}: {why}")),
        None => config.error(why),
    };
    let text = match ask(server, &redis::cmd("INFO")).await {
        Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(_) => {
            return Err(error(String::from(
                "this server tells nothing of itself; is it a Redis?",
            ))
            .into());
        }
        Err(failure) => return Err(error(refusal(&failure)).into()),
    };
    let info = Info::parse(&text);
    let found = inspect(&info, is_node, config.accepts_eviction());
    let address = server.address.as_deref();
    found
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!(store = config.shown(), address, "{warning}"));
    let mut errors = StartErrors::new();
    errors.extend(found.errors.into_iter().map(error));
    errors.into_result()?;
    warn_of_data_loss(server, config, &info).await;
    Ok(())
}

/// The secret that the instances of a service share: read where the store keeps one, else made and put
/// there, in one atomic step. It is not looked at again: an instance keeps the one that it started with.
pub(super) async fn shared_secret(
    link: &NodeLink,
    config: &RedisConfig,
    namespace: &str,
) -> Result<Secret, StartError> {
    let (key, own) = (keys::secret(namespace), Secret::random());
    tracing::warn!(
        store = config.shown(),
        key,
        "APLOMB_SECRET is not set: the store keeps the secret, and cursors become invalid if the store loses it"
    );
    let mut set = redis::cmd("SET");
    set.arg(&key)
        .arg([&[SECRET_FORMAT], own.as_bytes()].concat())
        .arg("NX")
        .arg("GET");
    match link.call(&key, &set, Instant::now() + OPEN_TIMEOUT).await {
        Ok(Value::Nil) => Ok(own),
        Ok(Value::BulkString(value)) => secret_of(&value).ok_or_else(|| damaged(config, &key)),
        Err(Failure::Refused(error)) if error.code() != Some("WRONGTYPE") => {
            Err(config.error(describe_error(&error)))
        }
        Ok(_) | Err(Failure::Refused(_)) => Err(damaged(config, &key)),
        Err(failure) => Err(config.error(refusal(&failure))),
    }
}

/// The first byte of the value that is a secret.
const SECRET_FORMAT: u8 = 1;

fn secret_of(value: &[u8]) -> Option<Secret> {
    value
        .strip_prefix(&[SECRET_FORMAT])
        .and_then(|secret| Secret::new(secret).ok())
}

fn damaged(config: &RedisConfig, key: &str) -> StartError {
    config.error(format_args!(
        "the secret at `{key}` is damaged, or of another version"
    ))
}

/// Goes through what requests will do, with records and buckets that nobody else has: whether every
/// server runs all of it.
pub(super) async fn self_test(store: &RedisStore, config: &RedisConfig) -> Result<(), StartError> {
    let failed = |failure: &Failure| config.error(refusal(failure));
    let servers = store
        .link
        .servers(Instant::now() + OPEN_TIMEOUT)
        .await
        .map_err(|failure| failed(&failure))?;
    let mut left: Vec<_> = servers.into_iter().map(|server| server.address).collect();
    // A node with so few slots that no caller is met there does what the others do.
    for _ in 0..MAX_TEST_CALLERS {
        let nobody = Caller::new(format!("{:032x}", rand::random::<u128>()));
        let at = store
            .link
            .address_of(&store.inner.keys.bucket(&test_bucket(&nobody)));
        let Some(index) = left.iter().position(|address| *address == at) else {
            continue;
        };
        left.swap_remove(index);
        self_test_node(store, &nobody).await.map_err(|error| {
            let at = at.map(|address| format!("{address}: ")).unwrap_or_default();
            config.error(format_args!("{at}it does not do what is needed: {error}"))
        })?;
        if left.is_empty() {
            break;
        }
    }
    Ok(())
}

/// So many callers are made up to meet every node.
const MAX_TEST_CALLERS: usize = 2_000;

fn test_bucket(caller: &Caller) -> Bucket<'_> {
    Bucket {
        limit: 0,
        subject: LimitSubject::Caller(caller),
    }
}

async fn self_test_node(store: &RedisStore, nobody: &Caller) -> Result<(), StoreError> {
    let (short, record) = (
        Duration::from_secs(10),
        store.inner.keys.record_of(nobody, rand::random()),
    );
    let begin = Begin::new(
        record,
        Fingerprint::new(0, [0; 32]),
        Token::random(),
        short,
        OnCrash::Unknown,
        short,
    );
    let of_all_kinds = [
        Quota::new(1, MOMENT, 1),
        Quota::leaky_bucket(1, MOMENT, 1),
        Quota::fixed_window(1, MOMENT),
        Quota::sliding_window(1, MOMENT),
    ];
    let bucket = || Bucket {
        limit: rand::random(),
        subject: LimitSubject::Caller(nobody),
    };
    let claims =
        of_all_kinds.map(|quota| LimitRequest::new(bucket(), quota.expect("a valid quota")));
    store.acquire(&claims).await?;
    store.begin(&begin).await?;
    store.heartbeat(&[begin.lease()], short).await?;
    store.mark_unknown(begin.lease(), short).await?;
    store.resolve(record, None, short).await?;
    store.abort(begin.lease(), Duration::from_millis(1)).await
}

/// How long the buckets are kept that nobody needs.
const MOMENT: Duration = Duration::from_millis(1);

async fn warn_of_data_loss(server: &Server, config: &RedisConfig, info: &Info<'_>) {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET")
        .arg("save")
        .arg("appendfsync")
        .arg("cluster-require-full-coverage");
    // Managed servers may not tell their settings.
    let settings = ask(server, &get)
        .await
        .ok()
        .and_then(|told| redis::from_redis_value(told).ok());
    let settings = settings.unwrap_or_default();
    let losses = persistence(info, &settings);
    let coverage = coverage(&settings).filter(|_| server.address.is_some());
    for warning in losses.as_deref().into_iter().chain(coverage) {
        tracing::warn!(
            store = config.shown(),
            address = server.address,
            "{warning}"
        );
    }
}

async fn ask(server: &Server, command: &Cmd) -> Result<Value, Failure> {
    server
        .connection
        .call(
            command,
            Instant::now() + OPEN_TIMEOUT,
            WhenDisconnected::Fail,
        )
        .await
}

/// Why a server cannot be used, for whoever set its URL.
fn refusal(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why) | Failure::Lost(why) | Failure::Late(why) => {
            format!("cannot be used: {why}")
        }
        Failure::Refused(error) => describe_error(error),
    }
}
