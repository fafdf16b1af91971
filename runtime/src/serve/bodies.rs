//! The bodies of requests and responses, as far as the connection must know about them.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection_state::{ConnectionState, InFlightRequest, count_unsent};

/// Parts of responses up to this number of bytes are not counted, because most responses are
/// smaller. The 32 streams of a connection then hold at most 128 KiB that are not counted.
const UNCOUNTED: u64 = 4 << 10;

/// The size of the pieces in which an HTTP/2 response is passed to hyper. hyper takes the next piece
/// when the client has room for it, so each piece is progress.
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

impl HttpBody for Http1Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.state.set_whole();
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

/// The body of a response. Its request is in flight until hyper drops the body, at its end or when
/// the connection fails.
#[derive(Debug)]
pub(super) struct ResponseBody {
    /// Data of `rest` that hyper has not taken. It is counted as unsent.
    ready: Bytes,
    rest: Body,
    in_flight: InFlightRequest,
    piece: usize,
    /// The request body, which is dropped after the response is sent.
    _unread: Option<UnreadBody>,
}

impl ResponseBody {
    pub(super) fn http1(rest: Body, in_flight: InFlightRequest) -> Self {
        Self::new(rest, in_flight, usize::MAX, None)
    }

    pub(super) fn http2(
        rest: Body,
        in_flight: InFlightRequest,
        unread: Option<UnreadBody>,
    ) -> Self {
        Self::new(rest, in_flight, PIECE, unread)
    }

    fn new(
        rest: Body,
        in_flight: InFlightRequest,
        piece: usize,
        unread: Option<UnreadBody>,
    ) -> Self {
        let mut body = Self {
            ready: Bytes::new(),
            rest,
            in_flight,
            piece,
            _unread: unread,
        };
        body.count_data_in_memory();
        body
    }

    /// Takes the data of a large response that is in memory, so that it is counted although hyper
    /// has not asked for it. A stream whose first part is not ready is counted part by part.
    fn count_data_in_memory(&mut self) {
        let length = self.rest.size_hint().exact();
        if length.is_none_or(|length| length <= UNCOUNTED) {
            return;
        }
        // hyper polls the body again, and then registers its own waker.
        match Pin::new(&mut self.rest).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => {
                // A body of known length has no trailers.
                let data = frame.into_data().unwrap_or_default();
                self.ready = count_unsent(data, &self.in_flight.0);
            }
            Poll::Ready(Some(Err(error))) => {
                self.rest = Body::from_stream(stream::iter([Err::<Bytes, _>(error)]));
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        self.in_flight.0.progress();
        let length = self.piece.min(self.ready.len());
        Frame::data(self.ready.split_to(length))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.ready.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        let polled = Pin::new(&mut self.rest).poll_frame(context);
        match polled {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) if data.len() as u64 > UNCOUNTED => {
                    self.ready = count_unsent(data, &self.in_flight.0);
                    self.next_piece()
                }
                Ok(data) => Frame::data(data),
                Err(trailers) => trailers,
            }))),
            other => other,
        }
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
