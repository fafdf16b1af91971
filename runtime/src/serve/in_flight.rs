//! The requests that are under way: from their head until their response is taken for sending.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Counts what is under way on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlightCounter(Arc<AtomicUsize>);

/// One request under way.
pub(super) struct InFlightRequest(InFlightCounter);

impl InFlightCounter {
    pub(super) fn start(&self) -> InFlightRequest {
        self.0.fetch_add(1, Ordering::SeqCst);
        InFlightRequest(self.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A response's body, under way until all of it is taken for sending, or given up.
pub(super) struct InFlightBody {
    pub(super) body: Body,
    pub(super) _flight: InFlightRequest,
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
