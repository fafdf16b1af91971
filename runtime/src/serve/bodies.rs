//! The bodies of requests and responses, as far as the connection must know about them.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection_state::{ConnectionState, InFlightRequest, count_unsent};

/// Parts of responses up to this number of bytes are not counted, because most responses are
/// smaller. The 32 streams of a connection then hold at most 128 KiB that are not counted.
const UNCOUNTED: u64 = 4 << 10;

/// The size of the pieces in which an HTTP/2 response is passed to hyper. hyper asks for the next
/// piece when the client has room for it, which shows the progress of the client.
const PIECE: usize = 16 << 10;

/// The body of an HTTP/1 request. It tells the connection when the request has arrived completely.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    state: Arc<ConnectionState>,
}

impl RequestBody {
    pub(super) const fn new(body: Incoming, state: Arc<ConnectionState>) -> Self {
        Self { body, state }
    }
}

impl HttpBody for RequestBody {
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

/// The body of a response. Its request is in flight until hyper drops the body, at its end or when
/// the connection fails.
#[derive(Debug)]
pub(super) struct ResponseBody {
    /// Data of `rest` that hyper has not taken. It is counted as unsent.
    ready: Bytes,
    rest: Body,
    in_flight: InFlightRequest,
    piece: usize,
}

impl ResponseBody {
    pub(super) fn new(rest: Body, in_flight: InFlightRequest, is_http2: bool) -> Self {
        let mut body = Self {
            ready: Bytes::new(),
            rest,
            in_flight,
            piece: if is_http2 { PIECE } else { usize::MAX },
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
