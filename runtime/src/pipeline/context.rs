use core::fmt;
use core::time::Duration;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::body::HttpBody;
use axum::extract::Request;
use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::authenticate;
use super::observe::RequestId;
use crate::auth::{Authenticate, Caller};
use crate::client::TrustedProxies;
use crate::endpoint::AnswerFuture;
use crate::policies::idempotency::{Heart, IdempotencySpec, Identities, RecordKey};
use crate::policies::paginate::Cursors;
use crate::policies::rate_limit::{Claimant, Failures, Guard, Known, Limits};
use crate::policies::retirement::Retirement;
use crate::spec::EndpointSpec;
use crate::store::Facets;

/// Calls an endpoint's extractors and handler with the API's state.
pub(crate) type Run = Arc<dyn Fn(Request) -> AnswerFuture + Send + Sync>;

/// What the endpoints of an API share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) facets: Facets,
    /// The facet of limits, and what decides while it is out.
    pub(crate) limits: Guard,
    pub(crate) identities: Identities,
    /// What names were made with before, or will be, while the secret is rotated.
    pub(crate) other_identities: Option<Identities>,
    pub(crate) cursors: Cursors,
    pub(crate) auth: Option<Arc<dyn Authenticate>>,
    pub(crate) failures: Failures,
    pub(crate) proxies: TrustedProxies,
    pub(crate) heart: Option<Heart>,
    pub(crate) tracker: TaskTracker,
    pub(crate) lease: Duration,
    pub(crate) problem_base: String,
    /// The templates of all routes, with their versions.
    pub(crate) routes: Vec<String>,
}

/// An endpoint under one route, with all that was decided at start.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) spec: &'static EndpointSpec,
    /// The route's template with its version, such as `/v1/payments/{id}`.
    pub(crate) route: String,
    pub(crate) reads_body: bool,
    /// Whether an extractor asks for what the pipeline knows, the caller apart.
    pub(crate) needs_context: bool,
    pub(crate) limits: Option<Limits>,
    pub(crate) idempotency: Option<IdempotencySpec>,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: u64,
    pub(crate) retirement: Option<Retirement>,
    pub(crate) shared: Arc<Shared>,
}

impl Mounted {
    /// Whether nothing has to be waited for before the extractors run, unless it be for the caller or for the
    /// limits: not for a policy, and not for a body that is too large, or that nobody reads.
    pub(crate) fn may_be_direct(&self, request: &Request) -> bool {
        // Taken apart, so that a new policy has to say here whether it waits for anything.
        let Self {
            spec: _,
            limits,
            idempotency,
            retirement,
            shared: _,
            reads_body,
            needs_context: _,
            body_limit,
            route: _,
            timeout: _,
        } = self;
        let body = request.body();
        // The end of an endpoint waits for nothing; only the whole line tells of it.
        let is_plain = idempotency.is_none() && retirement.is_none();
        if !is_plain || body.is_end_stream() {
            return is_plain;
        }
        // A small body is read after the caller is known, and before the limits are asked.
        let asks = limits.is_some() || authenticate::is_asked(self, request.headers());
        !asks && *reads_body && body.size_hint().lower() <= *body_limit
    }

    /// The client's address, where a limit asks for it.
    pub(crate) fn address(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        caller: Option<&Caller>,
    ) -> Option<IpAddr> {
        let asked = self.limits.as_ref().is_some_and(|limits| limits.ask_for_address(caller));
        let peer = peer.filter(|_| asked)?;
        Some(self.shared.proxies.client(peer, headers))
    }
}

/// What the stages and the extractors know of a request. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context(Arc<Inner>);

struct Inner {
    mounted: Arc<Mounted>,
    request_id: RequestId,
    /// The client's, where a limit asks for it and the peer is known.
    address: Option<IpAddr>,
    caller: Option<Caller>,
    /// What the limits looked up in the request.
    known: Known,
    /// When the response is due, where a limit asks for it.
    due: Option<Instant>,
    /// That of a run under an idempotency key, and whether its name is by the other secret.
    record: OnceLock<(RecordKey, bool)>,
}

impl Context {
    pub(crate) fn new(
        mounted: Arc<Mounted>,
        request_id: RequestId,
        address: Option<IpAddr>,
        caller: Option<Caller>,
        known: Known,
        due: Option<Instant>,
    ) -> Self {
        Self(Arc::new(Inner { mounted, request_id, address, caller, known, due, record: OnceLock::new() }))
    }

    /// Notes the record of a run under an idempotency key, and whether its name is by the other secret.
    pub(crate) fn set_record(&self, record: RecordKey, other: bool) {
        // A request has one run.
        let _ = self.0.record.set((record, other));
    }

    /// The record of the run, and who has made its name.
    pub(crate) fn record(&self) -> Option<(&RecordKey, &Identities)> {
        let (record, other) = self.0.record.get()?;
        let Shared { identities, other_identities, .. } = self.shared();
        let identities = if *other { other_identities.as_ref()? } else { identities };
        Some((record, identities))
    }

    pub(crate) fn mounted(&self) -> &Mounted {
        &self.0.mounted
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.mounted.shared
    }

    pub(crate) fn spec(&self) -> &'static EndpointSpec {
        self.0.mounted.spec
    }

    pub(crate) fn route(&self) -> &str {
        &self.0.mounted.route
    }

    pub(crate) fn cursors(&self) -> &Cursors {
        &self.0.mounted.shared.cursors
    }

    pub(crate) fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// What limits know of the request.
    pub(crate) fn claimant(&self) -> Claimant<'_> {
        let Inner { caller, address, due, known, .. } = &*self.0;
        let patience = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
        Claimant { caller: caller.as_ref(), address: *address, known, patience }
    }

    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.0.caller.as_ref()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("route", &self.0.mounted.route).finish_non_exhaustive()
    }
}
