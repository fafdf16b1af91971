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
pub(super) struct Flights(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    started: AtomicUsize,
    ended: AtomicUsize,
}

/// One request under way.
pub(super) struct Flight(Flights);

impl Flights {
    pub(super) fn start(&self) -> Flight {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        Flight(self.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.idle_after().is_some()
    }

    /// How many there were, if none is under way.
    pub(super) fn idle_after(&self) -> Option<usize> {
        // In this order: what ends in between is taken for being under way.
        let ended = self.0.ended.load(Ordering::SeqCst);
        (self.0.started.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A response's body, under way until all of it is taken for sending, or given up.
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
