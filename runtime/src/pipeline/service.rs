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
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mounted, run) = (Arc::clone(&self.mounted), Arc::clone(&self.run));
        Box::pin(async move { Ok(order::line(mounted, run, request).await) })
    }
}
