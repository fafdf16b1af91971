use core::time::Duration;
use std::sync::Arc;

use axum::response::Response;
use http::header::LINK;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::calls::Counter;
use super::decide::Phase;
use super::fields::{self, Fields};
use super::link::SuccessorPath;
use super::spec::DeprecationSpec;
use crate::clock::{Clock, Timestamp};
use crate::extract::outer_path;
use crate::log_throttle::LogThrottle;
use crate::problem::{Problem, registry};
use crate::request::{
    Caller, IncomingRequest, RequestInfo, RequestState, ResponseWriter, Stage, StageResult,
};
use crate::spec::EndpointSpec;

/// The deprecation of an endpoint under one route, prepared at start.
#[derive(Debug)]
pub(crate) struct Deprecation {
    endpoint: &'static EndpointSpec,
    spec: &'static DeprecationSpec,
    fields: Fields,
    successor: Option<SuccessorPath>,
    calls: Arc<Counter>,
    throttle: LogThrottle,
    clock: Arc<dyn Clock>,
}

/// The time between two log lines for an endpoint under one route. Old clients may call the
/// endpoint all the time, so not every call is logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

impl Deprecation {
    /// Prepares the deprecation of `endpoint`. Returns `None` if the endpoint does not declare a
    /// deprecation. `route` is the template of the endpoint, `successor` is the template of the
    /// endpoint that replaces it, and `page` is the API's page for humans.
    pub(crate) fn new(
        endpoint: &'static EndpointSpec,
        route: &str,
        successor: Option<String>,
        page: Option<&str>,
        calls: Arc<Counter>,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let spec = endpoint.deprecation?;
        let successor = successor.and_then(|successor| SuccessorPath::new(route, &successor));
        let (fields, throttle) = (Fields::new(spec, page), LogThrottle::new(LOG_INTERVAL));
        Some(Self {
            endpoint,
            spec,
            fields,
            successor,
            calls,
            throttle,
            clock,
        })
    }

    /// Counts a request and returns the status for its response.
    fn observe(&self, head: &Parts) -> DeprecationStatus {
        let now = self.clock.now();
        let phase = self.spec.phase(now);
        self.calls.increment(phase);
        let successor = self.successor.as_ref();
        let successor =
            successor.map(|path| outer_path(head).into_owned() + &path.fill(head.uri.path()));
        DeprecationStatus {
            phase,
            now,
            successor,
        }
    }

    /// Writes the response fields. Existing `Link` fields are kept.
    fn write_fields(&self, status: &DeprecationStatus, headers: &mut HeaderMap) {
        self.fields.write_fields(headers);
        if let Some(link) = status.link() {
            headers.append(LINK, link);
        }
    }

    /// Logs a call, unless the deprecation is still in the future.
    fn log_call(&self, status: &DeprecationStatus, caller: Option<&Caller>) {
        if status.phase == Phase::Announced {
            return;
        }
        let Some(calls) = self.throttle.add(status.now) else {
            return;
        };
        tracing::warn!(
            endpoint = self.endpoint.name,
            route = self.calls.route(),
            caller = caller.map(Caller::id),
            calls,
            sunset = self.spec.sunset.map(tracing::field::display),
            "{}",
            status.message()
        );
    }
}

/// The deprecation of one endpoint under one route.
#[derive(Debug)]
pub(crate) struct DeprecationStage(Arc<Deprecation>);

impl DeprecationStage {
    /// Returns the stage of an endpoint that declares `deprecated` or `sunset`, or `None` for any
    /// other endpoint.
    pub(crate) fn new(deprecation: Option<&Arc<Deprecation>>) -> Option<Self> {
        deprecation.cloned().map(Self)
    }
}

impl Stage for DeprecationStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let status = self.0.observe(request.head());
        let checked = status.reject_if_gone();
        state.writers.push(Arc::new(DeprecationResponseWriter {
            deprecation: Arc::clone(&self.0),
            status,
        }));
        StageResult::Ready(checked)
    }
}

/// A writer of the response fields and of the log line. The log line contains the caller, who is
/// only known after authentication.
#[derive(Debug)]
struct DeprecationResponseWriter {
    deprecation: Arc<Deprecation>,
    status: DeprecationStatus,
}

impl ResponseWriter for DeprecationResponseWriter {
    fn write(&self, info: &RequestInfo, response: &mut Response) {
        self.deprecation
            .write_fields(&self.status, response.headers_mut());
        self.deprecation
            .log_call(&self.status, info.caller.as_ref());
    }
}

/// The deprecation status of one request.
#[derive(Debug)]
struct DeprecationStatus {
    phase: Phase,
    now: Timestamp,
    /// The URI of the same resource in the successor.
    successor: Option<String>,
}

impl DeprecationStatus {
    /// Rejects the request if its endpoint is past its enforced sunset.
    fn reject_if_gone(&self) -> Result<(), Problem> {
        if self.phase < Phase::Gone {
            return Ok(());
        }
        let detail = match &self.successor {
            Some(uri) => format!("this version has ended: use its successor {uri}"),
            None => "this version has ended".to_owned(),
        };
        Err(Problem::new(&registry::VERSION_GONE).with_detail(detail))
    }

    fn link(&self) -> Option<HeaderValue> {
        self.successor.as_deref().and_then(fields::successor)
    }

    fn message(&self) -> &'static str {
        match self.phase {
            Phase::Announced | Phase::Deprecated => "a deprecated endpoint was called",
            Phase::AfterSunset => "an endpoint was called after its sunset",
            Phase::Gone => "a call after an enforced sunset was rejected",
        }
    }
}
