//! The requests that are under way: from their head to the last byte of their response.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;

/// Counts what is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicUsize,
    landed: Notify,
}

/// One request under way.
pub(super) struct Flight(Flights);

impl Flights {
    pub(super) fn start(&self) -> Flight {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        Flight(self.clone())
    }

    /// Returns when nothing is under way.
    pub(super) async fn landed(&self) {
        loop {
            let landed = self.0.landed.notified();
            if self.0.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            landed.await;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.landed.notify_waiters();
        }
    }
}

/// A response's body, under way until it is sent or given up.
pub(super) struct InFlight {
    pub(super) body: Body,
    pub(super) _flight: Flight,
}

impl HttpBody for InFlight {
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
