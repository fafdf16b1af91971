//! Counts requests in flight. A request is in flight from its head until hyper has taken its whole
//! response.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// The number of requests in flight on one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlightCounter(Arc<AtomicUsize>);

/// One request in flight, counted until it is dropped.
pub(super) struct InFlightRequest(InFlightCounter);

impl InFlightCounter {
    /// Counts a request until the returned value is dropped.
    pub(super) fn start(&self) -> InFlightRequest {
        // Any ordering is correct, because no other memory depends on the counter.
        self.0.fetch_add(1, Ordering::SeqCst);
        InFlightRequest(self.clone())
    }

    /// Returns whether no request is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The body of a response. Its request is in flight until hyper drops the body, at its end or when
/// the connection fails.
pub(super) struct InFlightBody {
    pub(super) body: Body,
    pub(super) _in_flight: InFlightRequest,
}

impl HttpBody for InFlightBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
