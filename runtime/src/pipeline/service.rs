use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use tower_service::Service;

use super::context::{Mounted, Run};
use super::direct::{self, Direct};
use super::observe::{RequestId, Trace};
use super::order;

/// An endpoint under one route, as axum's router calls it.
#[derive(Clone)]
pub(crate) struct EndpointService {
    mounted: Arc<Mounted>,
    run: Run,
}

impl EndpointService {
    pub(crate) fn new(mounted: Arc<Mounted>, run: Run) -> Self {
        Self { mounted, run }
    }
}

impl fmt::Debug for EndpointService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointService").field("mounted", &self.mounted).finish_non_exhaustive()
    }
}

impl Service<Request> for EndpointService {
    type Response = Response;
    type Error = Infallible;
    type Future = EndpointFuture;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> EndpointFuture {
        let mounted = Arc::clone(&self.mounted);
        let id = RequestId::of(&request, &mounted.shared.proxies);
        let trace = Trace::of(&mounted, &id);
        let way = trace.within(|| match direct::admit(&mounted, &request) {
            Some(admitted) => Way::Direct(Direct::new(mounted, id, &self.run, request, admitted)),
            None => Way::Line(Box::pin(order::line(mounted, id, Arc::clone(&self.run), request))),
        });
        EndpointFuture { trace, way }
    }
}

/// One request on its way through an endpoint.
pub(crate) struct EndpointFuture {
    trace: Trace,
    way: Way,
}

enum Way {
    /// Nothing to wait for but the handler.
    Direct(Direct),
    /// The whole line.
    Line(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// Left half way: nobody asks any more.
    Left,
}

impl Future for EndpointFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Self { trace, way } = &mut *self;
        trace.within(|| match way {
            Way::Direct(direct) => Pin::new(direct).poll(context).map(Ok),
            Way::Line(line) => line.as_mut().poll(context).map(Ok),
            Way::Left => Poll::Pending,
        })
    }
}

/// What a handler whose client has gone says while it is dropped is the request's, too.
impl Drop for EndpointFuture {
    fn drop(&mut self) {
        let Self { trace, way } = self;
        if trace.is_heard() {
            trace.within(|| *way = Way::Left);
        }
    }
}
