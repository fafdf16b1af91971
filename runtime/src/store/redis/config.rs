use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use redis::{Client, IntoConnectionInfo};

use super::cluster::{self, SeedNodes};
use super::describe_error::describe_url_error;
use super::sentinel::{self, Sentinels};
use super::url::ListUrl;
use crate::settings;
use crate::start::StartError;
use crate::store::scheme_only;

/// The address and the settings of a Redis.
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
    servers: Servers,
    /// The URL without parts that may be passwords.
    redacted_url: String,
    /// The environment variable from which the URL was read; `None` if the URL was set in code.
    variable: Option<&'static str>,
    timeout: Duration,
    accept_eviction: bool,
}

/// The servers of a store.
#[derive(Clone)]
pub(super) enum Servers {
    /// One server.
    Server(Client),
    /// The server that the sentinels name as the primary.
    Primary(Arc<Sentinels>),
    /// The nodes of a cluster.
    Cluster(Arc<SeedNodes>),
}

impl RedisConfig {
    /// The default timeout of an operation: one second.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// Parses the URL of a Redis in one of these forms:
    ///
    /// | URL | Redis |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | one server |
    /// | `unix:///path` | one server at a Unix socket |
    /// | `redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name>[/<database>]` | the primary with this name; the hosts are sentinels |
    /// | `redis+cluster://[[user]:password@]host[:port][,host[:port]…]` | a cluster; the hosts are some of its nodes |
    ///
    /// `user` and `password` are for the servers. If the sentinels need their own password, add it
    /// to the query of the URL: `?sentinel_password=…&sentinel_user=…`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL has none of these forms. The error contains no part of the URL
    /// that may be a password.
    pub fn new(url: &str) -> Result<Self, StartError> {
        Self::from_variable(None, url)
    }

    fn from_variable(variable: Option<&'static str>, url: &str) -> Result<Self, StartError> {
        let redacted_url = without_password(url);
        match Servers::parse(url) {
            Ok(servers) => {
                let timeout = Self::DEFAULT_TIMEOUT;
                Ok(Self {
                    servers,
                    redacted_url,
                    variable,
                    timeout,
                    accept_eviction: false,
                })
            }
            // In a malformed URL the password can be anywhere, so the error shows only the scheme.
            Err(reason) => Err(start_error(variable, &scheme_only(url), reason)),
        }
    }

    /// Parses the URL that is the value of this environment variable.
    pub(crate) fn from_env(variable: &'static str, url: &str) -> Result<Self, StartError> {
        Self::from_variable(Some(variable), url)
    }

    /// Sets the timeout of an operation, from ten milliseconds to one minute. A value outside of
    /// this range is replaced by the nearest allowed value. After the timeout, the outcome of the
    /// operation is unknown.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(10), Duration::from_mins(1));
        self
    }

    /// Accepts a Redis that may evict idempotency records when its memory is full.
    ///
    /// A retry of an evicted key has a second effect. If `APLOMB_SECRET` is not set, the server may
    /// also evict the secret, which invalidates cursors. `APLOMB_STORE_EVICTION=accept` has the
    /// same effect.
    #[must_use]
    pub fn accepting_eviction(mut self) -> Self {
        self.accept_eviction = true;
        self
    }

    pub(super) const fn servers(&self) -> &Servers {
        &self.servers
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn accepts_eviction(&self) -> bool {
        self.accept_eviction
    }

    /// Creates an error about this Redis.
    pub(super) fn error(&self, reason: impl fmt::Display) -> StartError {
        start_error(self.variable, &self.redacted_url, reason)
    }

    /// Returns the URL without parts that may be passwords.
    pub(in crate::store) fn redacted_url(&self) -> &str {
        &self.redacted_url
    }
}

impl Servers {
    /// Parses a URL. The error says what is wrong and which form is accepted, but contains no part
    /// of the URL that may be a password.
    fn parse(url: &str) -> Result<Self, String> {
        match url.split_once("://") {
            Some(("redis+sentinel", rest)) => {
                let sentinels = ListUrl::parse(rest, sentinel::PORT).and_then(Sentinels::new);
                sentinels
                    .map(|sentinels| Self::Primary(Arc::new(sentinels)))
                    .map_err(expected(sentinel::FORM))
            }
            Some(("redis+cluster", rest)) => {
                let seeds = ListUrl::parse(rest, cluster::PORT).and_then(SeedNodes::new);
                seeds
                    .map(|seeds| Self::Cluster(Arc::new(seeds)))
                    .map_err(expected(cluster::FORM))
            }
            _ => {
                let client = url.into_connection_info().and_then(Client::open);
                client
                    .map(Self::Server)
                    .map_err(|error| describe_url_error(url, &error))
            }
        }
    }
}

fn expected(form: &str) -> impl FnOnce(String) -> String {
    move |reason| format!("{reason}; expected {form}")
}

fn start_error(
    variable: Option<&str>,
    redacted_url: &str,
    reason: impl fmt::Display,
) -> StartError {
    match variable {
        Some(variable) => StartError::variable(variable, redacted_url, reason),
        None => StartError::new(format!("{redacted_url}: {reason}")),
    }
}

const EVICTION: &str = "APLOMB_STORE_EVICTION";

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.redacted_url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Removes the user, the password and the query from a URL, which can contain passwords. If they
/// cannot be distinguished from the hosts, only the scheme remains.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return scheme_only(url);
    };
    match rest.split_once('?') {
        Some((_, query)) if query.contains('@') => format!("{scheme}://…"),
        Some((rest, _)) => format!("{scheme}://{}?…", without_user(rest)),
        None => format!("{scheme}://{}", without_user(rest)),
    }
}

fn without_user(rest: &str) -> String {
    rest.rfind('@')
        .map_or_else(|| rest.to_owned(), |at| format!("…{}", &rest[at..]))
}

/// Reads `APLOMB_STORE_EVICTION`; `true` for `accept`.
pub(crate) fn accepts_eviction() -> Result<bool, StartError> {
    match settings::variable(EVICTION)?.as_deref() {
        None => Ok(false),
        Some("accept") => Ok(true),
        Some(other) => Err(StartError::variable(EVICTION, other, "accepted: accept")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_debug_show_no_password() {
        for wrong in [
            "redis://:hunter2@host/x",
            "rediss://me:hunter2@host",
            "redis:/:hunter2@host:6379",
            "redis::hunter2@host",
            "redis:hunter2@host",
            "redis:\\\\:hunter2@host",
            "redis//:hunter2@host",
            "redis://host:6379:hunter2",
            "redis+sentinel://:hunter2@host",
            "redis+sentinel://me:hunter2@host:x/name",
            "redis+sentinel://host/name?sentinel_passwd=hunter2",
            "redis+sentinel://host/name?hunter2",
            "redis+sentinel://me:hunter2/host/name",
            "redis+cluster://:hunter2@host/1",
            "redis+cluster://hunter2@host",
            "redis+cluster:hunter2@host",
            "redis+cluster://host?password=hunter2",
            "rediss+cluster://:hunter2@host",
        ] {
            let error = RedisConfig::new(wrong)
                .expect_err("no URL of a Redis")
                .to_string();
            assert!(!error.contains("hunter"), "{error}");
        }
        let urls = [
            "unix:///s.sock?db=1&pass=hunter2",
            "redis://host?x=@hunter2",
            "redis://me:hunter?2@host",
            "redis+sentinel://me:hunter2@a,b:1/name?sentinel_password=hunter2",
            "redis+cluster://me:hunter2@a,b",
        ];
        for url in urls {
            assert!(!without_password(url).contains("hunter"), "{url}");
        }
        assert_eq!(
            without_password("redis://:hunter2@host:1/0"),
            "redis://…@host:1/0"
        );
        let config =
            RedisConfig::new("redis+sentinel://me:hunter2@a,b:1/name?sentinel_password=hunter2");
        let debug = format!("{:?}", config.expect("a valid URL"));
        assert!(
            debug.contains("redis+sentinel://…@a,b:1/name?…") && !debug.contains("hunter2"),
            "{debug}"
        );
    }

    #[test]
    fn each_invalid_url_is_reported_with_the_accepted_form() {
        for (wrong, what) in [
            (
                "redis+sentinel://host",
                "the name of the primary is missing",
            ),
            ("redis+sentinel:///name", "a host or its port is malformed"),
            (
                "redis+sentinel://a,,b/name",
                "a host or its port is malformed",
            ),
            (
                "redis+sentinel://a:port/name",
                "a host or its port is malformed",
            ),
            (
                "redis+sentinel://host/name/x",
                "the database is not a number",
            ),
            (
                "redis+sentinel://host/name/0/1",
                "more than a name and a database",
            ),
            (
                "redis+sentinel://host/name?x=1",
                "the parameters are sentinel_user and sentinel_password",
            ),
            (
                "redis+sentinel://host/name?sentinel_user=x",
                "sentinel_user needs sentinel_password",
            ),
            ("redis+sentinel://me@host/name", "a user needs a password"),
            ("redis+sentinel://:%ff@host/name", "not UTF-8"),
        ] {
            let error = RedisConfig::new(wrong).expect_err(wrong).to_string();
            assert!(
                error.contains(what) && error.contains("; expected redis+sentinel://[["),
                "{error}"
            );
        }
        for (wrong, what) in [
            ("redis+cluster://", "a host or its port is malformed"),
            ("redis+cluster://a,b:0", "a host or its port is malformed"),
            (
                "redis+cluster://host/1",
                "a cluster has only the database 0",
            ),
            (
                "redis+cluster://host?x=1",
                "the URL of a cluster must not have parameters",
            ),
            ("redis+cluster://me:@host", "a user needs a password"),
        ] {
            let error = RedisConfig::new(wrong).expect_err(wrong).to_string();
            assert!(
                error.contains(what) && error.contains("; expected redis+cluster://[["),
                "{error}"
            );
        }
    }

    #[test]
    fn sentinels_and_clusters_are_recognized_by_their_scheme() {
        for (url, expected) in [
            ("redis+sentinel://a/name", true),
            (
                "redis+sentinel://me:pw@a:1,[::1]:2,c/name/7?sentinel_user=x&sentinel_password=y",
                true,
            ),
            ("redis+cluster://a", false),
            ("redis+cluster://:pw@a:1,b/", false),
        ] {
            let config = RedisConfig::new(url).expect(url);
            assert_eq!(
                matches!(config.servers, Servers::Primary(_)),
                expected,
                "{url}"
            );
            assert_eq!(
                matches!(config.servers, Servers::Cluster(_)),
                !expected,
                "{url}"
            );
        }
    }
}
