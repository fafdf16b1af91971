//! Meeting a server for the first time: whether promises can be kept with it.

use core::time::Duration;

use redis::{Cmd, Value};
use tokio::time::Instant;

use super::config::RedisConfig;
use super::explain::explain;
use super::inspect::{Info, inspect, persistence};
use super::link::{Failure, Link, Patience};
use super::pledge::{Found, Pledge};
use super::{RedisStore, keys};
use crate::policies::idempotency::{Begin, Fingerprint, IdempotencyStore, OnCrash, RecordKey, Token};
use crate::policies::rate_limit::{Bucket, Claim, LimitStore, Quota, Subject};
use crate::secret::Secret;
use crate::start::{StartError, StartErrors};
use crate::store::StoreError;

/// How long a server may take to answer at start.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

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

/// The secret that the first instance put there, which every further connection must find again.
pub(super) async fn shared_secret(
    link: &Link,
    config: &RedisConfig,
    namespace: &str,
) -> Result<Secret, StartError> {
    if config.accepts_eviction() {
        return Err(config.error("a server that evicts cannot keep the secret; set APLOMB_SECRET"));
    }
    let own = Secret::random();
    let pledge = Pledge::new(keys::secret(namespace), own.clone());
    tracing::warn!(
        store = config.shown(),
        key = pledge.key(),
        "APLOMB_SECRET is not set: the store keeps the secret, too"
    );
    let secret = match ask(link, &pledge.command()).await.map(Pledge::read) {
        Ok(Found::Nothing) => own,
        Ok(Found::Secret(secret)) => secret,
        Err(Failure::Refused(error)) if error.code() != Some("WRONGTYPE") => {
            return Err(config.error(explain(&error)));
        }
        Err(failure @ (Failure::NotSent(_) | Failure::Lost(_) | Failure::Late(_))) => {
            return Err(config.error(refusal(&failure)));
        }
        Ok(Found::Damage) | Err(Failure::Refused(_)) => {
            let key = pledge.key();
            return Err(config.error(format!("the secret at `{key}` is damaged, or of another version")));
        }
    };
    link.demand(Pledge::new(pledge.key().to_owned(), secret.clone()));
    Ok(secret)
}

/// Goes through what requests will do, with a record and a bucket that nobody else has: whether the
/// server runs all of it.
pub(super) async fn rehearse(store: &RedisStore, config: &RedisConfig) -> Result<(), StartError> {
    rehearsed(store).await.map_err(|error| config.error(format!("it does not do what is needed: {error}")))
}

async fn rehearsed(store: &RedisStore) -> Result<(), StoreError> {
    let (short, nobody) = (Duration::from_secs(10), RecordKey::new(rand::random(), rand::random()));
    let begin =
        Begin::new(nobody, Fingerprint::new(0, [0; 32]), Token::random(), short, OnCrash::Unknown, short);
    let bucket = || Bucket { limit: rand::random(), subject: Subject::Everyone };
    let of_all_kinds = [
        Quota::new(1, MOMENT, 1),
        Quota::leaky_bucket(1, MOMENT, 1),
        Quota::fixed_window(1, MOMENT),
        Quota::sliding_window(1, MOMENT),
    ];
    let claims = of_all_kinds.map(|quota| Claim::new(bucket(), quota.expect("a valid quota")));
    store.acquire(&claims).await?;
    store.begin(&begin).await?;
    store.heartbeat(&[begin.lease()], short).await?;
    store.write_off(begin.lease(), short).await?;
    store.resolve(nobody, None, short).await?;
    store.abort(begin.lease(), Duration::from_millis(1)).await
}

/// How long the buckets are kept that nobody needs.
const MOMENT: Duration = Duration::from_millis(1);

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
