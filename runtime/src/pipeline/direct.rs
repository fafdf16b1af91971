//! The line for an endpoint without any policy that must wait: observe → deadline → extractors →
//! handler → decorate, without a future of its own on the heap.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll, ready};
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::response::Response;

use super::context::{Mounted, Run};
use super::intake::Intake;
use super::observe::RequestId;
use super::{decorate, handler};
use crate::endpoint::{Answer, AnswerFuture};
use crate::policies::body_limit::Gauge;
use crate::policies::timeout::{self, Within, within};

pub(crate) struct Direct {
    mounted: Arc<Mounted>,
    id: RequestId,
    running: Within<AnswerFuture>,
    /// There where a body is read.
    gauge: Option<Gauge>,
}

impl Direct {
    pub(crate) fn new(mounted: Arc<Mounted>, run: &Run, request: Request) -> Self {
        let id = RequestId::of(&request);
        let gauge = (mounted.reads_body && !request.body().is_end_stream()).then(Gauge::default);
        let request = match &gauge {
            Some(gauge) => Intake::new(request).into_limited(mounted.body_limit, gauge),
            None => request,
        };
        let running = within(mounted.timeout, run(request));
        Self { mounted, id, running, gauge }
    }

    fn answer(&self, answered: Option<Answer>) -> Answer {
        match (answered, &self.gauge) {
            (Some(answer), Some(gauge)) => gauge.explain(answer),
            (Some(answer), None) => answer,
            (None, Some(gauge)) => gauge.exceeded(),
            (None, None) => timeout::exceeded(),
        }
    }
}

impl Future for Direct {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Response> {
        let this = &mut *self;
        let polled = handler::survive(handler::HANDLER, || Pin::new(&mut this.running).poll(context).map(Ok));
        let answer = match ready!(polled.unwrap_or_else(|panic| Poll::Ready(Err(panic)))) {
            Ok(answered) => this.answer(answered),
            Err(panic) => Answer::failed(panic),
        };
        let idempotent = this.mounted.spec.method.is_idempotent();
        Poll::Ready(decorate::close(&this.mounted, &this.id, idempotent, None, answer))
    }
}
