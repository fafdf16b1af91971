//! Handles one request: from its stages through the handler to the response.
//!
//! [`begin`] goes as far as possible without waiting. Most requests reach their handler there, so
//! that the handler's future is the only allocation of the pipeline. A request that has to wait
//! before its handler runs continues in [`continue_handling`]. That future is on the heap, and
//! begins with the stage that waits.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::{BoxFuture, OptionFuture};

use super::admission::KeyedAdmission;
use super::detach::DetachOnDrop;
use super::finalize::finalize;
use super::mount::MountedEndpoint;
use super::nested::outer_prefix;
use super::settle::{settle, settle_with_transaction};
use super::transaction;
use crate::policies::rate_limit::QueueDelay;
use crate::problem::{Problem, registry};
use crate::request::{
    AuthenticatedCaller, BodyReadState, EndpointResponse, HANDLER, IncomingRequest, RequestId,
    RequestInfo, RequestState, ResponseFuture, ResponseWriters, StageResult, UnreadBody, Within,
    catch_panic, catch_panics, deadline_exceeded, due_in, within_until,
};
use crate::respond::add_outer_prefix;

/// The state of one request.
pub(super) enum Handling {
    /// The handler runs.
    Running(Running),
    /// The request waits before its handler, has a key, or has a body that must be drained.
    Waiting(BoxFuture<'static, Response>),
    /// The request was cancelled.
    Dropped,
}

impl Future for Handling {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match &mut *self {
            Self::Running(running) => {
                let response = ready!(running.poll(context));
                let Some(unread) = running.state.body.take_unread() else {
                    return Poll::Ready(response);
                };
                // An extractor or the handler has left a part of the body.
                let mut draining: BoxFuture<'static, Response> = Box::pin(async move {
                    unread.drain().await;
                    response
                });
                let polled = draining.as_mut().poll(context);
                *self = Self::Waiting(draining);
                polled
            }
            Self::Waiting(waiting) => waiting.as_mut().poll(context),
            Self::Dropped => Poll::Pending,
        }
    }
}

/// The progress of a request before its handler.
enum Progress {
    /// The handler may begin.
    Admitted,
    /// The stage with this index has to wait. The index after the last stage is the admission.
    WaitingAt(usize),
    /// The request is admitted after a queue delay.
    Queued(QueueDelay),
    /// A stage, a limit or the body limit refused the request.
    Refused(Problem),
}

/// Begins to handle a request, and goes as far as possible without waiting.
#[inline]
pub(super) fn begin(endpoint: Arc<MountedEndpoint>, id: RequestId, request: Request) -> Handling {
    let info = RequestInfo {
        id,
        due: due_in(endpoint.mount.timeout),
        caller: None,
        key: None,
    };
    let mut request = IncomingRequest::new(request);
    let body = BodyReadState::new(request.has_body());
    let mut state = RequestState {
        info,
        writers: ResponseWriters::default(),
        body,
    };
    let progress = catch_panic(HANDLER, || {
        enter_stages(&endpoint, &mut state, &mut request)
    });
    let mut progress = progress.unwrap_or_else(Progress::Refused);
    if matches!(progress, Progress::Admitted)
        && (endpoint.mount.reads_body() || !request.has_body())
    {
        // `call_handler` calls user code, because it clones the state.
        match catch_panic(HANDLER, || {
            call_handler(&endpoint, &state.info, &state.body, &mut request)
        }) {
            Ok((prefix, handler)) => {
                return Handling::Running(Running::new(endpoint, state, prefix, handler));
            }
            Err(problem) => progress = Progress::Refused(problem),
        }
    }
    Handling::Waiting(Box::pin(continue_handling(
        endpoint, state, request, progress,
    )))
}

/// Enters the stages up to the first one that waits. [`continue_handling`] enters the waiting stage
/// again.
#[inline]
fn enter_stages(
    endpoint: &MountedEndpoint,
    state: &mut RequestState,
    request: &mut IncomingRequest,
) -> Progress {
    for (index, stage) in endpoint.stages.iter().enumerate() {
        match stage.enter(state, request) {
            StageResult::Ready(Ok(())) => {}
            StageResult::Ready(Err(problem)) => return Progress::Refused(problem),
            StageResult::Waiting(_) => return Progress::WaitingAt(index),
        }
    }
    if endpoint.mount.reads_body()
        && let Err(problem) = request.check_body(&endpoint.mount.body)
    {
        return Progress::Refused(problem);
    }
    match &endpoint.admission {
        None => Progress::Admitted,
        Some(admission) => match admission.try_enter(state) {
            Some(Ok(delay)) if delay.is_zero() => Progress::Admitted,
            Some(Ok(delay)) => Progress::Queued(delay),
            Some(Err(problem)) => Progress::Refused(problem),
            None => Progress::WaitingAt(endpoint.stages.len()),
        },
    }
}

/// A request whose handler runs.
pub(super) struct Running {
    endpoint: Arc<MountedEndpoint>,
    state: RequestState,
    /// The prefix that an outer router removed from the path.
    prefix: Option<String>,
    /// `None` after the deadline.
    handler: Option<Within<ResponseFuture>>,
}

impl Running {
    #[inline]
    fn new(
        endpoint: Arc<MountedEndpoint>,
        state: RequestState,
        prefix: Option<String>,
        handler: ResponseFuture,
    ) -> Self {
        let handler = Some(within_until(state.info.due, handler));
        Self {
            endpoint,
            state,
            prefix,
            handler,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response> {
        let Some(handler) = &mut self.handler else {
            return Poll::Pending;
        };
        let polled = catch_panic(HANDLER, || Pin::new(handler).poll(context));
        let mut outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(outcome))) => outcome,
            Ok(Poll::Ready(None)) => cancel(&self.state.body, || self.handler = None),
            Err(problem) => EndpointResponse::failed(problem),
        };
        self.state.body.explain_failure(&mut outcome);
        add_outer_prefix(&mut outcome.response, self.prefix.as_deref());
        finalize(&self.endpoint, &self.state, &mut outcome);
        Poll::Ready(outcome.response)
    }
}

/// Continues a request that has to wait before its handler, that was refused, or that has a key.
async fn continue_handling(
    endpoint: Arc<MountedEndpoint>,
    mut state: RequestState,
    request: IncomingRequest,
    progress: Progress,
) -> Response {
    let (due, body) = (state.info.due, state.body.clone());
    let mut unread = None;
    let mut outcome = {
        let running = catch_panics(admit_and_run(
            &endpoint,
            &mut state,
            &mut unread,
            request,
            progress,
        ));
        // The future is in an `Option`, so that `cancel` can drop it here, inside of `catch_panic`.
        let mut running = pin!(Some(within_until(due, running)));
        let in_time = OptionFuture::from(running.as_mut().as_pin_mut())
            .await
            .flatten();
        let mut outcome = in_time.unwrap_or_else(|| cancel(&body, || running.set(None)));
        body.explain_failure(&mut outcome);
        outcome
    };
    // The pipeline did not read the body, or the handler has left a part of it.
    if let Some(unread) = unread.or_else(|| state.body.take_unread()) {
        unread.drain().await;
    }
    finalize(&endpoint, &state, &mut outcome);
    outcome.response
}

/// Drops a handler that missed its deadline, and returns the response: a 408 if the client's body
/// is missing, else a 504. Panics of destructors are caught.
fn cancel(body: &BodyReadState, drop_handler: impl FnOnce()) -> EndpointResponse {
    // The state is read before the drop, because the drop of the body ends the state `WAITING`.
    let response = body.timed_out().unwrap_or_else(deadline_exceeded);
    let outcome =
        catch_panic(HANDLER, drop_handler).map_or_else(EndpointResponse::failed, |()| response);
    // The deadline has passed, so the response does not wait until the rest of the body is drained.
    drop(body.take_unread());
    outcome
}

/// Enters the remaining stages and runs the handler. Leaves the body in `unread` if it must be
/// drained.
async fn admit_and_run(
    endpoint: &Arc<MountedEndpoint>,
    state: &mut RequestState,
    unread: &mut Option<UnreadBody>,
    mut request: IncomingRequest,
    progress: Progress,
) -> EndpointResponse {
    match admit(endpoint, state, &mut request, progress).await {
        Err(problem) => {
            // A body that has already timed out is not drained: draining would wait for it again.
            let stalled = problem.code() == registry::REQUEST_TIMEOUT.code;
            *unread = (!stalled).then(|| request.take_unread());
            EndpointResponse::refused(problem)
        }
        Ok(None) => {
            if !endpoint.mount.reads_body() && request.has_body() {
                *unread = Some(request.take_unread());
            }
            let (prefix, handler) = call_handler(endpoint, &state.info, &state.body, &mut request);
            complete_location(handler.await, prefix.as_deref())
        }
        Ok(Some(keyed)) => {
            let (info, body) = (state.info.clone(), state.body.clone());
            let running = run_with_key(Arc::clone(endpoint), info, body, keyed, request);
            // A client that hangs up, or a deadline that passes, must not cancel the run.
            DetachOnDrop::new(&endpoint.mount.shared.tracker, running).await
        }
    }
}

/// Enters the remaining stages and the admission. Returns the admission of a request with a key.
/// The run of the request has not begun yet.
async fn admit(
    endpoint: &MountedEndpoint,
    state: &mut RequestState,
    request: &mut IncomingRequest,
    progress: Progress,
) -> Result<Option<KeyedAdmission>, Problem> {
    let first = match progress {
        Progress::Admitted => return Ok(None),
        Progress::Refused(problem) => return Err(problem),
        Progress::Queued(delay) => {
            delay.wait().await;
            return Ok(None);
        }
        Progress::WaitingAt(index) => index,
    };
    for stage in &endpoint.stages[first..] {
        match stage.enter(state, request) {
            StageResult::Ready(entered) => entered?,
            StageResult::Waiting(entering) => entering.await?,
        }
    }
    if endpoint.mount.reads_body() {
        request.check_body(&endpoint.mount.body)?;
    }
    match &endpoint.admission {
        None => Ok(None),
        Some(admission) => admission.enter(state, request).await,
    }
}

/// Runs a request with a key, from admission to settlement. The future owns all its data, because
/// it may continue after the request has ended.
async fn run_with_key(
    endpoint: Arc<MountedEndpoint>,
    info: RequestInfo,
    body: BodyReadState,
    admission: KeyedAdmission,
    mut request: IncomingRequest,
) -> EndpointResponse {
    let active = match admission.begin(&info).await {
        Ok(active) => active,
        Err(refusal_or_replay) => return refusal_or_replay,
    };
    request.insert(active.record());
    let transaction = transaction::prepare(&endpoint.mount, &mut request, Some(&active), info.due);
    let called = catch_panic(HANDLER, || {
        call_handler(&endpoint, &info, &body, &mut request)
    });
    let (prefix, handler) = match called {
        Ok(called) => called,
        // The record has begun, so it must be settled after a panic as well.
        Err(problem) => {
            return settle(&endpoint, &info, active, EndpointResponse::failed(problem)).await;
        }
    };
    let outcome = complete_location(catch_panics(handler).await, prefix.as_deref());
    match transaction {
        None => settle(&endpoint, &info, active, outcome).await,
        Some(slot) => settle_with_transaction(&endpoint, &info, active, &*slot, outcome).await,
    }
}

/// Returns the future of extractors and handler, and the outer prefix for the `Location` of the
/// response.
#[inline]
fn call_handler(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    body: &BodyReadState,
    request: &mut IncomingRequest,
) -> (Option<String>, ResponseFuture) {
    let prefix = outer_prefix(&endpoint.mount, request.head());
    if let Some(caller) = &info.caller {
        request.insert(AuthenticatedCaller(caller.clone()));
    }
    if endpoint.mount.takes_request_id {
        request.insert(info.id.clone());
    }
    // The run of a request with a key has prepared its transaction, and ends it.
    let transaction = match info.key {
        None => transaction::prepare(&endpoint.mount, request, None, info.due),
        Some(_) => None,
    };
    let handler = (endpoint.handler)(request.for_extractors(&endpoint.mount.body, body));
    let handler = match transaction {
        None => handler,
        Some(slot) => transaction::commit_after(handler, slot),
    };
    (prefix, handler)
}

/// Adds the outer prefix to the `Location` of a response. This happens before the response is
/// stored under a key, because a replay returns the stored `Location` unchanged.
fn complete_location(mut outcome: EndpointResponse, prefix: Option<&str>) -> EndpointResponse {
    add_outer_prefix(&mut outcome.response, prefix);
    outcome
}
