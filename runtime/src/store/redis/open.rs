//! Meeting a server for the first time: whether promises can be kept with it.

use core::time::Duration;

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::config::RedisConfig;
use super::explain::explain;
use super::inspect::{Info, inspect, persistence};
use super::keys;
use super::link::{Failure, Link, Patience};
use crate::secret::Secret;
use crate::start::{StartError, StartErrors};

/// How long a server may take to answer at start.
const PATIENCE: Duration = Duration::from_secs(5);

/// A link to a server that will do.
pub(super) async fn open(config: &RedisConfig) -> Result<Link, StartErrors> {
    let link = Link::new(config.client().clone(), config.shown().to_owned());
    let text = match ask(&link, &redis::cmd("INFO")).await {
        Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(_) => return Err(config.error("this server tells nothing of itself; is it a Redis?").into()),
        Err(failure) => return Err(config.error(refusal(&failure)).into()),
    };
    let info = Info::parse(&text);
    let found = inspect(&info, config.accepts_eviction());
    found.warnings.iter().for_each(|warning| tracing::warn!(store = config.shown(), "{warning}"));
    let mut errors = StartErrors::new();
    errors.extend(found.errors.into_iter().map(|why| config.error(why)));
    errors.into_result()?;
    warn_of_losses(&link, config, &info).await;
    Ok(link)
}

/// The secret that the first instance put there.
pub(super) async fn shared_secret(
    link: &Link,
    config: &RedisConfig,
    namespace: &str,
) -> Result<Secret, StartError> {
    let (key, own) = (keys::secret(namespace), Secret::random());
    let mut set = redis::cmd("SET");
    set.arg(&key).arg([&[FORMAT], own.as_bytes()].concat()).arg("NX").arg("GET");
    tracing::warn!(store = config.shown(), key, "APLOMB_SECRET is not set: the store keeps the secret, too");
    let broken = || config.error(format!("the secret at `{key}` is damaged, or of another version"));
    match ask(link, &set).await {
        Ok(Value::Nil) => Ok(own),
        Ok(Value::BulkString(value)) if value.first() == Some(&FORMAT) => {
            Secret::new(&value[1..]).map_err(|_| broken())
        }
        Ok(_) => Err(broken()),
        Err(Failure::Refused(error)) if error.code() == Some("WRONGTYPE") => Err(broken()),
        Err(failure) => Err(config.error(refusal(&failure))),
    }
}

const FORMAT: u8 = 1;

async fn warn_of_losses(link: &Link, config: &RedisConfig, info: &Info<'_>) {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg("save").arg("appendfsync");
    // Managed servers may not tell their settings.
    let settings = ask(link, &get).await.ok().and_then(|told| redis::from_redis_value(told).ok());
    if let Some(warning) = persistence(info, &settings.unwrap_or_default()) {
        tracing::warn!(store = config.shown(), "{warning}");
    }
}

async fn ask(link: &Link, command: &Cmd) -> Result<Value, Failure> {
    link.call(command, Instant::now() + PATIENCE, Patience::None).await
}

/// Why a server cannot be used, for whoever set its URL.
fn refusal(failure: &Failure) -> String {
    match failure {
        Failure::NotSent(why) | Failure::Lost(why) | Failure::Late(why) => format!("cannot be used: {why}"),
        Failure::Refused(error) => explain(error),
    }
}
