//! An API: its endpoints, and the store, authentication and defaults that they share.

mod assemble;
mod check;
mod codes;
mod name;
#[cfg(feature = "cli")]
mod warnings;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use tokio_util::task::TaskTracker;

pub(crate) use self::assemble::Prepared;
use crate::auth::{Authenticate, Authenticator};
use crate::client::ForwardedField;
use crate::clock::{Clock, SystemClock};
use crate::endpoint::Routes;
use crate::policies::deprecation::DeprecatedCalls;
use crate::policies::idempotency::{EncryptionKeys, IdempotencyStore};
use crate::policies::version::{self, Route};
use crate::secret::Secret;
use crate::spec::EndpointSpec;
use crate::start::StartErrors;
use crate::store::Store;
use crate::store::pools::Pools;

/// The endpoints of a service, with the store, the authentication and the defaults that they share.
///
/// The service reads its settings from the environment when it starts, and reports all errors
/// together. A setting in the code takes precedence over its variable. [`serve`](crate::serve())
/// reads more variables, for its address, its connections and its time limits.
///
/// | variable | | default |
/// |---|---|---|
/// | `APLOMB_STORE` | the store of idempotency keys and rate limits, for [`Store::from_env`]: `memory:`, with the feature `sqlite`: `sqlite:<path>`, with the feature `postgres`: `postgres://…`, or with the feature `redis`: `redis://…`, `redis+sentinel://…` or `redis+cluster://…` | `memory:` |
/// | `APLOMB_STORE_EVICTION` | `accept` allows a Redis that may evict records | such a Redis is refused |
/// | `APLOMB_MIGRATE` | `off` refuses to start if [migrations](Self::migrate) of the store are missing, instead of applying them | `on` |
/// | `APLOMB_API_KEYS` | callers and their keys, for [`ApiKeys::from_env`](crate::auth::ApiKeys::from_env) | |
/// | `APLOMB_SECRET` | signs cursors: at least 32 bytes, the same for all instances | stored in a shared store, or else random |
/// | `APLOMB_PREVIOUS_SECRET` | the previous secret, whose cursors stay valid while the secret is rotated; see [`previous_secret`](Self::previous_secret) | |
/// | `APLOMB_ENCRYPTION_KEYS` | keys that encrypt stored responses: `<id>:<base64 of 32 bytes>[,…]`; see [`encryption_keys`](Self::encryption_keys) | responses are stored unencrypted |
/// | `APLOMB_LEASE` | the time that a crashed process blocks an idempotency key, at least 300 ms | `30s` |
/// | `APLOMB_MAX_HANDLER_DURATION` | the time after which a hung handler counts as crashed, at least 300 ms | `15min` |
/// | `APLOMB_TRANSACTION_TIMEOUT` | the longest duration of a handler's [transaction](Self::transaction_timeout), at least 50 ms and at most a third of the lease | `5s`, or a third of a shorter lease |
/// | `APLOMB_DB_POOL_MAX` | the largest number of connections for transactions of handlers, in a PostgreSQL that `APLOMB_STORE` names | `10` |
/// | `APLOMB_DB_POOL_MIN` | the number of these connections that stay open without requests | `0` |
/// | `APLOMB_DB_POOL_IDLE_TIMEOUT` | the time after which an idle one of these connections is closed, at least 1 s | `10min` |
/// | `APLOMB_MAX_RUNS` | the most [runs](Self::max_runs) of handlers under idempotency keys at the same time | `1000` |
/// | `APLOMB_MAX_RUNS_PER_CALLER` | the most of these runs of [one caller](Self::max_runs_per_caller) | `100` |
/// | `APLOMB_BODY_TIMEOUT` | the longest silence of a client that sends a body, at least 100 ms | `5s` |
/// | `APLOMB_BODY_MIN_RATE` | the fewest bytes per second of a body, on average after its first ten seconds | `512` |
/// | `APLOMB_BODY_MEMORY` | the memory that the bodies of all requests may use together, such as `64MB` or `512MiB` | `128MiB` |
/// | `APLOMB_INSTANCES` | the number of instances that share the limits, needed [while the store is down](crate::policies::rate_limit#while-the-store-is-slow-or-down) | `1` |
/// | `APLOMB_LIMITS` | the rates of [named limits](crate::policies::rate_limit#overrides-by-operators), such as `payments=1000/min,login=5/min:burst=20` | as declared |
/// | `APLOMB_TRUSTED_PROXIES` | addresses and networks of the proxies that are trusted to name [their clients](crate::policies::rate_limit#clients-behind-proxies), such as `10.0.0.0/8,2001:db8::7` | none |
/// | `APLOMB_FORWARDED_FIELD` | the header in which proxies name the client, the only one that is read: `x-forwarded-for` or `forwarded` | `x-forwarded-for` |
pub struct Api<S> {
    name: String,
    title: Option<String>,
    routes: Routes<S>,
    store: Store,
    migrate: Option<bool>,
    auth: Option<Arc<dyn Authenticator>>,
    is_open: bool,
    secret: Option<Secret>,
    previous_secret: Option<Secret>,
    encryption_keys: Option<EncryptionKeys>,
    problem_base: Option<String>,
    timeout: Duration,
    body_limit: u64,
    lease: Option<Duration>,
    max_handler_duration: Option<Duration>,
    transaction_timeout: Option<Duration>,
    pools: Pools,
    max_runs: Option<u32>,
    max_runs_per_caller: Option<u32>,
    instances: Option<u32>,
    body_timeout: Option<Duration>,
    body_min_rate: Option<u32>,
    body_memory: Option<u64>,
    trusted_proxies: Option<String>,
    forwarded_field: Option<ForwardedField>,
    deprecation_info: Option<String>,
    deprecated_calls: DeprecatedCalls,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// The deadline of endpoints that declare no `timeout`.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// The default time that a crashed process blocks an idempotency key.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

    /// The default time after which a hung handler counts as crashed.
    pub const DEFAULT_MAX_HANDLER_DURATION: Duration = Duration::from_mins(15);

    /// The default of the longest duration of a handler's transaction. With a short lease, the default is
    /// a third of the lease.
    pub const DEFAULT_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);

    /// The default number of simultaneous runs under idempotency keys.
    pub const DEFAULT_MAX_RUNS: u32 = 1_000;

    /// The default number of simultaneous runs of one caller under idempotency keys. A caller that
    /// sends 200 requests per second, to handlers that take half a second, has 100 runs.
    pub const DEFAULT_MAX_RUNS_PER_CALLER: u32 = 100;

    /// The largest request body, in bytes, of endpoints that declare no limit: 1 MiB.
    pub const DEFAULT_BODY_LIMIT: u64 = 1 << 20;

    /// Returns an API of these endpoints, with a memory store and without authentication. Call
    /// [`auth`](Self::auth) or [`without_auth`](Self::without_auth), unless all endpoints are
    /// `public`.
    ///
    /// The name is a slug, `[a-z0-9-]{1,64}`; with any other name the service does not start. It is
    /// the API's identity in its store, so APIs with different names can share a Redis.
    ///
    /// After a rename, the API does not find its earlier idempotency keys and counts of rate
    /// limits, and earlier cursors are invalid. A retry of an earlier request then takes effect a
    /// second time. To change only the text that people see, change the [`title`](Self::title).
    pub fn new(name: impl Into<String>, routes: Routes<S>) -> Self {
        Self {
            name: name.into(),
            deprecated_calls: DeprecatedCalls::new(
                mounted_routes(&routes).map(|(spec, route)| (spec, route.template, route.version)),
            ),
            title: None,
            routes,
            store: Store::default(),
            migrate: None,
            auth: None,
            is_open: false,
            secret: None,
            previous_secret: None,
            encryption_keys: None,
            problem_base: None,
            timeout: Self::DEFAULT_TIMEOUT,
            body_limit: Self::DEFAULT_BODY_LIMIT,
            lease: None,
            max_handler_duration: None,
            transaction_timeout: None,
            pools: Pools::default(),
            max_runs: None,
            max_runs_per_caller: None,
            instances: None,
            body_timeout: None,
            body_min_rate: None,
            body_memory: None,
            trusted_proxies: None,
            forwarded_field: None,
            deprecation_info: None,
            clock: Arc::new(SystemClock::new()),
            tracker: TaskTracker::new(),
        }
    }

    /// Sets the store of idempotency keys and rate limits.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Sets the reaction to missing migrations of the store at start, instead of `APLOMB_MIGRATE`.
    /// With `true`, the service applies them. With `false`, it does not start, and the error names
    /// them. The command `migrate` applies missing migrations with both values.
    ///
    /// Only a store in a SQL database has migrations.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = Some(migrate);
        self
    }

    /// Sets the authentication, which identifies callers.
    #[must_use]
    pub fn auth(mut self, auth: impl Authenticate) -> Self {
        self.auth = Some(Arc::new(auth));
        self
    }

    /// Opens every endpoint to callers without credentials.
    #[must_use]
    pub fn without_auth(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Sets the title that is shown to people; the default is the name.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets the secret that signs cursors, instead of `APLOMB_SECRET`. Idempotency keys and limits
    /// do not depend on this secret.
    ///
    /// If neither this method nor the variable sets a secret, a shared store contains it. The first
    /// instance creates the secret, and later instances read it when they start. If the store loses
    /// the secret, the next instance that starts creates another one. Then instances with different
    /// secrets refuse each other's cursors, until all instances have been restarted.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Sets a second secret, instead of `APLOMB_PREVIOUS_SECRET`. Cursors that were signed with it
    /// are accepted.
    ///
    /// To rotate the secret while clients page through lists:
    ///
    /// 1. If instances are restarted one after the other, first give every instance the new secret
    ///    as the previous secret. Otherwise instances with only the old secret refuse new cursors.
    /// 2. Give every instance the new secret as the secret, and the old secret as the previous
    ///    secret.
    /// 3. Remove the old secret when clients no longer have cursors that were signed with it.
    #[must_use]
    pub fn previous_secret(mut self, secret: Secret) -> Self {
        self.previous_secret = Some(secret);
        self
    }

    /// Sets the keys that encrypt stored responses, instead of `APLOMB_ENCRYPTION_KEYS`; see
    /// [encryption](crate::policies::idempotency#encryption-at-rest). The first key encrypts, and
    /// all keys decrypt.
    ///
    /// To rotate keys while clients retry:
    ///
    /// 1. Give every instance the new key as the last one.
    /// 2. Give every instance the new key as the first one.
    /// 3. Remove the old key when the longest `ttl` has passed.
    #[must_use]
    pub fn encryption_keys(mut self, keys: EncryptionKeys) -> Self {
        self.encryption_keys = Some(keys);
        self
    }

    /// Sets the base of the `type` of problems, instead of `urn:aplomb:problem:`. A `type` is the
    /// base followed by the code. The base must be an absolute URI, such as
    /// `https://docs.example/problems/`.
    #[must_use]
    pub fn problem_base(mut self, base: impl Into<String>) -> Self {
        self.problem_base = Some(base.into());
        self
    }

    /// Sets the deadline of endpoints that declare no `timeout`; the default is 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the largest request body, in bytes, of endpoints that declare no limit; the default is
    /// 1 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the time that a crashed process blocks an idempotency key, instead of `APLOMB_LEASE`;
    /// at least 300 ms. The `ttl` of every endpoint must be at least as long.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the time for which the lease of a running request is renewed, instead of
    /// `APLOMB_MAX_HANDLER_DURATION`; at least 300 ms. A handler that runs longer counts as
    /// crashed.
    #[must_use]
    pub fn max_handler_duration(mut self, max_handler_duration: Duration) -> Self {
        self.max_handler_duration = Some(max_handler_duration);
        self
    }

    /// Returns the pools of connections to the database. Keep the handle to read their status while
    /// the API runs.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub fn pools(&self) -> Pools {
        self.pools.clone()
    }

    /// Sets the longest duration of a handler's database transaction, instead of
    /// `APLOMB_TRANSACTION_TIMEOUT`; at least 50 ms and at most a third of the
    /// [lease](Self::lease). A longer transaction is rolled back, and the client gets a 503
    /// `TRANSACTION_CONFLICT`. Locks of the database are then held for at most this time. The
    /// default is [`DEFAULT_TRANSACTION_TIMEOUT`](Self::DEFAULT_TRANSACTION_TIMEOUT).
    #[must_use]
    pub fn transaction_timeout(mut self, limit: Duration) -> Self {
        self.transaction_timeout = Some(limit);
        self
    }

    /// Sets the most runs under idempotency keys that the process has at the same time, instead of
    /// `APLOMB_MAX_RUNS`; at least 1.
    ///
    /// A run counts until its handler has ended and its record is settled, even if its client has
    /// disconnected. Beyond the bound, a request with a key gets 503 `OVERLOADED`, and its handler
    /// does not run.
    #[must_use]
    pub fn max_runs(mut self, runs: u32) -> Self {
        self.max_runs = Some(runs);
        self
    }

    /// Sets the most runs under idempotency keys that one caller has at the same time, instead of
    /// `APLOMB_MAX_RUNS_PER_CALLER`; at least 1. Requests without a caller are counted by their
    /// client address. An IPv6 address is counted by its /64 network.
    #[must_use]
    pub fn max_runs_per_caller(mut self, runs: u32) -> Self {
        self.max_runs_per_caller = Some(runs);
        self
    }

    /// Sets the longest silence of a client that sends a body, instead of `APLOMB_BODY_TIMEOUT`; at
    /// least 100 ms. After it, the request gets 408 `REQUEST_TIMEOUT`.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = Some(timeout);
        self
    }

    /// Sets the fewest bytes per second of a body, instead of `APLOMB_BODY_MIN_RATE`; at least 1. It
    /// is an average over the time that the service waits for the client, after the first ten
    /// seconds. A slower request gets 408 `REQUEST_TIMEOUT`.
    #[must_use]
    pub fn body_min_rate(mut self, bytes_per_second: u32) -> Self {
        self.body_min_rate = Some(bytes_per_second);
        self
    }

    /// Sets the memory in bytes that the bodies of all requests may use together, instead of
    /// `APLOMB_BODY_MEMORY`; see [memory](crate::policies::body_limit#memory). It must be at least
    /// the largest `body_limit` of the endpoints.
    #[must_use]
    pub fn body_memory(mut self, bytes: u64) -> Self {
        self.body_memory = Some(bytes);
        self
    }

    /// Sets the number of instances of the service, instead of `APLOMB_INSTANCES`; 1 to 10,000.
    /// While the store is slow or down, each instance admits
    /// [its share](crate::policies::rate_limit#while-the-store-is-slow-or-down) of every rate
    /// limit.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = Some(instances);
        self
    }

    /// Sets the trusted proxies in front of the service, instead of `APLOMB_TRUSTED_PROXIES`: IPv4
    /// and IPv6 addresses and networks (CIDR), separated by commas. An empty text trusts no proxy.
    ///
    /// For a request from a trusted proxy, rate limits use the client address that [the proxy
    /// names](crate::policies::rate_limit#clients-behind-proxies).
    ///
    /// The service does not start if the text contains a host name, a port, a network with bits set
    /// after its prefix, or a network of all addresses (`/0`).
    ///
    /// ```
    /// # use aplomb::{Api, Routes};
    /// # fn proxied(routes: Routes<()>) -> Api<()> {
    /// Api::new("payments", routes).trusted_proxies("10.0.0.0/8, 192.0.2.7, 2001:db8::/32")
    /// # }
    /// ```
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: impl Into<String>) -> Self {
        self.trusted_proxies = Some(proxies.into());
        self
    }

    /// Sets the header in which trusted proxies name the client, instead of
    /// `APLOMB_FORWARDED_FIELD`. Choose the header that your proxies write. The other header is
    /// never read, because clients could write it.
    #[must_use]
    pub fn forwarded_field(mut self, field: ForwardedField) -> Self {
        self.forwarded_field = Some(field);
        self
    }

    /// Sets the page about deprecations, for people. Endpoints that are `deprecated` or have a
    /// `sunset` link to this page if they name no page with `info`. The page must be an absolute
    /// `http` or `https` URL, or a path that begins with a slash.
    #[must_use]
    pub fn deprecation_info(mut self, page: impl Into<String>) -> Self {
        self.deprecation_info = Some(page.into());
        self
    }

    /// Sets the clock for deprecations and sunsets, instead of the clock of the machine, so that
    /// tests can choose the date. Rate limits and idempotency records use the clock of their store.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the numbers of calls of endpoints that are `deprecated` or have a `sunset`, by
    /// endpoint and version, since the process started. Call this method before the API is turned
    /// into a router. The result still shows the current numbers afterwards.
    pub fn deprecated_calls(&self) -> DeprecatedCalls {
        self.deprecated_calls.clone()
    }

    /// Returns the declarations of all endpoints, in the order of the list. A page of documentation
    /// can list them, and a test can ensure that they do not change by mistake.
    ///
    /// ```
    /// use aplomb::policies::idempotency::IdempotencyPolicy;
    /// use aplomb::{Api, Created, Json, endpoint, routes};
    ///
    /// #[endpoint(post = "/payments", version = 1, idempotent(ttl = "48h"))]
    /// async fn create_payment(Json(amount): Json<i64>) -> Created<i64> {
    ///     Created::new(amount)
    /// }
    ///
    /// #[endpoint(get = "/health", public)]
    /// async fn health() {}
    ///
    /// let api: Api<()> = Api::new("payments", routes![create_payment, health]);
    /// let mut lines = Vec::new();
    /// for spec in api.endpoints() {
    ///     let ttl = match spec.idempotency {
    ///         IdempotencyPolicy::Idempotent(idempotency) => format!("{:?}", idempotency.ttl),
    ///         _ => "-".to_owned(),
    ///     };
    ///     lines.push(format!("{} {} {ttl}", spec.method, spec.path));
    /// }
    /// println!("{}", lines.join("\n"));
    /// assert_eq!(lines, ["POST /payments 172800s", "GET /health -"]);
    /// ```
    pub fn endpoints(&self) -> impl Iterator<Item = &'static EndpointSpec> {
        self.routes.specs()
    }

    /// Returns the tracker of running requests with an idempotency key. A program that serves the
    /// router itself must close it and wait for it before the process ends; [`serve`](crate::serve)
    /// does so.
    pub fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }

    /// Returns an axum router of these endpoints, to serve or to merge into another router. The
    /// router sets no fallback, so the other router handles unknown paths.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`. Limits by address need
    /// the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns all errors of the endpoints and the settings.
    ///
    /// ```no_run
    /// # use aplomb::Api;
    /// # async fn router(api: Api<()>) -> Result<axum::Router, aplomb::StartErrors> {
    /// let router = axum::Router::new()
    ///     .route("/", axum::routing::get(async || "the rest of the app"))
    ///     .merge(api.into_router(()).await?);
    /// # Ok(router)
    /// # }
    /// ```
    pub async fn into_router(self, state: S) -> Result<Router, StartErrors> {
        self.prepare().await.into_router(state)
    }

    /// Returns the store of idempotency records. It is connected with the settings of the service,
    /// and it decrypts responses. Use it in tools for operators, for example to resolve a record
    /// with an unknown outcome ([`IdempotencyStore::resolve`]).
    ///
    /// # Errors
    ///
    /// Returns all errors of the endpoints and the settings.
    pub async fn records(&self) -> Result<Arc<dyn IdempotencyStore>, StartErrors> {
        let mut errors = StartErrors::new();
        let records = self
            .settings(false, &mut errors)
            .await
            .map(assemble::Settings::into_records);
        errors.into_result()?;
        records.ok_or_else(StartErrors::new)
    }

    /// Returns the method, route and name of each endpoint, once for each of its routes.
    pub(crate) fn table(&self) -> Vec<(&'static str, String, &'static str)> {
        let row = |(spec, route): (&'static EndpointSpec, Route)| {
            (spec.method.as_str(), route.template, spec.name)
        };
        mounted_routes(&self.routes).map(row).collect()
    }

    pub(crate) fn problem_base_or_default(&self) -> String {
        self.problem_base
            .clone()
            .unwrap_or_else(|| crate::problem::TYPE_BASE.to_owned())
    }

    /// Returns each endpoint with its routes, in the order of the list.
    #[cfg(feature = "cli")]
    pub(crate) fn mounted(&self) -> impl Iterator<Item = (&'static EndpointSpec, Vec<Route>)> {
        let newest = version::newest(self.routes.specs());
        self.routes
            .specs()
            .map(move |spec| (spec, version::routes(spec, newest)))
    }

    #[cfg(feature = "cli")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the description of the store, without a password.
    #[cfg(feature = "cli")]
    pub(crate) fn store_name(&self) -> String {
        self.store.shown()
    }

    /// Applies the missing migrations of the store; see [`Store::migrate`].
    #[cfg(feature = "cli")]
    pub(crate) async fn migrate_store(&self) -> Result<Option<Vec<String>>, StartErrors> {
        self.store.migrate().await
    }

    /// Returns a script of the missing migrations of the store; see [`Store::migration_script`].
    #[cfg(feature = "cli")]
    pub(crate) async fn migration_script(&self) -> Result<Option<String>, StartErrors> {
        self.store.migration_script().await
    }

    #[cfg(feature = "cli")]
    pub(crate) fn keeps_records_in_memory(&self) -> bool {
        self.store.is_memory()
    }

    #[cfg(feature = "cli")]
    pub(crate) fn missing_file(&self) -> Option<String> {
        self.store.missing_file()
    }

    pub(crate) fn title_or_name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }
}

/// Returns each endpoint once for each of its routes.
fn mounted_routes<S>(routes: &Routes<S>) -> impl Iterator<Item = (&'static EndpointSpec, Route)> {
    let newest = version::newest(routes.specs());
    routes.specs().flat_map(move |spec| {
        version::routes(spec, newest)
            .into_iter()
            .map(move |route| (spec, route))
    })
}

impl<S> fmt::Debug for Api<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("name", &self.name)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}
