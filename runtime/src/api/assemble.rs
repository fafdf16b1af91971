//! Builds the router of an API from its declarations and settings.

use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter};

use super::{Api, check, name};
use crate::client::{ForwardedField, Networks, TrustedProxies};
use crate::endpoint::{MountableEndpoint, PathShape};
use crate::pipeline::{EndpointService, Handler, Mount, MountedEndpoint, Shared};
use crate::policies::deprecation::Deprecation;
use crate::policies::idempotency::{
    EncryptionKeys, EndpointRuns, IdempotencyClient, IdempotencyStore, LeaseRenewer, MaxRuns,
    OnCrash, RecordNames, RunBounds,
};
use crate::policies::paginate::{Cursors, PaginationPolicy};
use crate::policies::rate_limit::{
    AuthFailures, EndpointLimits, Instances, LimitClient, Limits, MaxCosts, Overrides,
};
use crate::policies::version::{self, Route};
use crate::request::{BodyArgument, BodyMemory, BodyPace, BodyRules};
use crate::secret::Secret;
use crate::settings;
use crate::spec::{EndpointSpec, Method};
use crate::start::{StartError, StartErrors};
use crate::store::{AdmissionStore, EncryptedRecords, Facets};
use crate::transaction::{TransactionSource, transactions_in};

/// The clients of the store, which all endpoints share.
struct Clients {
    limits: Arc<LimitClient>,
    max_costs: MaxCosts,
    idempotency: Arc<IdempotencyClient>,
}

impl Clients {
    fn limits(
        &self,
        spec: &'static EndpointSpec,
        settings: &Settings,
    ) -> Result<Option<Arc<EndpointLimits>>, StartError> {
        let limits = Limits::new(
            spec,
            &settings.overrides,
            &self.max_costs,
            &settings.namespace,
        )?;
        let (client, proxies) = (Arc::clone(&self.limits), settings.proxies.clone());
        Ok(limits.map(|limits| {
            Arc::new(EndpointLimits {
                spec,
                limits,
                client,
                proxies,
            })
        }))
    }

    fn runs(
        &self,
        endpoint: &EndpointSpec,
        route: &str,
        settings: &Settings,
    ) -> Option<Arc<EndpointRuns>> {
        let (spec, on_crash) = endpoint.keys()?;
        let transactional = endpoint.transaction.is_some() && on_crash == OnCrash::Rerun;
        let names = RecordNames::new(&settings.namespace, endpoint.method.as_str(), route);
        Some(Arc::new(EndpointRuns {
            spec,
            on_crash,
            transactional,
            names,
            client: Arc::clone(&self.idempotency),
        }))
    }
}

/// All validated settings, and the connected store.
pub(super) struct Settings {
    facets: Facets,
    /// The database of the handlers' transactions.
    transactions: Option<Arc<dyn TransactionSource>>,
    secret: Secret,
    /// A second secret, whose cursors are accepted while the secret is rotated.
    previous_secret: Option<Secret>,
    /// Set if the secret is random, so that cursors are valid only until this process ends.
    secret_is_ephemeral: bool,
    namespace: String,
    lease: Duration,
    max_handler_duration: Duration,
    max_runs: MaxRuns,
    overrides: Overrides,
    pub(super) instances: Instances,
    pub(super) body_pace: BodyPace,
    body_memory: Arc<BodyMemory>,
    proxies: TrustedProxies,
}

impl Settings {
    pub(super) fn into_records(self) -> Arc<dyn IdempotencyStore> {
        self.facets.records
    }
}

/// The shortest silence of a client that a setting can declare.
const MIN_BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// The shortest lease. A lease is renewed after each third of its length. With less than 100 ms
/// between two renewals, a lease could lapse because of one slow call to the store.
const MIN_LEASE: Duration = Duration::from_millis(300);

/// The shortest time limit of a transaction.
const MIN_TRANSACTION_TIMEOUT: Duration = Duration::from_millis(50);

/// An API with its validated settings and its connected store, or with the errors that were found.
pub(crate) struct Prepared<S> {
    api: Api<S>,
    settings: Option<Settings>,
    errors: StartErrors,
}

impl<S: Clone + Send + Sync + 'static> Prepared<S> {
    /// Returns the proxies whose client addresses and request ids are trusted.
    pub(crate) fn proxies(&self) -> TrustedProxies {
        self.settings
            .as_ref()
            .map(|settings| settings.proxies.clone())
            .unwrap_or_default()
    }

    /// Returns the warnings about declarations and settings.
    #[cfg(feature = "cli")]
    pub(crate) fn warnings(&self) -> Vec<String> {
        super::warnings::of(&self.api, self.settings.as_ref())
    }

    /// Returns the errors found so far.
    pub(crate) fn errors(&self) -> StartErrors {
        self.errors.clone()
    }

    /// Builds the router, if there are no errors.
    pub(crate) fn into_router(self, state: S) -> Result<Router, StartErrors> {
        let Self {
            api,
            settings,
            mut errors,
        } = self;
        let settings = settings.filter(|_| errors.is_empty());
        let router = settings.map(|settings| api.assemble(&settings, state, &mut errors));
        errors.into_result().map(|()| router.unwrap_or_default())
    }
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// Validates the settings and connects the store.
    pub(crate) async fn prepare(self) -> Prepared<S> {
        let mut errors = StartErrors::new();
        let settings = self.settings(true, &mut errors).await;
        Prepared {
            api: self,
            settings,
            errors,
        }
    }

    /// Validates all settings, connects the store, and collects every error. `needs_secret` is
    /// `false` for tools that sign nothing. Such tools neither read nor create the secret of a
    /// shared store.
    pub(super) async fn settings(
        &self,
        needs_secret: bool,
        errors: &mut StartErrors,
    ) -> Option<Settings> {
        check::endpoints(self, errors);
        if self.store.is_set_in_code() {
            tracing::warn!(
                "APLOMB_STORE is set but ignored, because the code sets another store: call \
                 Api::store(Store::from_env()) to use it"
            );
        }
        if let Some(auth) = &self.auth {
            errors.extend(auth.start_errors());
        }
        let secret = match &self.secret {
            Some(secret) => Some(Some(secret.clone())),
            None => errors.collect(Secret::from_env("APLOMB_SECRET")),
        };
        let previous_secret = match &self.previous_secret {
            Some(secret) => Some(Some(secret.clone())),
            None => errors.collect(Secret::from_env("APLOMB_PREVIOUS_SECRET")),
        };
        let encryption_keys = match &self.encryption_keys {
            Some(keys) => Some(Some(keys.clone())),
            None => errors.collect(EncryptionKeys::from_env()),
        };
        let namespace = errors
            .collect(name::check_name(&self.name))
            .map(str::to_owned);
        let lease = errors.collect(self.lease_setting());
        if let Some(lease) = lease {
            check::times_to_live(self, lease, errors);
        }
        let transaction_timeout =
            lease.and_then(|lease| errors.collect(self.transaction_timeout_setting(lease)));
        let max_handler_duration = errors.collect(self.max_handler_duration_setting());
        let max_runs = self.max_runs_setting(errors);
        let overrides = errors.collect(Overrides::from_env(self.routes.specs()));
        let body_pace = self.body_pace_setting(errors);
        let body_memory = errors.collect(self.body_memory_setting());
        if let Some(body_memory) = body_memory {
            check::body_memory(self, body_memory, errors);
        }
        let instances = errors.collect(
            self.instances
                .map_or_else(Instances::from_env, Instances::new),
        );
        let proxies = self.proxies_setting(errors);
        let migrate = errors.collect(match self.migrate {
            Some(migrate) => Ok(migrate),
            None => settings::on_or_off("APLOMB_MIGRATE", true),
        });
        // With an invalid setting, nothing is changed in the store.
        let migrate = migrate.unwrap_or(false);
        let opened = match (&namespace, &secret) {
            (Some(namespace), Some(secret)) => {
                let secret = secret
                    .clone()
                    .or_else(|| (!needs_secret).then(Secret::random));
                errors.collect(self.store.open(namespace, secret, migrate).await)
            }
            // The store is checked even if the name or the secret is invalid. The call gets a
            // random secret, so that no secret is created in the store.
            _ => {
                let secret = Some(Secret::random());
                errors.collect(self.store.open("", secret, migrate).await)
            }
        };
        let opened = opened?;
        let encryption_keys = encryption_keys?;
        let transactions = match (opened.work, transaction_timeout) {
            (Some(work), Some(limit)) => {
                Some(transactions_in(work, limit, encryption_keys.clone()))
            }
            // The error of the time limit is already reported.
            (Some(_), None) => return None,
            (None, _) => None,
        };
        check::transactions(self, transactions.as_deref(), errors);
        if let Some(transactions) = &transactions {
            for pool in Arc::clone(transactions).pools() {
                self.pools.add(pool);
            }
        }
        Some(Settings {
            transactions,
            facets: encrypted(opened.facets, encryption_keys),
            secret_is_ephemeral: opened.secret.is_none(),
            secret: opened.secret.unwrap_or_else(Secret::random),
            previous_secret: previous_secret?,
            namespace: namespace?,
            lease: lease?,
            max_handler_duration: max_handler_duration?,
            max_runs: max_runs?,
            overrides: overrides?,
            instances: instances?,
            body_pace: body_pace?,
            body_memory: Arc::new(BodyMemory::new(body_memory?)),
            proxies: proxies?,
        })
    }

    fn proxies_setting(&self, errors: &mut StartErrors) -> Option<TrustedProxies> {
        let networks = self
            .trusted_proxies
            .as_deref()
            .map_or_else(Networks::from_env, Networks::new);
        let networks = errors.collect(networks);
        let field = errors.collect(
            self.forwarded_field
                .map_or_else(ForwardedField::from_env, Ok),
        );
        Some(TrustedProxies::new(networks?, field?))
    }

    fn lease_setting(&self) -> Result<Duration, StartError> {
        match self.lease {
            Some(lease) if lease < MIN_LEASE => Err(StartError::new(format!(
                "Api::lease({lease:?}): expected at least {MIN_LEASE:?}"
            ))),
            Some(lease) => Ok(lease),
            None => settings::duration("APLOMB_LEASE", Self::DEFAULT_LEASE, MIN_LEASE),
        }
    }

    /// Returns the longest duration of a transaction. The lease of a run is not renewed while its
    /// transaction is open, so the transaction must end before the lease does.
    fn transaction_timeout_setting(&self, lease: Duration) -> Result<Duration, StartError> {
        const VARIABLE: &str = "APLOMB_TRANSACTION_TIMEOUT";
        let longest = lease / 3;
        let default = Self::DEFAULT_TRANSACTION_TIMEOUT.min(longest);
        let too_long = |limit: Duration| {
            format!(
                "{limit:?} is more than a third of the lease of {lease:?}: lower it, or raise APLOMB_LEASE"
            )
        };
        match self.transaction_timeout {
            Some(limit) if limit < MIN_TRANSACTION_TIMEOUT => Err(StartError::new(format!(
                "Api::transaction_timeout({limit:?}): expected at least {MIN_TRANSACTION_TIMEOUT:?}"
            ))),
            Some(limit) if limit > longest => Err(StartError::new(format!(
                "Api::transaction_timeout: {}",
                too_long(limit)
            ))),
            Some(limit) => Ok(limit),
            None => {
                let limit = settings::duration(VARIABLE, default, MIN_TRANSACTION_TIMEOUT)?;
                if limit > longest {
                    return Err(StartError::new(format!("{VARIABLE}: {}", too_long(limit))));
                }
                Ok(limit)
            }
        }
    }

    fn max_handler_duration_setting(&self) -> Result<Duration, StartError> {
        match self.max_handler_duration {
            Some(max_handler_duration) if max_handler_duration < MIN_LEASE => {
                Err(StartError::new(format!(
                    "Api::max_handler_duration({max_handler_duration:?}): expected at least {MIN_LEASE:?}"
                )))
            }
            Some(max_handler_duration) => Ok(max_handler_duration),
            None => settings::duration(
                "APLOMB_MAX_HANDLER_DURATION",
                Self::DEFAULT_MAX_HANDLER_DURATION,
                MIN_LEASE,
            ),
        }
    }

    fn max_runs_setting(&self, errors: &mut StartErrors) -> Option<MaxRuns> {
        let process = errors.collect(match self.max_runs {
            Some(0) => Err(StartError::new("Api::max_runs(0): expected at least 1")),
            Some(runs) => Ok(runs),
            None => settings::number("APLOMB_MAX_RUNS", Self::DEFAULT_MAX_RUNS),
        });
        let per_caller = errors.collect(match self.max_runs_per_caller {
            Some(0) => Err(StartError::new(
                "Api::max_runs_per_caller(0): expected at least 1",
            )),
            Some(runs) => Ok(runs),
            None => settings::number(
                "APLOMB_MAX_RUNS_PER_CALLER",
                Self::DEFAULT_MAX_RUNS_PER_CALLER,
            ),
        });
        Some(MaxRuns {
            process: process?,
            per_caller: per_caller?,
        })
    }

    fn body_pace_setting(&self, errors: &mut StartErrors) -> Option<BodyPace> {
        let default = BodyPace::DEFAULT;
        let silence = errors.collect(match self.body_timeout {
            Some(silence) if silence < MIN_BODY_TIMEOUT => Err(StartError::new(format!(
                "Api::body_timeout({silence:?}): expected at least {MIN_BODY_TIMEOUT:?}"
            ))),
            Some(silence) => Ok(silence),
            None => settings::duration("APLOMB_BODY_TIMEOUT", default.silence, MIN_BODY_TIMEOUT),
        });
        let min_rate = errors.collect(match self.body_min_rate {
            Some(0) => Err(StartError::new(
                "Api::body_min_rate(0): expected at least 1",
            )),
            Some(min_rate) => Ok(min_rate),
            None => settings::number("APLOMB_BODY_MIN_RATE", default.min_rate),
        });
        Some(BodyPace {
            silence: silence?,
            min_rate: min_rate?,
        })
    }

    fn body_memory_setting(&self) -> Result<u64, StartError> {
        match self.body_memory {
            Some(bytes) => Ok(bytes),
            None => settings::size("APLOMB_BODY_MEMORY", BodyMemory::DEFAULT_LIMIT),
        }
    }

    fn assemble(self, settings: &Settings, state: S, errors: &mut StartErrors) -> Router {
        if settings.secret_is_ephemeral && self.pages_by_cursor() {
            tracing::warn!(
                "APLOMB_SECRET is not set: cursors are valid only until this process ends"
            );
        }
        let shared = Arc::new(self.shared(settings));
        let clients = self.clients(settings, errors);
        let newest = version::newest(self.routes.specs());
        let mut router = Router::new();
        for entry in self.routes.entries() {
            for Route {
                template: route, ..
            } in version::routes(entry.spec, newest)
            {
                let mount = self.mount(
                    entry,
                    &route,
                    settings,
                    &clients,
                    Arc::clone(&shared),
                    errors,
                );
                let endpoint = MountedEndpoint::new(mount, handler(*entry, state.clone()));
                let service = EndpointService::new(endpoint);
                router = router.route(
                    &route,
                    MethodRouter::new().on_service(filter(entry.spec.method), service),
                );
            }
        }
        router
    }

    fn clients(&self, settings: &Settings, errors: &mut StartErrors) -> Clients {
        Clients {
            limits: Arc::new(LimitClient::new(
                Arc::clone(&settings.facets.limits),
                settings.instances,
            )),
            max_costs: MaxCosts::from_specs(self.routes.specs()),
            idempotency: Arc::new(IdempotencyClient {
                records: Arc::clone(&settings.facets.records),
                lease: settings.lease,
                lease_renewer: errors.collect(self.lease_renewer(settings)).flatten(),
                bounds: Arc::new(RunBounds::new(settings.max_runs, settings.proxies.clone())),
                tracker: self.tracker.clone(),
            }),
        }
    }

    fn mount(
        &self,
        entry: &MountableEndpoint<S>,
        route: &str,
        settings: &Settings,
        clients: &Clients,
        shared: Arc<Shared>,
        errors: &mut StartErrors,
    ) -> Mount {
        let spec = entry.spec;
        Mount {
            spec,
            route: route.to_owned(),
            takes_request_id: takes_request_id(spec),
            deprecation: self.deprecation(spec, route).map(Arc::new),
            limits: errors.collect(clients.limits(spec, settings)).flatten(),
            runs: clients.runs(spec, route, settings),
            transactions: settings
                .transactions
                .clone()
                .filter(|_| spec.transaction.is_some()),
            timeout: spec.timeout.unwrap_or(self.timeout),
            body: self.body_rules(entry, settings),
            shared,
        }
    }

    fn body_rules(&self, entry: &MountableEndpoint<S>, settings: &Settings) -> BodyRules {
        BodyRules {
            limit: entry.spec.body_limit.unwrap_or(self.body_limit),
            pace: settings.body_pace,
            argument: body_argument(entry),
            memory: Arc::clone(&settings.body_memory),
        }
    }

    fn pages_by_cursor(&self) -> bool {
        self.routes
            .specs()
            .any(|spec| matches!(spec.pagination, PaginationPolicy::Cursor(_)))
    }

    fn deprecation(&self, spec: &'static EndpointSpec, route: &str) -> Option<Deprecation> {
        let calls = self.deprecated_calls.counter(spec, route)?;
        let successor = spec.deprecation?.successor;
        let successor = self
            .routes
            .specs()
            .find(|other| successor == Some(other.id()));
        let successor = successor.map(|successor| Route::for_links(successor).template);
        let page = self.deprecation_info.as_deref();
        Deprecation::new(spec, route, successor, page, calls, Arc::clone(&self.clock))
    }

    fn shared(&self, settings: &Settings) -> Shared {
        let previous = settings.previous_secret.as_ref();
        Shared {
            auth: self.auth.clone(),
            failures: Arc::new(AuthFailures::new()),
            proxies: settings.proxies.clone(),
            cursors: Cursors::new(&settings.secret, previous, &settings.namespace),
            admission: settings.facets.admission.clone(),
            tracker: self.tracker.clone(),
            problem_base: self.problem_base_or_default(),
        }
    }

    fn lease_renewer(&self, settings: &Settings) -> Result<Option<LeaseRenewer>, StartError> {
        if self
            .routes
            .specs()
            .all(|spec| spec.idempotency.spec().is_none())
        {
            return Ok(None);
        }
        let records = &settings.facets.records;
        // The renewal has a separate connection, so that a handler that blocks the runtime cannot
        // stop the renewal.
        let own = records
            .for_heartbeat()
            .unwrap_or_else(|| Arc::clone(records));
        let renewer = LeaseRenewer::start(own, settings.lease, settings.max_handler_duration);
        renewer.map(Some).map_err(|error| {
            StartError::new(format!(
                "cannot start the thread that renews leases: {error}"
            ))
        })
    }
}

/// Wraps the stores of records so that responses are encrypted, if there are keys.
fn encrypted(facets: Facets, keys: Option<EncryptionKeys>) -> Facets {
    let Some(keys) = keys else { return facets };
    let Facets {
        limits,
        records,
        admission,
    } = facets;
    let encrypt = |admission| {
        Arc::new(EncryptedRecords::new(admission, keys.clone())) as Arc<dyn AdmissionStore>
    };
    let admission = admission.map(encrypt);
    Facets {
        limits,
        records: Arc::new(EncryptedRecords::new(records, keys)),
        admission,
    }
}

fn handler<S: Clone + Send + Sync + 'static>(entry: MountableEndpoint<S>, state: S) -> Handler {
    Box::new(move |incoming| (entry.call)(state.clone(), incoming))
}

fn takes_request_id(spec: &EndpointSpec) -> bool {
    has_argument(spec, &PathShape::RequestId)
}

/// Returns the use of the body by an endpoint. Only the last argument can be the raw body.
pub(super) fn body_argument<S>(entry: &MountableEndpoint<S>) -> BodyArgument {
    if !entry.reads_body {
        BodyArgument::Unread
    } else if has_argument(entry.spec, &PathShape::RawBody) {
        BodyArgument::Raw
    } else if has_argument(entry.spec, &PathShape::StreamedBody) {
        BodyArgument::Streamed
    } else {
        BodyArgument::Buffered
    }
}

fn has_argument(spec: &EndpointSpec, shape: &PathShape) -> bool {
    let mut probes = spec.path_arguments.iter().flatten();
    probes.any(|probe| probe() == *shape)
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
