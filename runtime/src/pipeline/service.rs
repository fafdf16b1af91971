//! The tower service of an endpoint.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use tower_service::Service;

use super::handle::{Handling, begin};
use super::mount::MountedEndpoint;
use super::trace::Trace;
use crate::request::RequestId;

/// An endpoint under one route as a service, which axum's router calls.
#[derive(Clone)]
pub(crate) struct EndpointService(Arc<MountedEndpoint>);

impl EndpointService {
    pub(crate) fn new(endpoint: MountedEndpoint) -> Self {
        Self(Arc::new(endpoint))
    }
}

impl fmt::Debug for EndpointService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointService").field(&self.0).finish()
    }
}

impl Service<Request> for EndpointService {
    type Response = Response;
    type Error = Infallible;
    type Future = EndpointFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> EndpointFuture {
        let endpoint = Arc::clone(&self.0);
        let id = RequestId::of(&request, &endpoint.mount.shared.proxies);
        let trace = Trace::of(&endpoint, &id);
        let entered = trace.enter();
        let handling = begin(endpoint, id, request);
        drop(entered);
        EndpointFuture { trace, handling }
    }
}

/// The future of one request, inside of its span.
pub(crate) struct EndpointFuture {
    trace: Trace,
    handling: Handling,
}

impl Future for EndpointFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { trace, handling } = &mut *self;
        let _entered = trace.enter();
        Pin::new(handling).poll(context).map(Ok)
    }
}

/// Log lines written while a cancelled handler is dropped belong to the request's span.
impl Drop for EndpointFuture {
    fn drop(&mut self) {
        let Self { trace, handling } = self;
        if trace.is_enabled() {
            // Drops the handler now, while the span is entered, and not after this function.
            let _entered = trace.enter();
            *handling = Handling::Dropped;
        }
    }
}
