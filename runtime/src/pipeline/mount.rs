//! An endpoint under one route: the inputs of its policies, and the mounted endpoint.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::order;
use crate::auth::Authenticator;
use crate::client::TrustedProxies;
use crate::policies::deprecation::Deprecation;
use crate::policies::idempotency::EndpointRuns;
use crate::policies::paginate::Cursors;
use crate::policies::rate_limit::{AuthFailures, EndpointLimits};
use crate::request::{BodyArgument, BodyRules, Incoming, ResponseFuture, Stage};
use crate::spec::EndpointSpec;
use crate::store::AdmissionStore;
use crate::transaction::TransactionSource;

/// Calls an endpoint's extractors and handler with the API's state.
pub(crate) type Handler = Box<dyn Fn(&mut Incoming) -> ResponseFuture + Send + Sync>;

/// The data that all endpoints of an API share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) auth: Option<Arc<dyn Authenticator>>,
    pub(crate) failures: Arc<AuthFailures>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) cursors: Cursors,
    /// A store that checks the limits and begins the record in one call, if one store has both.
    pub(crate) admission: Option<Arc<dyn AdmissionStore>>,
    /// Counts the runs that must end before the process ends.
    pub(crate) tracker: TaskTracker,
    pub(crate) problem_base: String,
}

/// The inputs from which the policies of an endpoint under one route are made.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) spec: &'static EndpointSpec,
    /// The route's template with its version, such as `/v1/payments/{id}`.
    pub(crate) route: String,
    /// Set if an argument takes the request's id.
    pub(crate) takes_request_id: bool,
    pub(crate) timeout: Duration,
    pub(crate) body: BodyRules,
    pub(crate) deprecation: Option<Arc<Deprecation>>,
    pub(crate) limits: Option<Arc<EndpointLimits>>,
    pub(crate) runs: Option<Arc<EndpointRuns>>,
    /// The database of the handler's transaction, if an argument is a `Tx`.
    pub(crate) transactions: Option<Arc<dyn TransactionSource>>,
    pub(crate) shared: Arc<Shared>,
}

impl Mount {
    /// Returns `true` if the endpoint calls a store before its handler runs.
    pub(crate) fn uses_store(&self) -> bool {
        self.limits.is_some() || self.runs.is_some()
    }

    /// Returns `true` if an argument of the handler reads the body.
    #[inline]
    pub(crate) fn reads_body(&self) -> bool {
        self.body.argument != BodyArgument::Unread
    }

    /// Returns `true` if a small body is read before the store is called. The handler or the
    /// fingerprint needs the body anyway. A request whose body never arrives then takes no tokens
    /// and begins no record.
    pub(crate) fn reads_body_early(&self) -> bool {
        self.runs.is_some() || self.limits.is_some() && self.reads_body()
    }
}

/// An endpoint under one route, with its stages and its handler.
pub(crate) struct MountedEndpoint {
    pub(super) mount: Mount,
    /// The stages of the policies that the endpoint declares, in the order in which requests enter
    /// them.
    pub(super) stages: Box<[Box<dyn Stage>]>,
    pub(super) admission: Option<Admission>,
    pub(super) handler: Handler,
}

impl MountedEndpoint {
    pub(crate) fn new(mount: Mount, handler: Handler) -> Self {
        let (stages, admission) = (order::stages(&mount), Admission::new(&mount));
        Self {
            mount,
            stages,
            admission,
            handler,
        }
    }
}

impl fmt::Debug for MountedEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedEndpoint")
            .field("route", &self.mount.route)
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}
