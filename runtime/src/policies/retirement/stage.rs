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
use super::spec::RetirementSpec;
use crate::clock::{Clock, Timestamp};
use crate::extract::outer_path;
use crate::problem::{Problem, registry};
use crate::request::{Caller, Entry, Exit, IncomingRequest, RequestInfo, RequestState, Stage};
use crate::spec::EndpointSpec;
use crate::tally::Tally;

/// How an endpoint under one route is given up, with all that was prepared at start.
#[derive(Debug)]
pub(crate) struct Retirement {
    endpoint: &'static EndpointSpec,
    spec: &'static RetirementSpec,
    fields: Fields,
    successor: Option<SuccessorPath>,
    calls: Arc<Counter>,
    tally: Tally,
    clock: Arc<dyn Clock>,
}

/// At most one line of the log in this time, for each endpoint under each route.
const PAUSE: Duration = Duration::from_mins(1);

impl Retirement {
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
        let spec = endpoint.retirement?;
        let successor = successor.and_then(|successor| SuccessorPath::new(route, &successor));
        let (fields, tally) = (Fields::new(spec, page), Tally::new(PAUSE));
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
        self.calls.count(phase);
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
        self.fields.write(headers);
        if let Some(link) = notice.link() {
            headers.append(LINK, link);
        }
    }

    /// Tells the log of a call, unless it is still right to call.
    fn warn(&self, notice: &Notice, caller: Option<&Caller>) {
        if notice.phase == Phase::Announced {
            return;
        }
        let Some(calls) = self.tally.one_more(notice.now) else {
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

/// Retirement on one endpoint under one route.
#[derive(Debug)]
pub(crate) struct RetirementStage(Arc<Retirement>);

impl RetirementStage {
    /// The stage of an endpoint that declares `deprecated` or `sunset`.
    pub(crate) fn new(retirement: Option<&Arc<Retirement>>) -> Option<Self> {
        retirement.cloned().map(Self)
    }
}

impl Stage for RetirementStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> Entry<'a> {
        let notice = self.0.meet(request.head());
        let checked = notice.check();
        state.exits.push(Arc::new(RetirementExit {
            retirement: Arc::clone(&self.0),
            notice,
        }));
        Entry::Done(checked)
    }
}

/// Writes the notice into the response, and the log line of the call, whose caller is known by then.
#[derive(Debug)]
struct RetirementExit {
    retirement: Arc<Retirement>,
    notice: Notice,
}

impl Exit for RetirementExit {
    fn finish(&self, info: &RequestInfo, response: &mut Response) {
        self.retirement.write(&self.notice, response.headers_mut());
        self.retirement.warn(&self.notice, info.caller.as_ref());
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
