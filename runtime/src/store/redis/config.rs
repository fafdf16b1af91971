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
    place: Servers,
    shown: String,
    /// The environment variable that says so, if one does.
    variable: Option<&'static str>,
    timeout: Duration,
    accept_eviction: bool,
}

/// Where the servers of a store are.
#[derive(Clone)]
pub(super) enum Servers {
    Server(Client),
    Primary(Arc<Sentinels>),
    Cluster(Arc<SeedNodes>),
}

impl RedisConfig {
    /// How long an operation may take, unless another time is chosen.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The Redis at one of these:
    ///
    /// | URL | |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | one server |
    /// | `unix:///path` | one server, at a socket of this machine |
    /// | `redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name>[/<database>]` | the primary that sentinels know by this name; the hosts are theirs |
    /// | `redis+cluster://[[user]:password@]host[:port][,host[:port]…]` | a cluster, of which these are some nodes |
    ///
    /// User and password are those of the servers. Sentinels that demand a password of their own get
    /// `?sentinel_password=…`, and with it `&sentinel_user=…`.
    ///
    /// # Errors
    ///
    /// If that is no such URL.
    pub fn new(url: &str) -> Result<Self, StartError> {
        Self::from_variable(None, url)
    }

    fn from_variable(variable: Option<&'static str>, url: &str) -> Result<Self, StartError> {
        let shown = without_password(url);
        match Servers::parse(url) {
            Ok(place) => {
                let timeout = Self::DEFAULT_TIMEOUT;
                Ok(Self {
                    place,
                    shown,
                    variable,
                    timeout,
                    accept_eviction: false,
                })
            }
            // Where a password stands in what is no URL, nobody knows.
            Err(why) => Err(start_error(variable, &scheme_only(url), why)),
        }
    }

    /// As the environment has it: `url` is the value of this variable.
    pub(crate) fn from_env(variable: &'static str, url: &str) -> Result<Self, StartError> {
        Self::from_variable(Some(variable), url)
    }

    /// How long an operation may take before its outcome counts as unknown: from ten milliseconds to
    /// a minute; what is less or more is taken as that.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(10), Duration::from_mins(1));
        self
    }

    /// Uses a Redis that may evict records of idempotency keys when its memory is full: a retry of
    /// an evicted key has a second effect. `APLOMB_STORE_EVICTION=accept` says the same. Where
    /// `APLOMB_SECRET` is not set, the server may evict the secret, too, which ends cursors.
    #[must_use]
    pub fn accepting_eviction(mut self) -> Self {
        self.accept_eviction = true;
        self
    }

    pub(super) const fn servers(&self) -> &Servers {
        &self.place
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
    pub(in crate::store) fn shown(&self) -> &str {
        &self.shown
    }
}

impl Servers {
    /// An error says what is wrong, what is accepted, and nothing that could be a password.
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
    move |why| format!("{why}; expected {form}")
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

/// What `APLOMB_STORE_EVICTION` says: whether a server may evict records.
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
        let shown = [
            "unix:///s.sock?db=1&pass=hunter2",
            "redis://host?x=@hunter2",
            "redis://me:hunter?2@host",
            "redis+sentinel://me:hunter2@a,b:1/name?sentinel_password=hunter2",
            "redis+cluster://me:hunter2@a,b",
        ];
        for url in shown {
            assert!(!without_password(url).contains("hunter"), "{url}");
        }
        assert_eq!(
            without_password("redis://:hunter2@host:1/0"),
            "redis://…@host:1/0"
        );
        let config =
            RedisConfig::new("redis+sentinel://me:hunter2@a,b:1/name?sentinel_password=hunter2");
        let shown = format!("{:?}", config.expect("a valid URL"));
        assert!(
            shown.contains("redis+sentinel://…@a,b:1/name?…") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn each_wrong_form_says_what_is_accepted() {
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
            ("redis+cluster://host/1", "a cluster has no databases but 0"),
            ("redis+cluster://host?x=1", "there are no parameters"),
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
    fn several_servers_have_forms_of_their_own() {
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
                matches!(config.place, Servers::Primary(_)),
                expected,
                "{url}"
            );
            assert_eq!(
                matches!(config.place, Servers::Cluster(_)),
                !expected,
                "{url}"
            );
        }
    }
}
