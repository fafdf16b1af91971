//! The line of a request that nothing has to be waited for before the extractors: observe → authenticate →
//! limits → extractors → handler → decorate, under the deadline, without a future of its own on the heap.
//! Who is refused, or has to wait for a store, goes the whole line.

use core::future::{self, Future};
use core::mem;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll, ready};
use core::time::Duration;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::response::Response;

use super::context::{Context, Mounted, Run};
use super::intake::Intake;
use super::nested::outer_prefix;
use super::observe::RequestId;
use super::{authenticate, decorate, handler};
use crate::auth::Caller;
use crate::client::peer;
use crate::endpoint::{Answer, AnswerFuture};
use crate::policies::body_limit::Gauge;
use crate::policies::rate_limit::{Known, Reading, stage as limits};
use crate::policies::timeout::{self, Within, within};
use crate::respond::add_outer_prefix;

/// What is known of a request that may go on.
#[derive(Default)]
pub(crate) struct Admitted {
    caller: Option<Caller>,
    /// What the limits have left.
    readings: Option<Vec<Reading>>,
}

/// Decides all that comes before the extractors, where it is for the request and can be decided at once. Else
/// nothing has changed: the line asks again.
pub(crate) fn admit(mounted: &Mounted, request: &Request) -> Option<Admitted> {
    if !mounted.may_be_direct(request) || outer_prefix(mounted, request).is_some() {
        return None;
    }
    let asks = authenticate::is_asked(mounted, request.headers());
    if !asks && mounted.limits.is_none() {
        return Some(Admitted::default());
    }
    // A panic is the line's to tell of.
    handler::survive(handler::HANDLER, || ask(mounted, request, asks)).ok().flatten()
}

fn ask(mounted: &Mounted, request: &Request, asks: bool) -> Option<Admitted> {
    let caller = if asks { Some(authenticate::caller_at_once(mounted, request)?) } else { None };
    let Some(limits) = &mounted.limits else { return Some(Admitted { caller, readings: None }) };
    let address = mounted.address(peer(request), request.headers(), caller.as_ref());
    // The last to be asked: what they gave is used.
    let readings = limits::acquire_at_once(mounted, limits, caller.as_ref(), address)?;
    Some(Admitted { caller, readings: Some(readings) })
}

pub(crate) struct Direct {
    mounted: Arc<Mounted>,
    id: RequestId,
    running: Within<AnswerFuture>,
    /// There where a body is read.
    gauge: Option<Gauge>,
    readings: Option<Vec<Reading>>,
}

impl Direct {
    pub(crate) fn new(
        mounted: Arc<Mounted>,
        id: RequestId,
        run: &Run,
        mut request: Request,
        admitted: Admitted,
    ) -> Self {
        let Admitted { caller, readings } = admitted;
        if caller.is_some() || mounted.needs_context {
            let context =
                Context::new(Arc::clone(&mounted), id.clone(), None, caller, Known::default(), None);
            request.extensions_mut().insert(context);
        }
        let gauge = (mounted.reads_body && !request.body().is_end_stream()).then(Gauge::default);
        let running = match &gauge {
            Some(gauge) => run(Intake::new(request).into_limited(mounted.body_limit, gauge)),
            None => run(request),
        };
        let running = within(mounted.timeout, running);
        Self { mounted, id, running, gauge, readings }
    }

    fn answer(&mut self, answered: Option<Answer>) -> Answer {
        match (answered, &self.gauge) {
            (Some(answer), Some(gauge)) => gauge.explain(answer),
            (Some(answer), None) => answer,
            (None, _) => self.give_up(),
        }
    }

    /// What a handler without an answer holds is dropped here, where its panic is the request's.
    #[cold]
    fn give_up(&mut self) -> Answer {
        let late = self.gauge.as_ref().map_or_else(timeout::exceeded, Gauge::exceeded);
        let nothing: AnswerFuture = Box::pin(future::pending());
        let running = mem::replace(&mut self.running, within(Duration::ZERO, nothing));
        handler::survive(handler::HANDLER, || drop(running)).map_or_else(Answer::failed, |()| late)
    }
}

impl Future for Direct {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Response> {
        let this = &mut *self;
        let polled = handler::survive(handler::HANDLER, || Pin::new(&mut this.running).poll(context).map(Ok));
        let answer = match ready!(polled.unwrap_or_else(|panic| Poll::Ready(Err(panic)))) {
            Ok(answered) => {
                let mut answer = this.answer(answered);
                // What has a prefix goes the whole line.
                add_outer_prefix(&mut answer.response, None);
                answer
            }
            Err(panic) => Answer::failed(panic),
        };
        let idempotent = this.mounted.spec.method.is_idempotent();
        Poll::Ready(decorate::close(&this.mounted, &this.id, idempotent, this.readings.as_deref(), answer))
    }
}
