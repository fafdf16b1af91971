//! The bodies of requests and responses, as far as the connection must know about them.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection_state::{ConnectionState, InFlightRequest, unsent_piece};

/// The size of the pieces in which an HTTP/2 response is passed to hyper. Each piece that is sent
/// counts as progress of the client.
const PIECE: usize = 16 << 10;

/// The body of an HTTP/1 request. Marks the request as complete when its last byte has arrived.
#[derive(Debug)]
pub(super) struct Http1Body {
    body: Incoming,
    state: Arc<ConnectionState>,
}

impl Http1Body {
    pub(super) const fn new(body: Incoming, state: Arc<ConnectionState>) -> Self {
        Self { body, state }
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        self.state.drop_body();
    }
}

impl HttpBody for Http1Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.state.set_awaited(polled.is_pending());
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.state.end_body();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an HTTP/2 request. If it is dropped before its end, it is kept until the response is
/// sent. Otherwise h2 would cancel the stream, and the client would lose the response.
#[derive(Debug)]
pub(super) struct Http2Body {
    body: Option<Incoming>,
    unread: UnreadBody,
}

/// The place of a request body that was not read to its end.
pub(super) type UnreadBody = Arc<Mutex<Option<Incoming>>>;

impl Http2Body {
    pub(super) fn new(body: Incoming) -> (Self, UnreadBody) {
        let (body, unread) = (Some(body), UnreadBody::default());
        let place = Arc::clone(&unread);
        (Self { body, unread }, place)
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl HttpBody for Http2Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// The body of an HTTP/1 response. Its request is in flight until hyper drops the body, at its end
/// or when the connection fails.
#[derive(Debug)]
pub(super) struct Http1ResponseBody {
    pub(super) body: Body,
    pub(super) _in_flight: InFlightRequest,
}

impl HttpBody for Http1ResponseBody {
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

/// The body of an HTTP/2 response. Its data counts as unsent as soon as it is in memory.
#[derive(Debug)]
pub(super) struct Http2ResponseBody {
    /// Data of `rest` that hyper has not taken.
    ready: Bytes,
    rest: Body,
    in_flight: InFlightRequest,
    /// The request body, which is dropped after the response is sent.
    _unread: Option<UnreadBody>,
}

impl Http2ResponseBody {
    pub(super) fn new(rest: Body, in_flight: InFlightRequest, unread: Option<UnreadBody>) -> Self {
        let mut body = Self {
            ready: Bytes::new(),
            rest,
            in_flight,
            _unread: unread,
        };
        body.take_data_in_memory();
        body
    }

    /// Returns the number of bytes that are in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.ready.len()
    }

    /// Takes the data of a body of known length that is in memory, so that it is counted although
    /// hyper has not asked for it. A stream whose first part is not ready is counted part by part.
    fn take_data_in_memory(&mut self) {
        if self
            .rest
            .size_hint()
            .exact()
            .is_none_or(|length| length == 0)
        {
            return;
        }
        // hyper polls the body again, and then registers its own waker.
        match Pin::new(&mut self.rest).poll_frame(&mut Context::from_waker(Waker::noop())) {
            // A body of known length has no trailers.
            Poll::Ready(Some(Ok(frame))) => self.hold(frame.into_data().unwrap_or_default()),
            Poll::Ready(Some(Err(error))) => {
                self.rest = Body::from_stream(stream::iter([Err::<Bytes, _>(error)]));
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
    }

    fn hold(&mut self, data: Bytes) {
        self.in_flight.0.add_unsent(data.len());
        self.ready = data;
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        let length = PIECE.min(self.ready.len());
        let piece = self.ready.split_to(length);
        Frame::data(unsent_piece(piece, &self.in_flight.0))
    }
}

impl Drop for Http2ResponseBody {
    fn drop(&mut self) {
        if !self.ready.is_empty() {
            self.in_flight.0.remove_unsent(self.ready.len());
        }
    }
}

impl HttpBody for Http2ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ready.is_empty() {
            match Pin::new(&mut self.rest).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => self.hold(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        Poll::Ready(Some(Ok(self.next_piece())))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (ready, rest) = (self.ready.len() as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ready));
        }
        hint.set_lower(rest.lower().saturating_add(ready));
        hint
    }
}
