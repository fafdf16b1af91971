//! The order of the stages. It stands here and nowhere else:
//!
//! observe → deadline → sunset → authenticate → idempotency key → refusals that are known → body, if small →
//! limits and `begin` (with a larger body: limits, body, `begin`) → extractors → handler → settle →
//! decorate
//!
//! Authentication comes before limits, so that nobody uses up the limits of somebody else. The key's
//! record is looked at before the extractors run, so that a deployment that reads requests more
//! strictly cannot break a replay. [`Direct`](super::direct) is this line where every stage between
//! the deadline and the extractors has nothing to do.

use core::pin::pin;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::OptionFuture;
use http::request::Parts;
use tokio::time::Instant;

use super::context::{Context, Mounted, Run};
use super::intake::{Intake, Unread};
use super::nested::outer_prefix;
use super::observe::RequestId;
use super::uncancelled::Uncancelled;
use super::{authenticate, decorate, handler};
use crate::auth::Caller;
use crate::client::peer;
use crate::endpoint::Answer;
use crate::policies::body_limit::Gauge;
use crate::policies::idempotency::stage as idempotency;
use crate::policies::rate_limit::stage::{self as limits, Turn};
use crate::policies::rate_limit::{Known, Limits, Reading};
use crate::policies::retirement::Notice;
use crate::policies::timeout;
use crate::problem::{Problem, registry};
use crate::respond::add_outer_prefix;

/// Answers one request.
pub(crate) async fn line(mounted: Arc<Mounted>, id: RequestId, run: Run, request: Request) -> Response {
    let prefix = outer_prefix(&mounted, &request).map(Cow::into_owned);
    let shapes = mounted.limits.as_ref().is_some_and(Limits::shape);
    let mut exchange = Exchange {
        due: shapes.then(|| Instant::now() + mounted.timeout),
        id,
        peer: peer(&request),
        prefix,
        keyed: false,
        context: None,
        gauge: Gauge::default(),
        unread: None,
        readings: Readings::None,
        notice: None,
        mounted,
    };
    let (deadline, gauge) = (exchange.mounted.timeout, exchange.gauge.clone());
    let answer = {
        let running = timeout::within(deadline, handler::survived(exchange.answer(run, request)));
        let mut running = pin!(Some(running));
        let answered = OptionFuture::from(running.as_mut().as_pin_mut()).await.flatten();
        answered.map_or_else(|| give_up(&gauge, || running.set(None)), |answer| gauge.explain(answer))
    };
    if let Some(unread) = exchange.unread.take() {
        unread.drain().await;
    }
    let idempotent = exchange.keyed || exchange.mounted.spec.method.is_idempotent();
    let response =
        decorate::close(&exchange.mounted, &exchange.id, idempotent, exchange.readings.get(), answer);
    exchange.tell_of_sunset(response)
}

/// The answer of a run that has none in time. What it holds is dropped here, where its panic is the request's.
fn give_up(gauge: &Gauge, drop: impl FnOnce()) -> Answer {
    // Looked at while the run is still there: what it drops is waited for no more.
    let late = gauge.exceeded();
    handler::survive(handler::HANDLER, drop).map_or_else(Answer::failed, |()| late)
}

/// One request on its way.
struct Exchange {
    mounted: Arc<Mounted>,
    id: RequestId,
    peer: Option<IpAddr>,
    /// The prefix of an outer router, which a `Location` may lack.
    prefix: Option<String>,
    /// When the response is due, where a limit lets requests wait for their turn.
    due: Option<Instant>,
    /// Whether the request is under an idempotency key.
    keyed: bool,
    /// There once the caller is known.
    context: Option<Context>,
    gauge: Gauge,
    /// A body that nobody reads, drained after the answer is known.
    unread: Option<Unread>,
    readings: Readings,
    /// There where the endpoint is given up.
    notice: Option<Notice>,
}

/// What the limits said: noted here, or by the run under a key. Nothing, where they were
/// asked and this instance decided alone.
enum Readings {
    None,
    Here(Vec<Reading>),
    There(Arc<OnceLock<Vec<Reading>>>),
}

impl Exchange {
    async fn answer(&mut self, run: Run, request: Request) -> Answer {
        let mut intake = Intake::new(request);
        match self.admit(&mut intake).await {
            Err(problem) => self.refuse(intake, problem).await,
            Ok((context, None)) => {
                if !self.mounted.reads_body && intake.has_body() {
                    self.unread = Some(intake.take_unread());
                }
                let request = intake.into_request(context, self.mounted.body_limit, &self.gauge);
                run_handler(run, request, self.prefix.as_deref()).await
            }
            Ok((context, Some(key))) => {
                let tracker = context.shared().tracker.clone();
                Uncancelled::new(&tracker, self.keyed(run, intake, context, &key)).await
            }
        }
    }

    /// Everything before the handler, or before the run under a key.
    async fn admit(&mut self, intake: &mut Intake) -> Result<(Context, Option<String>), Problem> {
        self.check_sunset(&intake.head)?;
        let caller = authenticate::caller(&self.mounted, &intake.head, self.peer).await?;
        let address = self.mounted.address(self.peer, &intake.head.headers, caller.as_ref());
        let known = self.look(&mut intake.head, caller.as_ref())?;
        let (mounted, id) = (Arc::clone(&self.mounted), self.id.clone());
        let context = Context::new(mounted, id, address, caller, known, self.due);
        self.context = Some(context.clone());
        let key = idempotency::key(&context, &intake.head.headers)?;
        self.keyed = key.is_some();
        let readings = &mut self.readings;
        limits::check(&context, |all| *readings = Readings::Here(all))?;
        let limit = self.mounted.body_limit;
        if !self.mounted.reads_body && key.is_none() {
            return self.limits(&context).await.map(|()| (context, None));
        }
        intake.check_length(limit)?;
        let small = intake.is_small();
        if small {
            intake.read(limit, &self.gauge).await?;
        }
        if !small || key.is_none() {
            self.limits(&context).await?;
        }
        if key.is_some() {
            intake.read(limit, &self.gauge).await?;
        }
        Ok((context, key))
    }

    /// Refuses what is gone, for everybody and before anybody is asked.
    fn check_sunset(&mut self, head: &Parts) -> Result<(), Problem> {
        let Some(retirement) = &self.mounted.retirement else { return Ok(()) };
        self.notice.insert(retirement.meet(head)).check()
    }

    /// The response of an endpoint that is given up. Who called is known by now.
    fn tell_of_sunset(&self, mut response: Response) -> Response {
        if let Some(notice) = &self.notice {
            let caller = self.context.as_ref().and_then(Context::caller);
            decorate::give_notice(&self.mounted, notice, caller, &mut response);
        }
        response
    }

    /// What the limits look up in a request. The functions that say it are the endpoint's own, and may panic.
    fn look(&self, head: &mut Parts, caller: Option<&Caller>) -> Result<Known, Problem> {
        let Some(limits) = &self.mounted.limits else { return Ok(Known::default()) };
        handler::survive("what a limit asks of a request", || limits.look(head, caller))
    }

    /// Says what the limits have left, where they were not asked.
    async fn refuse(&mut self, mut intake: Intake, problem: Problem) -> Answer {
        if let (Readings::None, Some(context)) = (&self.readings, &self.context) {
            self.readings = limits::peek(context).await.map_or(Readings::None, Readings::Here);
        }
        // What has not come so far is not waited for again.
        let stalled = problem.code() == registry::REQUEST_TIMEOUT.code;
        self.unread = (!stalled).then(|| intake.take_unread());
        Answer::refused(problem)
    }

    async fn limits(&mut self, context: &Context) -> Result<(), Problem> {
        let readings = &mut self.readings;
        limits::acquire(context, |all| *readings = Readings::Here(all)).await
    }

    /// The rest of the line under a key, which nothing that happens here can cancel.
    fn keyed(
        &mut self,
        run: Run,
        intake: Intake,
        context: Context,
        key: &str,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let ticket = idempotency::Ticket::new(&context, key, &intake.head, &intake.bytes());
        let late = self.late_readings();
        let prefix = self.prefix.take();
        let request = intake.into_request(context.clone(), self.mounted.body_limit, &self.gauge);
        async move {
            let held = match begin(&context, ticket, late).await {
                Ok(held) => held,
                Err(answer) => return answer,
            };
            let mut answer = run_handler(run, request, prefix.as_deref()).await;
            let settlement = decorate::tell(&context, &mut answer);
            held.settle(answer, settlement).await
        }
    }

    /// Where the run notes what the limits said, unless they have spoken already.
    fn late_readings(&mut self) -> Option<Arc<OnceLock<Vec<Reading>>>> {
        if self.mounted.limits.is_none() || matches!(self.readings, Readings::Here(_)) {
            return None;
        }
        let late = Arc::new(OnceLock::new());
        self.readings = Readings::There(Arc::clone(&late));
        Some(late)
    }
}

/// Runs the extractors and the handler, and completes the `Location`: before the answer is stored
/// under an idempotency key, so that a replay is the stored answer as it is.
async fn run_handler(run: Run, request: Request, prefix: Option<&str>) -> Answer {
    let mut answer = handler::survived(run(request)).await;
    add_outer_prefix(&mut answer.response, prefix);
    answer
}

/// Asks the limits, unless they have spoken already, and takes the record: in one trip where the store
/// can.
async fn begin(
    context: &Context,
    ticket: idempotency::Ticket,
    late: Option<Arc<OnceLock<Vec<Reading>>>>,
) -> Result<idempotency::Held, Answer> {
    let candidate = idempotency::Candidate::new(context, ticket);
    let asked = match late {
        Some(late) => limits::acquire_with(context, candidate.request(), |all| drop(late.set(all))).await,
        None => Ok((None, Turn::default())),
    };
    let (found, turn) = asked.map_err(Answer::refused)?;
    let met = match found {
        Some(found) => candidate.met(found),
        None => candidate.begin().await,
    };
    // The run has its place, and its record: what comes under its key meanwhile meets both.
    turn.come().await;
    met
}

impl Readings {
    fn get(&self) -> Option<&[Reading]> {
        match self {
            Self::None => None,
            Self::Here(readings) => Some(readings),
            Self::There(readings) => readings.get().map(Vec::as_slice),
        }
    }
}
