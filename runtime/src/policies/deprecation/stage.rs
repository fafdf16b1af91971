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

/// How an endpoint under one route is given up, with all that was prepared at start.
#[derive(Debug)]
pub(crate) struct Deprecation {
    endpoint: &'static EndpointSpec,
    spec: &'static DeprecationSpec,
    fields: Fields,
    successor: Option<SuccessorPath>,
    calls: Arc<Counter>,
    tally: LogThrottle,
    clock: Arc<dyn Clock>,
}

/// At most one line of the log in this time, for each endpoint under each route.
const PAUSE: Duration = Duration::from_mins(1);

impl Deprecation {
    /// `route` is the endpoint's own template, `successor` that of the endpoint that takes its place,
    /// `page` the API's page for humans.
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
        let (fields, tally) = (Fields::new(spec, page), LogThrottle::new(PAUSE));
        Some(Self {
            endpoint,
            spec,
            fields,
            successor,
            calls,
            tally,
            clock,
        })
    }

    /// Counts a request, and notes what its response will say.
    fn meet(&self, head: &Parts) -> Notice {
        let now = self.clock.now();
        let phase = self.spec.phase(now);
        self.calls.increment(phase);
        let successor = self.successor.as_ref();
        let successor =
            successor.map(|path| outer_path(head).into_owned() + &path.fill(head.uri.path()));
        Notice {
            phase,
            now,
            successor,
        }
    }

    /// Writes the fields of every response, beside the links that are there.
    fn write(&self, notice: &Notice, headers: &mut HeaderMap) {
        self.fields.write_fields(headers);
        if let Some(link) = notice.link() {
            headers.append(LINK, link);
        }
    }

    /// Tells the log of a call, unless it is still right to call.
    fn warn(&self, notice: &Notice, caller: Option<&Caller>) {
        if notice.phase == Phase::Announced {
            return;
        }
        let Some(calls) = self.tally.add(notice.now) else {
            return;
        };
        tracing::warn!(
            endpoint = self.endpoint.name,
            route = self.calls.route(),
            caller = caller.map(Caller::id),
            calls,
            sunset = self.spec.sunset.map(tracing::field::display),
            "{}",
            notice.message()
        );
    }
}

/// Deprecation on one endpoint under one route.
#[derive(Debug)]
pub(crate) struct DeprecationStage(Arc<Deprecation>);

impl DeprecationStage {
    /// The stage of an endpoint that declares `deprecated` or `sunset`.
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
        let notice = self.0.meet(request.head());
        let checked = notice.check();
        state.writers.push(Arc::new(DeprecationResponseWriter {
            deprecation: Arc::clone(&self.0),
            notice,
        }));
        StageResult::Ready(checked)
    }
}

/// Writes the notice into the response, and the log line of the call, whose caller is known by then.
#[derive(Debug)]
struct DeprecationResponseWriter {
    deprecation: Arc<Deprecation>,
    notice: Notice,
}

impl ResponseWriter for DeprecationResponseWriter {
    fn write(&self, info: &RequestInfo, response: &mut Response) {
        self.deprecation.write(&self.notice, response.headers_mut());
        self.deprecation.warn(&self.notice, info.caller.as_ref());
    }
}

/// What an endpoint that is given up says of one request.
#[derive(Debug)]
struct Notice {
    phase: Phase,
    now: Timestamp,
    /// The same thing in the successor.
    successor: Option<String>,
}

impl Notice {
    /// Refuses the request, if its endpoint is gone.
    fn check(&self) -> Result<(), Problem> {
        if self.phase < Phase::Gone {
            return Ok(());
        }
        let detail = match &self.successor {
            Some(uri) => format!("this version has ended; its successor is {uri}"),
            None => "this version has ended".to_owned(),
        };
        Err(Problem::new(&registry::VERSION_GONE).with_detail(detail))
    }

    fn link(&self) -> Option<HeaderValue> {
        self.successor.as_deref().and_then(fields::successor)
    }

    fn message(&self) -> &'static str {
        match self.phase {
            Phase::Announced | Phase::Deprecated => "a deprecated endpoint is called",
            Phase::AfterSunset => "an endpoint is called after its sunset",
            Phase::Gone => "an endpoint that is gone is called",
        }
    }
}
