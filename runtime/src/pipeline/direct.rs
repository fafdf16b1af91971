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
use crate::policies::timeout::{self, Within, within};

pub(crate) struct Direct {
    mounted: Arc<Mounted>,
    id: RequestId,
    running: Within<AnswerFuture>,
}

impl Direct {
    pub(crate) fn new(mounted: Arc<Mounted>, run: &Run, request: Request) -> Self {
        let id = RequestId::of(&request);
        let running = within(mounted.timeout, begin(&mounted, run, request));
        Self { mounted, id, running }
    }
}

/// Begins the run, unless the body is announced to be too large.
fn begin(mounted: &Mounted, run: &Run, request: Request) -> AnswerFuture {
    if !mounted.reads_body || request.body().is_end_stream() {
        return run(request);
    }
    let intake = Intake::new(request);
    match intake.check_length(mounted.body_limit) {
        Ok(()) => run(intake.into_limited(mounted.body_limit)),
        Err(problem) => Box::pin(async {
            intake.drain().await;
            Answer::refused(problem)
        }),
    }
}

impl Future for Direct {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Response> {
        let this = &mut *self;
        let polled = handler::survive(|| Pin::new(&mut this.running).poll(context).map(Ok));
        let answer = match ready!(polled.unwrap_or_else(|panic| Poll::Ready(Err(panic)))) {
            Ok(answer) => answer.unwrap_or_else(timeout::exceeded),
            Err(panic) => Answer::failed(panic),
        };
        Poll::Ready(decorate::close(&this.mounted, &this.id, None, answer))
    }
}
