//! Where promises are kept: the facets that policies need, and what can stand behind them.
//!
//! A facet is a small trait of whole operations, each one atomic step. Its documentation says what
//! a crash before or after a step leaves behind; a public conformance suite
//! ([`testing`](crate::testing)) proves it of a backend. One that keeps several facets can take a step over
//! them ([`AdmissionStore`]). Facets can be mixed:
//!
//! ```
//! use std::sync::Arc;
//! use aplomb::store::{MemoryLimits, MemoryRecords, Store};
//!
//! let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(MemoryRecords::new()));
//! ```

mod admission;
mod encrypted;
mod memory;
#[cfg(feature = "redis")]
pub mod redis;

use std::sync::Arc;

pub use admission::{Admission, AdmissionStore};
pub use encrypted::EncryptedRecords;
pub use memory::MemoryRecords;
#[cfg(feature = "redis")]
pub use redis::{RedisConfig, RedisStore};

use crate::clock::{Clock, SystemClock};
pub use crate::facet::{StoreError, StoreFuture};
use crate::policies::idempotency::IdempotencyStore;
use crate::policies::rate_limit::LimitStore;
pub use crate::policies::rate_limit::memory::MemoryLimits;
use crate::secret::Secret;
use crate::settings;
use crate::start::{StartError, StartErrors};

/// One implementation of each facet. An API connects to it when it starts.
#[derive(Debug, Clone)]
pub struct Store {
    /// `None` if the settings name no store; then there is an error.
    source: Option<Source>,
    /// What is wrong with the settings, for the start.
    errors: StartErrors,
    is_from_env: bool,
    limits: Option<Arc<dyn LimitStore>>,
    records: Option<Arc<dyn IdempotencyStore>>,
    admission: Option<Arc<dyn AdmissionStore>>,
}

#[derive(Debug, Clone)]
enum Source {
    /// What ends with this process.
    Memory(Facets),
    /// What the program brings.
    Facets(Facets),
    #[cfg(feature = "redis")]
    Redis(RedisConfig),
}

#[derive(Debug, Clone)]
pub(crate) struct Facets {
    pub(crate) limits: Arc<dyn LimitStore>,
    pub(crate) records: Arc<dyn IdempotencyStore>,
    /// Both at once, where one store keeps them.
    pub(crate) admission: Option<Arc<dyn AdmissionStore>>,
}

/// A store that is connected.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) facets: Facets,
    /// The secret that the instances share; `None` if they share none.
    pub(crate) secret: Option<Secret>,
}

const VARIABLE: &str = "APLOMB_STORE";

#[cfg(feature = "redis")]
const ACCEPTED: &str = "accepted: memory:, redis://[[user]:password@]host[:port][/database], unix:///path, \
    redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name of the primary>[/<database>], \
    redis+cluster://[[user]:password@]host[:port][,host[:port]…]";
#[cfg(not(feature = "redis"))]
const ACCEPTED: &str = "accepted: memory: (and redis://… in a build with the feature `redis`)";

/// The schemes of URLs that lead to a Redis, or to the reason why they do not.
#[cfg(feature = "redis")]
const REDIS: [&str; 10] = [
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "unix",
    "redis+unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
];

impl Store {
    /// These facets.
    pub fn new(limits: Arc<dyn LimitStore>, records: Arc<dyn IdempotencyStore>) -> Self {
        Self::of(Source::Facets(Facets {
            limits,
            records,
            admission: None,
        }))
    }

    /// The store that `APLOMB_STORE` names: `memory:`, or a Redis by its URL; `memory:` where it is
    /// not set. A value that names none is said at start.
    pub fn from_env() -> Self {
        let mut errors = StartErrors::new();
        let source = errors
            .collect(settings::variable(VARIABLE))
            .and_then(|value| match value {
                None => Some(Source::memory(Arc::new(SystemClock::new()))),
                Some(value) => errors.collect(Source::named(&value)),
            });
        #[cfg(feature = "redis")]
        let source = match errors.collect(redis::accepts_eviction()) {
            Some(true) => source.map(Source::accepting_eviction),
            _ => source,
        };
        Self {
            source,
            errors,
            is_from_env: true,
            limits: None,
            records: None,
            admission: None,
        }
    }

    /// Everything in this process's memory: for tests, and for a single process that may forget.
    pub fn memory() -> Self {
        Self::memory_at(Arc::new(SystemClock::new()))
    }

    /// The same, by this clock.
    pub fn memory_at(clock: Arc<dyn Clock>) -> Self {
        Self::of(Source::memory(clock))
    }

    /// Everything in a Redis that all instances share.
    #[cfg(feature = "redis")]
    pub fn redis(config: RedisConfig) -> Self {
        Self::of(Source::Redis(config))
    }

    /// The same store, with the limits elsewhere.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<dyn LimitStore>) -> Self {
        self.limits = Some(limits);
        self.admission = None;
        self
    }

    /// The same store, with the records of idempotency keys elsewhere.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn IdempotencyStore>) -> Self {
        self.records = Some(records);
        self.admission = None;
        self
    }

    /// The same store, which admits requests in one step. It must go to the very limits and records that
    /// the store has: whoever replaces one of them afterwards takes this back. A store on Redis has it.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<dyn AdmissionStore>) -> Self {
        self.admission = Some(admission);
        self
    }

    fn of(source: Source) -> Self {
        let (source, errors) = (Some(source), StartErrors::new());
        Self {
            source,
            errors,
            is_from_env: false,
            limits: None,
            records: None,
            admission: None,
        }
    }

    /// Whether the records end with this process.
    #[cfg(feature = "cli")]
    pub(crate) fn is_memory(&self) -> bool {
        self.records.is_none() && matches!(self.source, Some(Source::Memory(_)))
    }

    /// The store as it may be shown: its URL without a password, if it has one.
    #[cfg(feature = "cli")]
    pub(crate) fn shown(&self) -> String {
        match &self.source {
            Some(Source::Memory(_)) => String::from("memory"),
            Some(Source::Facets(_)) | None => String::from("of the program"),
            #[cfg(feature = "redis")]
            Some(Source::Redis(config)) => config.shown().to_owned(),
        }
    }

    /// Whether `APLOMB_STORE` is set, and this store does not read it.
    pub(crate) fn is_set_in_code(&self) -> bool {
        !self.is_from_env && std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty())
    }

    /// Connects, for the API of this name.
    pub(crate) async fn open(
        &self,
        namespace: &str,
        secret: Option<Secret>,
    ) -> Result<Opened, StartErrors> {
        let mut errors = self.errors.clone();
        let opened = match self.source.clone() {
            Some(source) => errors.collect(source.open(namespace, secret).await),
            None => None,
        };
        errors.into_result()?;
        let mut opened = opened.expect("a store that is not opened has an error");
        let facets = &mut opened.facets;
        let is_whole = self.limits.is_none() && self.records.is_none();
        facets.admission = self
            .admission
            .clone()
            .or_else(|| facets.admission.take().filter(|_| is_whole));
        facets.limits = self
            .limits
            .clone()
            .unwrap_or_else(|| Arc::clone(&facets.limits));
        facets.records = self
            .records
            .clone()
            .unwrap_or_else(|| Arc::clone(&facets.records));
        Ok(opened)
    }
}

impl Source {
    fn memory(clock: Arc<dyn Clock>) -> Self {
        let limits =
            MemoryLimits::with_capacity(MemoryLimits::DEFAULT_CAPACITY, Arc::clone(&clock));
        let (records, bytes) = (MemoryRecords::DEFAULT_RECORDS, MemoryRecords::DEFAULT_BYTES);
        let records = Arc::new(MemoryRecords::with_bounds(records, bytes, clock));
        Self::Memory(Facets {
            limits: Arc::new(limits),
            records,
            admission: None,
        })
    }

    fn named(value: &str) -> Result<Self, StartError> {
        match value.split_once(':') {
            Some(("memory", "")) => Ok(Self::memory(Arc::new(SystemClock::new()))),
            #[cfg(feature = "redis")]
            Some((scheme, _)) if REDIS.contains(&scheme) => {
                RedisConfig::from_env(VARIABLE, value).map(Self::Redis)
            }
            _ => {
                let why = format!("no such store; {ACCEPTED}");
                Err(StartError::variable(VARIABLE, &scheme_only(value), why))
            }
        }
    }

    #[cfg(feature = "redis")]
    fn accepting_eviction(self) -> Self {
        match self {
            Self::Redis(config) => Self::Redis(config.accepting_eviction()),
            other => other,
        }
    }

    #[cfg_attr(
        not(feature = "redis"),
        expect(unused_variables, reason = "what is in memory needs no name")
    )]
    async fn open(self, namespace: &str, secret: Option<Secret>) -> Result<Opened, StartErrors> {
        match self {
            Self::Memory(facets) | Self::Facets(facets) => Ok(Opened { facets, secret }),
            #[cfg(feature = "redis")]
            Self::Redis(config) => {
                let (store, secret) = RedisStore::connect_with(&config, namespace, secret).await?;
                let store = Arc::new(store);
                let (limits, records) = (Arc::clone(&store), Arc::clone(&store));
                let facets = Facets {
                    limits,
                    records,
                    admission: Some(store),
                };
                Ok(Opened {
                    facets,
                    secret: Some(secret),
                })
            }
        }
    }
}

/// Whether a name can stand in the keys of a shared store.
pub(crate) fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// Of what is no URL of ours, what stands before the colon.
fn scheme_only(url: &str) -> String {
    url.split_once(':')
        .map_or_else(|| url.to_owned(), |(scheme, _)| format!("{scheme}:…"))
}

impl Default for Store {
    fn default() -> Self {
        Self::memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_is_not_shown_in_full() {
        let error = Source::named("redsi://:hunter2@host")
            .expect_err("no such store")
            .to_string();
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn a_wrong_store_says_what_is_accepted() {
        let error = Source::named("redsi://host")
            .expect_err("no such store")
            .to_string();
        assert!(
            error.starts_with(r#"APLOMB_STORE="redsi:…": no such store; accepted: memory:"#),
            "{error}"
        );
        let error = Source::named("memory")
            .expect_err("no such store")
            .to_string();
        assert!(
            error.starts_with(r#"APLOMB_STORE="memory": no such store"#),
            "{error}"
        );
    }
}
