//! Stores, in which policies save their state.
//!
//! A store has several facets. A facet is a small trait for one kind of state, such as
//! [`LimitStore`] or [`IdempotencyStore`]. Each method of a facet is one atomic operation. The
//! documentation of a method describes the state after a crash before or after the operation. A
//! public conformance suite (module `testing`) tests implementations.
//!
//! | store | state | for |
//! |---|---|---|
//! | [`Store::memory`] | in this process, lost when it ends | tests, and single processes that may lose state |
//! | `Store::sqlite` (feature `sqlite`) | in one file; rate limits in this process | production on one machine |
//! | `Store::postgres` (feature `postgres`) | shared by all instances | production on many machines that have a PostgreSQL |
//! | `Store::redis` (feature `redis`) | shared by all instances | production on many machines |
//!
//! An implementation with several facets can combine them in one operation ([`AdmissionStore`]).
//! Facets of different stores can be combined:
//!
//! ```
//! use std::sync::Arc;
//! use aplomb::store::{MemoryLimits, MemoryRecords, Store};
//!
//! let store = Store::new(Arc::new(MemoryLimits::new()), Arc::new(MemoryRecords::new()));
//! ```

#[cfg(any(feature = "postgres", feature = "redis"))]
mod acquire;
mod admission;
mod encrypted;
mod memory;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod migration;
#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, unreachable_pub, reason = "only a database has pools")
)]
pub(crate) mod pools;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod work;

use std::sync::Arc;

pub use admission::{Admission, AdmissionStore};
pub use encrypted::EncryptedRecords;
pub use memory::MemoryRecords;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use pools::{PoolStatus, Pools};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresLimits, PostgresRecords};
#[cfg(feature = "redis")]
pub use redis::{RedisConfig, RedisStore};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteRecords;
pub(crate) use work::WorkDatabase;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use self::migration::OnMissing;
use crate::clock::{Clock, SystemClock};
pub use crate::facet::{StoreError, StoreFuture};
use crate::policies::idempotency::IdempotencyStore;
use crate::policies::rate_limit::LimitStore;
pub use crate::policies::rate_limit::memory::MemoryLimits;
use crate::secret::Secret;
use crate::settings;
use crate::start::{StartError, StartErrors};

/// The store of an API: one implementation of each facet. An API connects to it at start.
#[derive(Debug, Clone)]
pub struct Store {
    /// `None` if the settings are invalid; then `errors` is not empty.
    source: Option<Source>,
    /// The errors of the settings, which are reported at start.
    errors: StartErrors,
    is_from_env: bool,
    limits: Option<Arc<dyn LimitStore>>,
    records: Option<Arc<dyn IdempotencyStore>>,
    admission: Option<Arc<dyn AdmissionStore>>,
}

#[derive(Debug, Clone)]
enum Source {
    /// Facets in this process's memory.
    Memory(Facets),
    /// Facets that the program implements.
    Facets(Facets),
    #[cfg(feature = "redis")]
    Redis(RedisConfig),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlite::SqliteFile>),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::PostgresConfig>),
}

/// The implementations of the facets.
#[derive(Debug, Clone)]
pub(crate) struct Facets {
    pub(crate) limits: Arc<dyn LimitStore>,
    pub(crate) records: Arc<dyn IdempotencyStore>,
    /// The implementation that checks the limits and begins the record in one step; `None` if the
    /// store has none.
    pub(crate) admission: Option<Arc<dyn AdmissionStore>>,
}

/// A store that is connected.
#[derive(Debug)]
pub(crate) struct ConnectedStore {
    pub(crate) facets: Facets,
    /// The secret that all instances share; `None` if there is no shared secret.
    pub(crate) secret: Option<Secret>,
    /// The database for the transactions of handlers; `None` if the records are not in a database.
    pub(crate) work: Option<WorkDatabase>,
}

const VARIABLE: &str = "APLOMB_STORE";

#[cfg(feature = "redis")]
const REDIS_FORMS: &str = ", redis://[[user]:password@]host[:port][/database], unix:///path, \
    redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/<name of the primary>[/<database>], \
    redis+cluster://[[user]:password@]host[:port][,host[:port]…]";
#[cfg(not(feature = "redis"))]
const REDIS_FORMS: &str = " (and redis://… in a build with the feature `redis`)";

#[cfg(feature = "sqlite")]
const SQLITE_FORMS: &str = ", sqlite:<path of a file>";
#[cfg(not(feature = "sqlite"))]
const SQLITE_FORMS: &str = " (and sqlite:… in a build with the feature `sqlite`)";

#[cfg(feature = "postgres")]
const POSTGRES_FORMS: [&str; 2] = [", ", postgres::FORM];
#[cfg(not(feature = "postgres"))]
const POSTGRES_FORMS: [&str; 2] = [
    "",
    " (and postgres://… in a build with the feature `postgres`)",
];

/// The URL schemes for Redis. The schemes with TLS get an error about TLS, which is not supported.
#[cfg(feature = "redis")]
const REDIS_SCHEMES: [&str; 10] = [
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
    /// Creates a store from an implementation of each facet.
    pub fn new(limits: Arc<dyn LimitStore>, records: Arc<dyn IdempotencyStore>) -> Self {
        Self::from_source(Source::Facets(Facets {
            limits,
            records,
            admission: None,
        }))
    }

    /// Creates the store that `APLOMB_STORE` names: `memory:`, `sqlite:<path>`, or the URL of a
    /// PostgreSQL or a Redis. Without the variable, the store is in memory. An invalid value is reported when the API starts.
    pub fn from_env() -> Self {
        let mut errors = StartErrors::new();
        let source = errors
            .collect(settings::variable(VARIABLE))
            .and_then(|value| match value {
                None => Some(Source::memory(Arc::new(SystemClock::new()))),
                Some(value) => errors.collect(Source::from_url(&value)),
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

    /// Creates a store in this process's memory, for tests, and for a single process that may lose
    /// its state.
    pub fn memory() -> Self {
        Self::memory_at(Arc::new(SystemClock::new()))
    }

    /// Creates a store in this process's memory that uses this clock.
    pub fn memory_at(clock: Arc<dyn Clock>) -> Self {
        Self::from_source(Source::memory(clock))
    }

    /// Creates a store on a Redis that all instances share.
    #[cfg(feature = "redis")]
    pub fn redis(config: RedisConfig) -> Self {
        Self::from_source(Source::Redis(config))
    }

    /// Creates a store in the SQLite file of this pool. The store has its own connections to the
    /// file, and its own tables, whose names begin with `aplomb_`. Rate limits are in the memory of
    /// this process.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(pool: &::sqlx::SqlitePool) -> Self {
        Self::from_source(Source::Sqlite(Box::new(sqlite::SqliteFile::of_pool(pool))))
    }

    /// Creates a store in the PostgreSQL database of this pool. The store has its own connections
    /// to the database, and its own schema `aplomb`.
    #[cfg(feature = "postgres")]
    pub fn postgres(pool: &::sqlx::PgPool) -> Self {
        Self::from_source(Source::Postgres(Box::new(
            postgres::PostgresConfig::of_pool(pool),
        )))
    }

    /// Declares that the connections of a store in PostgreSQL go through a PgBouncer that pools
    /// transactions. In a URL, the parameter `pgbouncer=true` does the same. Other stores ignore
    /// this.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn with_pgbouncer(mut self) -> Self {
        self.source = self.source.map(|source| match source {
            Source::Postgres(config) => Source::Postgres(Box::new(config.with_pgbouncer())),
            other => other,
        });
        self
    }

    /// Replaces the implementation of rate limits. Also removes the [`AdmissionStore`], because it
    /// would use the old limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<dyn LimitStore>) -> Self {
        self.limits = Some(limits);
        self.admission = None;
        self
    }

    /// Replaces the implementation of idempotency records. Also removes the [`AdmissionStore`],
    /// because it would use the old records.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn IdempotencyStore>) -> Self {
        self.records = Some(records);
        self.admission = None;
        self
    }

    /// Sets the implementation that admits requests in one step.
    ///
    /// It must use the same limits and records as the store. A later
    /// [`with_limits`](Self::with_limits) or [`with_records`](Self::with_records) removes it. A
    /// store on Redis has such an implementation from the beginning.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<dyn AdmissionStore>) -> Self {
        self.admission = Some(admission);
        self
    }

    fn from_source(source: Source) -> Self {
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

    /// Returns the path of the SQLite file, if it does not exist. A command that reads records must not
    /// create the file.
    #[cfg(feature = "cli")]
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(
            clippy::unused_self,
            clippy::missing_const_for_fn,
            reason = "only SQLite has a file"
        )
    )]
    pub(crate) fn missing_file(&self) -> Option<String> {
        #[cfg(feature = "sqlite")]
        if let Some(Source::Sqlite(file)) = &self.source
            && !file.path().exists()
        {
            return Some(file.path().display().to_string());
        }
        None
    }

    /// Returns `true` if the records are lost when this process ends.
    #[cfg(feature = "cli")]
    pub(crate) fn is_memory(&self) -> bool {
        self.records.is_none() && matches!(self.source, Some(Source::Memory(_)))
    }

    /// Returns the name of the store for messages. For a Redis, this is the URL without its
    /// password.
    #[cfg(feature = "cli")]
    pub(crate) fn shown(&self) -> String {
        match &self.source {
            Some(Source::Memory(_)) => String::from("memory"),
            Some(Source::Facets(_)) | None => String::from("set in code"),
            #[cfg(feature = "redis")]
            Some(Source::Redis(config)) => config.redacted_url().to_owned(),
            #[cfg(feature = "sqlite")]
            Some(Source::Sqlite(file)) => format!("sqlite:{}", file.path().display()),
            #[cfg(feature = "postgres")]
            Some(Source::Postgres(config)) => config.redacted_url(),
        }
    }

    /// Applies the missing migrations, and returns their names; `None` if the store has no tables.
    ///
    /// # Errors
    ///
    /// Fails if a setting is invalid, or the store cannot be migrated.
    #[cfg(feature = "cli")]
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(clippy::unused_async, reason = "only a SQL database has migrations")
    )]
    pub(crate) async fn migrate(&self) -> Result<Option<Vec<String>>, StartErrors> {
        self.errors.clone().into_result()?;
        #[cfg(feature = "sqlite")]
        if let Some(Source::Sqlite(file)) = &self.source {
            return Ok(Some(migration::names(&file.migrate().await?)));
        }
        #[cfg(feature = "postgres")]
        if let Some(Source::Postgres(config)) = &self.source {
            return Ok(Some(migration::names(&config.migrate().await?)));
        }
        Ok(None)
    }

    /// Returns a script of the missing migrations, and changes nothing; `None` if the store has no
    /// tables.
    ///
    /// # Errors
    ///
    /// Fails if a setting is invalid, or the store cannot be read.
    #[cfg(feature = "cli")]
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(clippy::unused_async, reason = "only a SQL database has migrations")
    )]
    pub(crate) async fn migration_script(&self) -> Result<Option<String>, StartErrors> {
        self.errors.clone().into_result()?;
        #[cfg(feature = "sqlite")]
        if let Some(Source::Sqlite(file)) = &self.source {
            return Ok(Some(file.migration_script().await?));
        }
        #[cfg(feature = "postgres")]
        if let Some(Source::Postgres(config)) = &self.source {
            return Ok(Some(config.migration_script().await?));
        }
        Ok(None)
    }

    /// Returns `true` if `APLOMB_STORE` is set, but this store was set in code and ignores it.
    pub(crate) fn is_set_in_code(&self) -> bool {
        !self.is_from_env && std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty())
    }

    /// Connects the store for the API with this namespace. Applies missing migrations if `migrate`
    /// is `true`; otherwise they are errors.
    ///
    /// # Errors
    ///
    /// Returns all errors of the settings and of the connection.
    pub(crate) async fn open(
        &self,
        namespace: &str,
        secret: Option<Secret>,
        migrate: bool,
    ) -> Result<ConnectedStore, StartErrors> {
        let mut errors = self.errors.clone();
        let opened = match self.source.clone() {
            Some(source) => errors.collect(source.open(namespace, secret, migrate).await),
            None => None,
        };
        errors.into_result()?;
        let mut store = opened.expect("a store without a source has an error");
        if self.records.is_some() {
            store.work = None;
        }
        let facets = &mut store.facets;
        // The store's own admission uses the store's own limits and records, so it is disabled if
        // one of them was replaced.
        let is_unchanged = self.limits.is_none() && self.records.is_none();
        facets.admission = self
            .admission
            .clone()
            .or_else(|| facets.admission.take().filter(|_| is_unchanged));
        facets.limits = self
            .limits
            .clone()
            .unwrap_or_else(|| Arc::clone(&facets.limits));
        facets.records = self
            .records
            .clone()
            .unwrap_or_else(|| Arc::clone(&facets.records));
        Ok(store)
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

    fn from_url(value: &str) -> Result<Self, StartError> {
        match value.split_once(':') {
            Some(("memory", "")) => Ok(Self::memory(Arc::new(SystemClock::new()))),
            #[cfg(feature = "redis")]
            Some((scheme, _)) if REDIS_SCHEMES.contains(&scheme) => {
                RedisConfig::from_env(VARIABLE, value).map(Self::Redis)
            }
            #[cfg(feature = "sqlite")]
            Some(("sqlite", _)) => sqlite::SqliteFile::from_url(value)
                .map(|file| Self::Sqlite(Box::new(file)))
                .map_err(|reason| StartError::variable(VARIABLE, value, reason)),
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                let config = postgres::PostgresConfig::from_env(VARIABLE, value)?;
                Ok(Self::Postgres(Box::new(config)))
            }
            _ => {
                let postgres_forms = POSTGRES_FORMS.concat();
                let reason = format!(
                    "no such store; accepted: memory:{SQLITE_FORMS}{postgres_forms}{REDIS_FORMS}"
                );
                Err(StartError::variable(VARIABLE, &scheme_only(value), reason))
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
        not(any(feature = "postgres", feature = "sqlite")),
        expect(unused_variables, reason = "only a SQL database needs all of them")
    )]
    async fn open(
        self,
        namespace: &str,
        secret: Option<Secret>,
        migrate: bool,
    ) -> Result<ConnectedStore, StartErrors> {
        match self {
            Self::Memory(facets) | Self::Facets(facets) => Ok(ConnectedStore {
                facets,
                secret,
                work: None,
            }),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(file) => {
                let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
                let shared = secret.is_none().then_some(namespace);
                let on_missing = OnMissing::from_setting(migrate);
                let opened = file.open(Arc::clone(&clock), shared, on_missing).await;
                let (records, shared) = opened?;
                tracing::info!(
                    file = %records.file().display(),
                    "idempotency records are in a SQLite file; rate limits are in the memory of \
                     this process"
                );
                let work = file.work_database(&records);
                let limits = MemoryLimits::with_capacity(MemoryLimits::DEFAULT_CAPACITY, clock);
                let facets = Facets {
                    limits: Arc::new(limits),
                    records: Arc::new(records),
                    admission: None,
                };
                let secret = secret.or(shared);
                Ok(ConnectedStore {
                    facets,
                    secret,
                    work: Some(work),
                })
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(config) => {
                let shared = secret.is_none().then_some(namespace);
                let on_missing = OnMissing::from_setting(migrate);
                let pool = config.pool_options()?;
                let (records, shared) = config.open(shared, on_missing).await?;
                tracing::info!(
                    database = %records.url(),
                    "idempotency records and rate limits are in PostgreSQL"
                );
                let work = records.work_database(pool);
                let facets = Facets {
                    limits: Arc::new(records.limits(namespace)),
                    records: Arc::new(records),
                    admission: None,
                };
                let secret = secret.or(shared);
                Ok(ConnectedStore {
                    facets,
                    secret,
                    work: Some(work),
                })
            }
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
                Ok(ConnectedStore {
                    facets,
                    secret: Some(secret),
                    work: None,
                })
            }
        }
    }
}

/// Returns `true` if a name can be part of the keys of a shared store: `[a-z0-9-]{1,64}`.
pub(crate) fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// Returns the text before the first colon, followed by `…`. The rest may contain a password.
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
    fn an_unknown_store_is_reported_without_its_password() {
        let error = Source::from_url("redsi://:hunter2@host")
            .expect_err("no such store")
            .to_string();
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn an_unknown_store_is_reported_with_the_accepted_forms() {
        let error = Source::from_url("redsi://host")
            .expect_err("no such store")
            .to_string();
        assert!(
            error.starts_with(r#"APLOMB_STORE="redsi:…": no such store; accepted: memory:"#),
            "{error}"
        );
        let error = Source::from_url("memory")
            .expect_err("no such store")
            .to_string();
        assert!(
            error.starts_with(r#"APLOMB_STORE="memory": no such store"#),
            "{error}"
        );
    }
}
