use core::fmt;
use core::time::Duration;

use redis::{Client, IntoConnectionInfo};

use super::explain::explain_url;
use crate::settings;
use crate::start::StartError;
use crate::store::scheme_only;

/// Where a Redis is, and how it is used.
///
/// ```
/// use aplomb::store::{RedisConfig, Store};
///
/// let config = RedisConfig::new("redis://:secret@redis.internal:6379/0")?;
/// let store = Store::redis(config);
/// # Ok::<_, aplomb::StartError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    client: Client,
    shown: String,
    /// The environment variable that says so, if one does.
    variable: Option<&'static str>,
    timeout: Duration,
    accept_eviction: bool,
}

impl RedisConfig {
    /// How long an operation may take, unless another time is chosen.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The Redis at `redis://[[user]:password@]host[:port][/database]`, or at a socket of this
    /// machine, `unix:///path`.
    ///
    /// # Errors
    ///
    /// If that is no such URL.
    pub fn new(url: &str) -> Result<Self, StartError> {
        Self::said_by(None, url)
    }

    fn said_by(variable: Option<&'static str>, url: &str) -> Result<Self, StartError> {
        let shown = without_password(url);
        match url.into_connection_info().and_then(Client::open) {
            Ok(client) => {
                let timeout = Self::DEFAULT_TIMEOUT;
                Ok(Self { client, shown, variable, timeout, accept_eviction: false })
            }
            // Where a password stands in what is no URL, nobody knows.
            Err(error) => Err(start_error(variable, &scheme_only(url), explain_url(url, &error))),
        }
    }

    /// As the environment has it: `url` is the value of this variable.
    pub(crate) fn from_env(variable: &'static str, url: &str) -> Result<Self, StartError> {
        let config = Self::said_by(Some(variable), url)?;
        let accept_eviction = match settings::variable(EVICTION)?.as_deref() {
            None => false,
            Some("accept") => true,
            Some(other) => return Err(StartError::variable(EVICTION, other, "accepted: accept")),
        };
        Ok(Self { accept_eviction, ..config })
    }

    /// How long an operation may take before its outcome counts as unknown: from ten milliseconds to
    /// a minute; what is less or more is taken as that.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(10), Duration::from_mins(1));
        self
    }

    /// Uses a Redis that may evict records of idempotency keys when its memory is full: a retry of
    /// an evicted key has a second effect. `APLOMB_STORE_EVICTION=accept` says the same. The
    /// secret must then be set: such a server cannot keep it.
    #[must_use]
    pub fn accepting_eviction(mut self) -> Self {
        self.accept_eviction = true;
        self
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn accepts_eviction(&self) -> bool {
        self.accept_eviction
    }

    /// Something that is wrong with this Redis.
    pub(super) fn error(&self, why: impl fmt::Display) -> StartError {
        start_error(self.variable, &self.shown, why)
    }

    /// The URL as it may be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

fn start_error(variable: Option<&str>, shown: &str, why: impl fmt::Display) -> StartError {
    match variable {
        Some(variable) => StartError::variable(variable, shown, why),
        None => StartError::new(format!("{shown}: {why}")),
    }
}

const EVICTION: &str = "APLOMB_STORE_EVICTION";

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.shown)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A URL as it may be shown: what stands before the host, or in the query, can be a password. Where
/// one cannot be told from the other, only the scheme is shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return scheme_only(url) };
    match rest.split_once('?') {
        Some((_, query)) if query.contains('@') => format!("{scheme}://…"),
        Some((rest, _)) => format!("{scheme}://{}?…", without_user(rest)),
        None => format!("{scheme}://{}", without_user(rest)),
    }
}

fn without_user(rest: &str) -> String {
    rest.rfind('@').map_or_else(|| rest.to_owned(), |at| format!("…{}", &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for wrong in [
            "redis://:hunter2@host/x",
            "rediss://me:hunter2@host",
            "redis:/:hunter2@host:6379",
            "redis::hunter2@host",
            "redis:hunter2@host",
            "redis:\\\\:hunter2@host",
            "redis//:hunter2@host",
            "redis://host:6379:hunter2",
        ] {
            let error = RedisConfig::new(wrong).expect_err("no URL of a Redis").to_string();
            assert!(!error.contains("hunter"), "{error}");
        }
        let shown =
            ["unix:///s.sock?db=1&pass=hunter2", "redis://host?x=@hunter2", "redis://me:hunter?2@host"];
        for url in shown {
            assert!(!without_password(url).contains("hunter"), "{url}");
        }
        assert_eq!(without_password("redis://:hunter2@host:1/0"), "redis://…@host:1/0");
    }
}
