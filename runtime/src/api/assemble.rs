//! From declarations to a router.

use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter};

use super::{Api, check, name};
use crate::auth::Failures;
use crate::client::{ForwardedField, Networks, TrustedProxies};
use crate::endpoint::{Entry, PathProbe, PathShape};
use crate::pipeline::{EndpointService, Mounted, Run, Shared, listen_to_panics};
use crate::policies::idempotency::{Heart, IdempotencyPolicy, IdempotencyStore, Identities, SealKeys};
use crate::policies::paginate::{Cursors, PaginationPolicy};
use crate::policies::rate_limit::{Dearest, Guard, Instances, Limits, Overrides};
use crate::policies::retirement::Retirement;
use crate::policies::version::{self, Route};
use crate::secret::Secret;
use crate::settings;
use crate::spec::{EndpointSpec, Method};
use crate::start::{StartError, StartErrors};
use crate::store::{AdmissionStore, Facets, SealedRecords};

/// All settings, judged.
pub(super) struct Settings {
    facets: Facets,
    secret: Secret,
    other_secret: Option<Secret>,
    /// Nobody set one, so that it ends with this process.
    secret_is_lost: bool,
    namespace: String,
    lease: Duration,
    max_run: Duration,
    overrides: Overrides,
    pub(super) instances: Instances,
    proxies: TrustedProxies,
}

impl Settings {
    pub(super) fn into_records(self) -> Arc<dyn IdempotencyStore> {
        self.facets.records
    }
}

const SHORTEST_LEASE: Duration = Duration::from_millis(300);

/// An API whose settings are judged and whose store is connected, as far as that went well.
pub(crate) struct Prepared<S> {
    api: Api<S>,
    settings: Option<Settings>,
    errors: StartErrors,
}

impl<S: Clone + Send + Sync + 'static> Prepared<S> {
    /// Whose word is taken about a client, and about a request's id.
    pub(crate) fn proxies(&self) -> TrustedProxies {
        self.settings.as_ref().map(|settings| settings.proxies.clone()).unwrap_or_default()
    }

    /// What works, and is probably not meant.
    #[cfg(feature = "cli")]
    pub(crate) fn warnings(&self) -> Vec<String> {
        super::warnings::of(&self.api, self.settings.as_ref())
    }

    /// What is wrong so far.
    pub(crate) fn errors(&self) -> StartErrors {
        self.errors.clone()
    }

    pub(crate) fn into_router(self, state: S) -> Result<Router, StartErrors> {
        let Self { api, settings, mut errors } = self;
        let settings = settings.filter(|_| errors.is_empty());
        let router = settings.map(|settings| api.assemble(&settings, state, &mut errors));
        errors.into_result().map(|()| router.unwrap_or_default())
    }
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    pub(crate) async fn prepare(self) -> Prepared<S> {
        let mut errors = StartErrors::new();
        let settings = self.settings(&mut errors).await;
        Prepared { api: self, settings, errors }
    }

    pub(super) async fn settings(&self, errors: &mut StartErrors) -> Option<Settings> {
        check::endpoints(self, errors);
        if let Some(auth) = &self.auth {
            errors.extend(auth.start_errors());
        }
        let secret = match &self.secret {
            Some(secret) => Some(Some(secret.clone())),
            None => errors.collect(Secret::from_env("APLOMB_SECRET")),
        };
        let other_secret = match &self.other_secret {
            Some(secret) => Some(Some(secret.clone())),
            None => errors.collect(Secret::from_env("APLOMB_OTHER_SECRET")),
        };
        let seal_keys = match &self.seal_keys {
            Some(keys) => Some(Some(keys.clone())),
            None => errors.collect(SealKeys::from_env()),
        };
        let namespace = errors.collect(name::checked(&self.name)).map(str::to_owned);
        let lease = errors.collect(self.lease_setting());
        if let Some(lease) = lease {
            check::times_to_live(self, lease, errors);
        }
        let max_run = errors.collect(self.max_run_setting());
        let overrides = errors.collect(Overrides::from_env(self.routes.specs()));
        let instances = errors.collect(self.instances.map_or_else(Instances::from_env, Instances::new));
        let proxies = self.proxies_setting(errors);
        let opened = match (&namespace, &secret) {
            (Some(namespace), Some(secret)) => {
                errors.collect(self.store.open(namespace, secret.clone()).await)
            }
            // The store is looked at all the same; with a secret given none is put there.
            _ => errors.collect(self.store.open("", Some(Secret::random())).await),
        };
        let opened = opened?;
        Some(Settings {
            facets: sealed(opened.facets, seal_keys?),
            secret_is_lost: opened.secret.is_none(),
            secret: opened.secret.unwrap_or_else(Secret::random),
            other_secret: other_secret?,
            namespace: namespace?,
            lease: lease?,
            max_run: max_run?,
            overrides: overrides?,
            instances: instances?,
            proxies: proxies?,
        })
    }

    fn proxies_setting(&self, errors: &mut StartErrors) -> Option<TrustedProxies> {
        let networks = self.trusted_proxies.as_deref().map_or_else(Networks::from_env, Networks::new);
        let networks = errors.collect(networks);
        let field = errors.collect(self.forwarded_field.map_or_else(ForwardedField::from_env, Ok));
        Some(TrustedProxies::new(networks?, field?))
    }

    fn lease_setting(&self) -> Result<Duration, StartError> {
        match self.lease {
            Some(lease) if lease < SHORTEST_LEASE => Err(StartError::new(format!(
                "a lease of {lease:?} is too short; at least {SHORTEST_LEASE:?}"
            ))),
            Some(lease) => Ok(lease),
            None => settings::duration("APLOMB_LEASE", Self::DEFAULT_LEASE, SHORTEST_LEASE),
        }
    }

    fn max_run_setting(&self) -> Result<Duration, StartError> {
        match self.max_run {
            Some(max_run) if max_run < SHORTEST_LEASE => Err(StartError::new(format!(
                "{max_run:?} is too short for the longest run; at least {SHORTEST_LEASE:?}"
            ))),
            Some(max_run) => Ok(max_run),
            None => settings::duration("APLOMB_MAX_RUN", Self::DEFAULT_MAX_RUN, SHORTEST_LEASE),
        }
    }

    fn assemble(self, settings: &Settings, state: S, errors: &mut StartErrors) -> Router {
        if settings.secret_is_lost && self.pages_by_cursor() {
            tracing::warn!("APLOMB_SECRET is not set: cursors are good for this process only");
        }
        listen_to_panics();
        let shared = Arc::new(self.shared(settings, errors));
        let newest = version::newest(self.routes.specs());
        let dearest = Dearest::of(self.routes.specs());
        let (timeout, body_limit) = (self.timeout, self.body_limit);
        let mut router = Router::new();
        for entry in self.routes.entries() {
            let run = run(*entry, state.clone());
            for Route { template: route, .. } in version::routes(entry.spec, newest) {
                let limits = Limits::new(entry.spec, &settings.overrides, &dearest, &settings.namespace);
                let limits = errors.collect(limits).flatten();
                let mounted = Mounted {
                    spec: entry.spec,
                    route: route.clone(),
                    reads_body: entry.reads_body,
                    needs_context: needs_context(entry.spec),
                    limits,
                    idempotency: idempotency(entry.spec),
                    retirement: self.retirement(entry.spec, &route),
                    timeout: entry.spec.timeout.unwrap_or(timeout),
                    body_limit: entry.spec.body_limit.unwrap_or(body_limit),
                    shared: Arc::clone(&shared),
                };
                let service = EndpointService::new(Arc::new(mounted), Arc::clone(&run));
                router =
                    router.route(&route, MethodRouter::new().on_service(filter(entry.spec.method), service));
            }
        }
        router
    }

    fn pages_by_cursor(&self) -> bool {
        self.routes.specs().any(|spec| matches!(spec.pagination, PaginationPolicy::Cursor(_)))
    }

    fn retirement(&self, spec: &'static EndpointSpec, route: &str) -> Option<Retirement> {
        let calls = self.deprecated_calls.counter(spec, route)?;
        let successor = spec.retirement?.successor;
        let successor = self.routes.specs().find(|other| successor == Some(other.id()));
        let successor = successor.map(|successor| Route::of_links(successor).template);
        let page = self.deprecation_info.as_deref();
        Retirement::new(spec, route, successor, page, calls, Arc::clone(&self.clock))
    }

    fn shared(&self, settings: &Settings, errors: &mut StartErrors) -> Shared {
        let other = settings.other_secret.as_ref();
        Shared {
            facets: settings.facets.clone(),
            limits: Guard::new(Arc::clone(&settings.facets.limits), settings.instances),
            identities: Identities::new(&settings.secret, &settings.namespace),
            other_identities: other.map(|secret| Identities::new(secret, &settings.namespace)),
            cursors: Cursors::new(&settings.secret, other, &settings.namespace),
            auth: self.auth.clone(),
            failures: Failures::new(),
            proxies: settings.proxies.clone(),
            heart: errors.collect(self.heart(settings)).flatten(),
            tracker: self.tracker.clone(),
            lease: settings.lease,
            problem_base: self.problem_base_or_default(),
            routes: self.table().into_iter().map(|(_, route, _)| route).collect(),
        }
    }

    fn heart(&self, settings: &Settings) -> Result<Option<Heart>, StartError> {
        if self.routes.specs().all(|spec| idempotency(spec).is_none()) {
            return Ok(None);
        }
        let records = &settings.facets.records;
        let own = records.for_heartbeat().unwrap_or_else(|| Arc::clone(records));
        let heart = Heart::start(own, settings.lease, settings.max_run);
        heart
            .map(Some)
            .map_err(|error| StartError::new(format!("the heartbeat thread cannot be started: {error}")))
    }
}

fn sealed(facets: Facets, keys: Option<SealKeys>) -> Facets {
    let Some(keys) = keys else { return facets };
    let Facets { limits, records, admission } = facets;
    let over = |admission| Arc::new(SealedRecords::new(admission, keys.clone())) as Arc<dyn AdmissionStore>;
    let admission = admission.map(over);
    Facets { limits, records: Arc::new(SealedRecords::new(records, keys)), admission }
}

fn run<S: Clone + Send + Sync + 'static>(entry: Entry<S>, state: S) -> Run {
    Arc::new(move |request| (entry.call)(state.clone(), request))
}

fn idempotency(spec: &EndpointSpec) -> Option<crate::policies::idempotency::IdempotencySpec> {
    match spec.idempotency {
        IdempotencyPolicy::Idempotent(spec) => Some(spec),
        IdempotencyPolicy::Undeclared | IdempotencyPolicy::NotIdempotent { .. } => None,
    }
}

/// A page's cursors and the request's id are looked up by extractors.
fn needs_context(spec: &EndpointSpec) -> bool {
    let asks_for_id = |probe: &PathProbe| probe() == PathShape::RequestId;
    matches!(spec.pagination, PaginationPolicy::Cursor(_) | PaginationPolicy::Offset(_))
        || spec.path_arguments.iter().flatten().any(asks_for_id)
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    }
}
