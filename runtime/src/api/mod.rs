//! An API: its endpoints and what they share.

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
use crate::auth::Authenticate;
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

/// The endpoints of a service, and what they share: store, authentication, defaults.
///
/// Settings from the environment are read when the service starts, and everything that is wrong is
/// said at once.
///
/// | variable | | default |
/// |---|---|---|
/// | `APLOMB_STORE` | where promises are kept, for [`Store::from_env`]: `memory:`, or with the feature `redis` a `redis://…`, `redis+sentinel://…` or `redis+cluster://…` | `memory:` |
/// | `APLOMB_STORE_EVICTION` | `accept` takes a Redis that may evict records | it is refused |
/// | `APLOMB_API_KEYS` | callers and keys, for [`ApiKeys::from_env`](crate::auth::ApiKeys::from_env) | |
/// | `APLOMB_SECRET` | at least 32 bytes that all instances share; signs cursors | read from a shared store, or made there, at start; else random |
/// | `APLOMB_PREVIOUS_SECRET` | a second secret whose cursors are read while the secret is changed; see [`previous_secret`](Self::previous_secret) | |
/// | `APLOMB_ENCRYPTION_KEYS` | keys with which answers to idempotency keys are sealed in the store: `<id>:<base64 of 32 bytes>[,…]`; see [`encryption_keys`](Self::encryption_keys) | they stand there in the clear |
/// | `APLOMB_LEASE` | how long a dead process blocks an idempotency key, at least 300 ms | `30s` |
/// | `APLOMB_MAX_HANDLER_DURATION` | after this a hung handler counts as dead | `15min` |
/// | `APLOMB_INSTANCES` | how many instances share the limits, for [while the store is down](crate::policies::rate_limit#while-the-store-is-slow-or-down) | `1` |
/// | `APLOMB_LIMITS` | rates of [named limits](crate::policies::rate_limit#changed-by-operators), such as `payments=1000/min,login=5/min:burst=20` | as declared |
/// | `APLOMB_TRUSTED_PROXIES` | addresses and networks of the proxies that say [who their client is](crate::policies::rate_limit#clients-behind-proxies), such as `10.0.0.0/8,2001:db8::7` | none |
/// | `APLOMB_FORWARDED_FIELD` | the field in which they say it, the only one that is read: `x-forwarded-for` or `forwarded` | `x-forwarded-for` |
pub struct Api<S> {
    name: String,
    title: Option<String>,
    routes: Routes<S>,
    store: Store,
    auth: Option<Arc<dyn Authenticate>>,
    open: bool,
    secret: Option<Secret>,
    previous_secret: Option<Secret>,
    encryption_keys: Option<EncryptionKeys>,
    problem_base: Option<String>,
    timeout: Duration,
    body_limit: u64,
    lease: Option<Duration>,
    max_handler_duration: Option<Duration>,
    instances: Option<u32>,
    trusted_proxies: Option<String>,
    forwarded_field: Option<ForwardedField>,
    deprecation_info: Option<String>,
    deprecated_calls: DeprecatedCalls,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// The deadline of endpoints that declare none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// How long a dead process blocks an idempotency key where nothing else is set.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

    /// After this a hung handler counts as dead where nothing else is set.
    pub const DEFAULT_MAX_HANDLER_DURATION: Duration = Duration::from_mins(15);

    /// The largest request body, in bytes, of endpoints that declare none: 1 MiB.
    pub const DEFAULT_BODY_LIMIT: u64 = 1 << 20;

    /// An API of these endpoints, on the memory store, without authentication: unless all are
    /// `public`, say [`auth`](Self::auth) or [`without_auth`](Self::without_auth).
    ///
    /// The name is a slug, `[a-z0-9-]{1,64}`, and the API's identity in its store: APIs of different
    /// names can share a Redis and never meet. Another name means another API. Renaming forgets the
    /// idempotency keys that were used, the counts of rate limits and the cursors of pages, so that a
    /// retry of an earlier request has a second effect. [`title`](Self::title) can change at any time.
    /// A name that is not a slug keeps the service from starting.
    pub fn new(name: impl Into<String>, routes: Routes<S>) -> Self {
        Self {
            name: name.into(),
            deprecated_calls: DeprecatedCalls::new(
                under_routes(&routes).map(|(spec, route)| (spec, route.template, route.version)),
            ),
            title: None,
            routes,
            store: Store::default(),
            auth: None,
            open: false,
            secret: None,
            previous_secret: None,
            encryption_keys: None,
            problem_base: None,
            timeout: Self::DEFAULT_TIMEOUT,
            body_limit: Self::DEFAULT_BODY_LIMIT,
            lease: None,
            max_handler_duration: None,
            instances: None,
            trusted_proxies: None,
            forwarded_field: None,
            deprecation_info: None,
            clock: Arc::new(SystemClock::new()),
            tracker: TaskTracker::new(),
        }
    }

    /// Where promises are kept.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// How callers are told.
    #[must_use]
    pub fn auth(mut self, auth: impl Authenticate) -> Self {
        self.auth = Some(Arc::new(auth));
        self
    }

    /// Lets everybody call every endpoint.
    #[must_use]
    pub fn without_auth(mut self) -> Self {
        self.open = true;
        self
    }

    /// The API's title, for people; the default is its name. Changing it changes nothing else.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The secret that signs cursors, in place of `APLOMB_SECRET`. Idempotency keys and limits do not
    /// depend on it.
    ///
    /// A shared store keeps one if neither is set: the first instance makes it, each later one reads
    /// it when it starts, and all keep it as long as they run. If the store loses the secret, instances
    /// that start later make another one. Until all have started again, an instance refuses cursors of
    /// those with the other secret.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// A second secret, in place of `APLOMB_PREVIOUS_SECRET`: cursors that it signed are read.
    ///
    /// To change the secret while clients page through lists, give every instance the new one as the
    /// secret and the old one as the previous secret; drop the old one once no client holds a cursor of
    /// it any more. Instances that have the old secret alone refuse new cursors. Where that matters,
    /// give them the new one as the previous secret before.
    #[must_use]
    pub fn previous_secret(mut self, secret: Secret) -> Self {
        self.previous_secret = Some(secret);
        self
    }

    /// The keys with which the answers to idempotency keys are sealed before the store keeps them, in
    /// place of `APLOMB_ENCRYPTION_KEYS`; see [sealed answers](crate::policies::idempotency#sealed-answers).
    ///
    /// This is how keys are changed while clients retry: first every instance learns the new one as
    /// the last, which opens what others seal; then every instance takes it as the first, which
    /// seals; when the longest `ttl` has passed, the old one is dropped.
    #[must_use]
    pub fn encryption_keys(mut self, keys: EncryptionKeys) -> Self {
        self.encryption_keys = Some(keys);
        self
    }

    /// What the `type` of a problem begins with, in place of `urn:aplomb:problem:`; its code
    /// follows.
    #[must_use]
    pub fn problem_base(mut self, base: impl Into<String>) -> Self {
        self.problem_base = Some(base.into());
        self
    }

    /// The deadline of endpoints that declare none.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest request body, in bytes, of endpoints that declare none.
    #[must_use]
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long a dead process blocks an idempotency key, in place of `APLOMB_LEASE`; at least
    /// 300 ms.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long the lease of a running request is renewed, in place of `APLOMB_MAX_HANDLER_DURATION`: after that
    /// a hung handler counts as dead.
    #[must_use]
    pub fn max_handler_duration(mut self, max_handler_duration: Duration) -> Self {
        self.max_handler_duration = Some(max_handler_duration);
        self
    }

    /// How many instances of the service run, in place of `APLOMB_INSTANCES`; 1 to 10,000. While the
    /// store is slow or down, each decides by so many times slower
    /// [limits](crate::policies::rate_limit#while-the-store-is-slow-or-down).
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = Some(instances);
        self
    }

    /// The proxies in front of the service, in place of `APLOMB_TRUSTED_PROXIES`: addresses and networks
    /// in CIDR form, of both families, separated by commas. Where one of them is the peer, clients are
    /// counted by the address that [it tells](crate::policies::rate_limit#clients-behind-proxies). An
    /// empty text trusts none.
    ///
    /// Names, ports, a network that has bits set behind its prefix and one of everybody (`/0`) keep the
    /// service from starting.
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

    /// The field in which trusted proxies tell the client's address, in place of
    /// `APLOMB_FORWARDED_FIELD`: the one that they write themselves. The other one is never read.
    #[must_use]
    pub fn forwarded_field(mut self, field: ForwardedField) -> Self {
        self.forwarded_field = Some(field);
        self
    }

    /// The page for humans to which endpoints link that are `deprecated` or have a `sunset`, where
    /// they name none of their own with `info`: an absolute `http` or `https` URL, or a path that
    /// begins with a slash.
    #[must_use]
    pub fn deprecation_info(mut self, page: impl Into<String>) -> Self {
        self.deprecation_info = Some(page.into());
        self
    }

    /// The clock by which endpoints are deprecated and have their sunset, in place of the machine's:
    /// tests move it there. Limits and records go by the clock of their store.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How often endpoints are called that are `deprecated` or have a `sunset`: by endpoint and
    /// version, since the process began. Take it before the service starts; its numbers go on.
    pub fn deprecated_calls(&self) -> DeprecatedCalls {
        self.deprecated_calls.clone()
    }

    /// What each endpoint promises, in the order of the list: for a page that tells clients, or a test
    /// that no promise changes by mistake.
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
    ///     let kept = match spec.idempotency {
    ///         IdempotencyPolicy::Idempotent(idempotency) => format!("{:?}", idempotency.ttl),
    ///         _ => "-".to_owned(),
    ///     };
    ///     lines.push(format!("{} {} {kept}", spec.method, spec.path));
    /// }
    /// println!("{}", lines.join("\n"));
    /// assert_eq!(lines, ["POST /payments 172800s", "GET /health -"]);
    /// ```
    pub fn endpoints(&self) -> impl Iterator<Item = &'static EndpointSpec> {
        self.routes.specs()
    }

    /// The requests under an idempotency key that are running. Close it and wait for it before a
    /// process ends that serves the router itself; [`serve`](crate::serve) does.
    pub fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }

    /// An axum router for these endpoints, to serve or to merge into another. It sets no fallback:
    /// what none of the endpoints answers stays the other's.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that limits by
    /// address know the address.
    ///
    /// # Errors
    ///
    /// All that is wrong with the endpoints and the settings.
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

    /// The records of idempotency keys, connected as the service is, sealed answers included: for tools
    /// of operators, such as one that decides a record whose outcome nobody knows
    /// ([`IdempotencyStore::resolve`]).
    ///
    /// # Errors
    ///
    /// All that keeps the service from starting.
    pub async fn records(&self) -> Result<Arc<dyn IdempotencyStore>, StartErrors> {
        let mut errors = StartErrors::new();
        let records = self
            .settings(false, &mut errors)
            .await
            .map(assemble::Settings::into_records);
        errors.into_result()?;
        records.ok_or_else(StartErrors::new)
    }

    /// The method, route and name of each endpoint.
    pub(crate) fn table(&self) -> Vec<(&'static str, String, &'static str)> {
        let row = |(spec, route): (&'static EndpointSpec, Route)| {
            (spec.method.as_str(), route.template, spec.name)
        };
        under_routes(&self.routes).map(row).collect()
    }

    pub(crate) fn problem_base_or_default(&self) -> String {
        self.problem_base
            .clone()
            .unwrap_or_else(|| crate::problem::TYPE_BASE.to_owned())
    }

    /// Each endpoint with its routes, in the order of the list.
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

    /// The store as it may be shown.
    #[cfg(feature = "cli")]
    pub(crate) fn store_name(&self) -> String {
        self.store.shown()
    }

    #[cfg(feature = "cli")]
    pub(crate) fn keeps_records_in_memory(&self) -> bool {
        self.store.is_memory()
    }

    pub(crate) fn title_or_name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }
}

/// Each endpoint under each of its routes.
fn under_routes<S>(routes: &Routes<S>) -> impl Iterator<Item = (&'static EndpointSpec, Route)> {
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
