//! One request through its endpoint.
//!
//! [`begin`] goes as far as it can without waiting, which for most requests is up to the handler: then
//! the handler's future is the only allocation that the pipeline makes. What has to wait before the
//! handler goes on in [`wait`], on the heap, from the very stage that waits.

use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use futures_util::future::{BoxFuture, OptionFuture};

use super::admission::KeyedAdmission;
use super::detach::DetachOnDrop;
use super::finalize::finalize;
use super::mount::MountedEndpoint;
use super::nested::outer_prefix;
use super::settle::settle;
use crate::policies::rate_limit::QueueDelay;
use crate::problem::{Problem, registry};
use crate::request::{
    AuthenticatedCaller, BodyReadState, EndpointResponse, HANDLER, IncomingRequest, RequestId,
    RequestInfo, RequestState, ResponseFuture, ResponseWriters, StageResult, UnreadBody, Within,
    catch_panic, catch_panics, deadline_exceeded, due_in, within_until,
};
use crate::respond::add_outer_prefix;

/// One request on its way.
pub(super) enum Handling {
    /// In its handler.
    Running(Running),
    /// Somewhere before, or draining a body that nobody reads.
    Waiting(BoxFuture<'static, Response>),
    /// Cancelled.
    Dropped,
}

impl Future for Handling {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match &mut *self {
            Self::Running(running) => running.poll(context),
            Self::Waiting(waiting) => waiting.as_mut().poll(context),
            Self::Dropped => Poll::Pending,
        }
    }
}

/// How far a request has come.
enum Progress {
    /// Its handler may begin.
    Admitted,
    /// The stage with this index has to be waited for; after the last one it is the admission.
    At(usize),
    /// Admitted, and its turn is still to come.
    Queued(QueueDelay),
    Refused(Problem),
}

/// Begins to answer a request.
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
    let progress = catch_panic(HANDLER, || enter(&endpoint, &mut state, &mut request));
    let mut progress = progress.unwrap_or_else(Progress::Refused);
    if matches!(progress, Progress::Admitted) && (endpoint.mount.reads_body || !request.has_body())
    {
        // The state is cloned here, by the user's own code.
        match catch_panic(HANDLER, || {
            run(&endpoint, &state.info, &state.body, &mut request)
        }) {
            Ok((prefix, run)) => {
                return Handling::Running(Running::new(endpoint, state, prefix, run));
            }
            Err(problem) => progress = Progress::Refused(problem),
        }
    }
    Handling::Waiting(Box::pin(wait(endpoint, state, request, progress)))
}

/// Goes through the stages up to the first one that waits. That one is entered again by [`wait`].
#[inline]
fn enter(
    endpoint: &MountedEndpoint,
    state: &mut RequestState,
    request: &mut IncomingRequest,
) -> Progress {
    for (index, stage) in endpoint.stages.iter().enumerate() {
        match stage.enter(state, request) {
            StageResult::Ready(Ok(())) => {}
            StageResult::Ready(Err(problem)) => return Progress::Refused(problem),
            StageResult::Waiting(_) => return Progress::At(index),
        }
    }
    if endpoint.mount.reads_body
        && let Err(problem) = request.check_length(endpoint.mount.body_limit)
    {
        return Progress::Refused(problem);
    }
    match &endpoint.admission {
        None => Progress::Admitted,
        Some(admission) => match admission.try_enter(state) {
            Some(Ok(turn)) if turn.is_zero() => Progress::Admitted,
            Some(Ok(turn)) => Progress::Queued(turn),
            Some(Err(problem)) => Progress::Refused(problem),
            None => Progress::At(endpoint.stages.len()),
        },
    }
}

/// A request whose handler runs.
pub(super) struct Running {
    endpoint: Arc<MountedEndpoint>,
    state: RequestState,
    /// What an outer router has taken from the path.
    prefix: Option<String>,
    /// `None` once the run is given up.
    run: Option<Within<ResponseFuture>>,
}

impl Running {
    #[inline]
    fn new(
        endpoint: Arc<MountedEndpoint>,
        state: RequestState,
        prefix: Option<String>,
        run: ResponseFuture,
    ) -> Self {
        let run = Some(within_until(state.info.due, run));
        Self {
            endpoint,
            state,
            prefix,
            run,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response> {
        let Some(run) = &mut self.run else {
            return Poll::Pending;
        };
        let polled = catch_panic(HANDLER, || Pin::new(run).poll(context));
        let mut answer = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(answer))) => answer,
            Ok(Poll::Ready(None)) => cancel(&self.state.body, || self.run = None),
            Err(problem) => EndpointResponse::failed(problem),
        };
        self.state.body.explain_failure(&mut answer);
        add_outer_prefix(&mut answer.response, self.prefix.as_deref());
        finalize(&self.endpoint, &self.state, &mut answer);
        Poll::Ready(answer.response)
    }
}

/// Answers a request that has to wait before its handler, or that has none.
async fn wait(
    endpoint: Arc<MountedEndpoint>,
    mut state: RequestState,
    request: IncomingRequest,
    progress: Progress,
) -> Response {
    let (due, body) = (state.info.due, state.body.clone());
    let mut unread = None;
    let mut answer = {
        let running = catch_panics(answer(
            &endpoint,
            &mut state,
            &mut unread,
            request,
            progress,
        ));
        let mut running = pin!(Some(within_until(due, running)));
        let answered = OptionFuture::from(running.as_mut().as_pin_mut())
            .await
            .flatten();
        let mut answer = answered.unwrap_or_else(|| cancel(&body, || running.set(None)));
        body.explain_failure(&mut answer);
        answer
    };
    if let Some(unread) = unread {
        unread.drain().await;
    }
    finalize(&endpoint, &state, &mut answer);
    answer.response
}

/// The answer of a run that has none in time. What the run holds is dropped here, where a panic of
/// its destructors is caught.
fn cancel(body: &BodyReadState, drop_run: impl FnOnce()) -> EndpointResponse {
    // Looked at before the run is dropped, because a body that is dropped is waited for no more.
    let late = body.timed_out().unwrap_or_else(deadline_exceeded);
    catch_panic(HANDLER, drop_run).map_or_else(EndpointResponse::failed, |()| late)
}

async fn answer(
    endpoint: &Arc<MountedEndpoint>,
    state: &mut RequestState,
    unread: &mut Option<UnreadBody>,
    mut request: IncomingRequest,
    progress: Progress,
) -> EndpointResponse {
    match admit(endpoint, state, &mut request, progress).await {
        Err(problem) => {
            // What a client has failed to send is not waited for again.
            let stalled = problem.code() == registry::REQUEST_TIMEOUT.code;
            *unread = (!stalled).then(|| request.take_unread());
            EndpointResponse::refused(problem)
        }
        Ok(None) => {
            if !endpoint.mount.reads_body && request.has_body() {
                *unread = Some(request.take_unread());
            }
            let (prefix, run) = run(endpoint, &state.info, &state.body, &mut request);
            complete_location(run.await, prefix.as_deref())
        }
        Ok(Some(keyed)) => {
            let (info, body) = (state.info.clone(), state.body.clone());
            let running = run_keyed(Arc::clone(endpoint), info, body, keyed, request);
            DetachOnDrop::new(&endpoint.mount.shared.tracker, running).await
        }
    }
}

/// The rest of the way to the handler. A request with a key gets what its run begins with.
async fn admit(
    endpoint: &MountedEndpoint,
    state: &mut RequestState,
    request: &mut IncomingRequest,
    progress: Progress,
) -> Result<Option<KeyedAdmission>, Problem> {
    let first = match progress {
        Progress::Admitted => return Ok(None),
        Progress::Refused(problem) => return Err(problem),
        Progress::Queued(turn) => {
            turn.wait().await;
            return Ok(None);
        }
        Progress::At(index) => index,
    };
    for stage in &endpoint.stages[first..] {
        match stage.enter(state, request) {
            StageResult::Ready(entered) => entered?,
            StageResult::Waiting(entering) => entering.await?,
        }
    }
    if endpoint.mount.reads_body {
        request.check_length(endpoint.mount.body_limit)?;
    }
    match &endpoint.admission {
        None => Ok(None),
        Some(admission) => admission.enter(state, request).await,
    }
}

/// A run under a key, from admission to settlement: one future that owns all it needs, because it
/// goes on without its client.
async fn run_keyed(
    endpoint: Arc<MountedEndpoint>,
    info: RequestInfo,
    body: BodyReadState,
    admission: KeyedAdmission,
    mut request: IncomingRequest,
) -> EndpointResponse {
    let active = match admission.begin(&info).await {
        Ok(active) => active,
        Err(answer) => return answer,
    };
    request.insert(active.record());
    let (prefix, run) = match catch_panic(HANDLER, || run(&endpoint, &info, &body, &mut request)) {
        Ok(running) => running,
        Err(problem) => {
            return settle(&endpoint, &info, active, EndpointResponse::failed(problem)).await;
        }
    };
    let answer = complete_location(catch_panics(run).await, prefix.as_deref());
    settle(&endpoint, &info, active, answer).await
}

/// Starts extractors and handler, and returns the outer prefix for what they answer.
#[inline]
fn run(
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
    (
        prefix,
        (endpoint.handler)(request.for_extractors(endpoint.mount.body_limit, body)),
    )
}

/// Adds the outer prefix to the `Location` of an answer, before the answer is stored under a key: a
/// replay is verbatim.
fn complete_location(mut answer: EndpointResponse, prefix: Option<&str>) -> EndpointResponse {
    add_outer_prefix(&mut answer.response, prefix);
    answer
}
