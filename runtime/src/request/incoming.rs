//! An incoming request: its head, and its body before and after reading.

use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::net::IpAddr;

use axum::body::{Body, HttpBody};
use axum::extract::DefaultBodyLimit;
use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::body::{BodyReadState, LimitedBody};
use super::body_memory::{BodyShare, MemoryUsedUp};
use super::body_rules::{self, BodyRules};
use super::pace::Pacer;
use super::read;
use crate::client::peer;
use crate::problem::Problem;

/// A body of known length up to this number of bytes is read before the store is called. Most
/// bodies are shorter. A client over its rate limit cannot make the service read more than this.
const SMALL_BODY: u64 = 64 << 10;

/// The maximum number of bytes of an unread body that are read and dropped, so that the connection
/// can be reused. Above this number, a new connection is cheaper.
const MAX_DRAINED: u64 = 16 << 20;

/// Draining ends if no data arrives for this time, because the client is then probably waiting for
/// the response.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// The longest time of draining.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The body limit of axum's extractors (`DefaultBodyLimit`).
const AXUM_LIMIT: u64 = 2 << 20;

/// A request while its arguments are extracted. Extractors borrow the request. A move would copy it
/// into the future that is allocated for every request, and enlarge that future.
#[derive(Debug)]
pub struct Incoming {
    head: Option<Parts>,
    body: Body,
}

impl Incoming {
    #[inline]
    pub(crate) fn head(&mut self) -> &mut Parts {
        self.head.as_mut().expect(WHOLE)
    }

    /// Takes the whole request, for the last argument.
    pub(crate) fn take_request(&mut self) -> Request<Body> {
        let head = self.head.take().expect(WHOLE);
        Request::from_parts(head, mem::take(&mut self.body))
    }

    /// Moves the request out, and leaves an empty request.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            head: self.head.take(),
            body: mem::take(&mut self.body),
        }
    }
}

const WHOLE: &str = "only the last argument takes the whole request";

/// A request on its way through the stages.
pub(crate) struct IncomingRequest {
    incoming: Incoming,
    /// Set if the request arrived with a body. The flag is stored, because computing it takes a
    /// virtual call.
    has_body: bool,
    /// The body, if it has been read.
    bytes: Option<Bytes>,
    /// Set if reading has begun. hyper has then sent `100 Continue` to a client that waits for it.
    has_begun_reading: bool,
}

impl IncomingRequest {
    #[inline]
    pub(crate) fn new(request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        Self {
            incoming: Incoming {
                head: Some(head),
                body,
            },
            has_body,
            bytes: None,
            has_begun_reading: false,
        }
    }

    #[inline]
    pub(crate) fn head(&self) -> &Parts {
        self.incoming.head.as_ref().expect(WHOLE)
    }

    #[inline]
    pub(crate) fn head_mut(&mut self) -> &mut Parts {
        self.incoming.head()
    }

    /// Returns the address at the other end of the connection, if the server provides it.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        peer(&self.head().extensions)
    }

    /// Refuses a body that must still be read, if the rules do not allow it.
    #[inline]
    pub(crate) fn check_body(&self, rules: &BodyRules) -> Result<(), Problem> {
        if self.has_body() {
            return rules.check(&self.head().headers, &self.incoming.body);
        }
        Ok(())
    }

    /// Returns `true` if the body must still be read.
    pub(crate) fn has_body(&self) -> bool {
        self.has_body && self.bytes.is_none()
    }

    /// Takes out the body that neither the pipeline nor the handler will read.
    pub(crate) fn take_unread(&mut self) -> UnreadBody {
        self.has_body = false;
        let body = mem::take(&mut self.incoming.body);
        UnreadBody::new(body, &self.head().headers, self.has_begun_reading)
    }

    /// Returns `true` if the length of the body is known, and at most [`SMALL_BODY`].
    pub(crate) fn has_small_body(&self) -> bool {
        self.incoming
            .body
            .size_hint()
            .upper()
            .is_some_and(|length| length <= SMALL_BODY)
    }

    /// Reads the body as far as the rules allow. The rest of a body that is too large can still be
    /// drained.
    pub(crate) async fn read(
        &mut self,
        rules: &BodyRules,
        state: &BodyReadState,
    ) -> Result<(), Problem> {
        if self.bytes.is_some() {
            return Ok(());
        }
        self.has_begun_reading = true;
        let (bytes, share) = state.reading(self.read_body(rules)).await?;
        state.keep(share);
        self.bytes = Some(bytes);
        Ok(())
    }

    async fn read_body(&mut self, rules: &BodyRules) -> Result<(Bytes, BodyShare), Problem> {
        let mut pacer = Pacer::new(rules.pace);
        let mut share = BodyShare::new(&rules.memory);
        let (mut first, mut joined) = (Bytes::new(), None::<BytesMut>);
        loop {
            let frame = pacer.wait(self.incoming.body.frame()).await?;
            let Some(frame) = frame else { break };
            // Trailers are ignored.
            let Ok(data) = frame.map_err(|error| read::failure(&error))?.into_data() else {
                continue;
            };
            if share.received() + data.len() as u64 > rules.limit {
                return Err(body_rules::too_large(rules.limit));
            }
            pacer.add(data.len(), Duration::ZERO);
            share
                .add(data.len())
                .map_err(|MemoryUsedUp| Problem::overloaded())?;
            match &mut joined {
                Some(joined) => joined.extend_from_slice(&data),
                // Most bodies arrive in one part, which is not copied.
                None if first.is_empty() => first = data,
                None => {
                    // The first part is dropped, because it keeps the read buffer of hyper.
                    let first = mem::take(&mut first);
                    let mut both = BytesMut::with_capacity(first.len() + data.len());
                    both.extend_from_slice(&first);
                    both.extend_from_slice(&data);
                    joined = Some(both);
                }
            }
            if self.incoming.body.is_end_stream() {
                break;
            }
        }
        Ok((joined.map_or(first, BytesMut::freeze), share))
    }

    /// Returns the body that was read, or an empty body if there is none.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone().unwrap_or_default()
    }

    /// Stores a value in the extensions, for a later stage or an extractor.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.head_mut().extensions.insert(value);
    }

    /// Returns the request for the extractors. Reading its body fails if the body breaks the rules.
    #[inline]
    pub(crate) fn for_extractors(
        &mut self,
        rules: &BodyRules,
        state: &BodyReadState,
    ) -> &mut Incoming {
        if let Some(bytes) = self.bytes.take() {
            self.incoming.body = Body::from(bytes);
        } else if self.has_body {
            let unread = self.take_unread();
            let limited = LimitedBody::new(unread, rules, state.clone());
            self.incoming.body = Body::new(limited);
        }
        let Incoming { head, .. } = &mut self.incoming;
        // axum's extractors would refuse a body above their own limit, although the endpoint allows
        // it.
        if rules.limit > AXUM_LIMIT {
            *head = head.take().map(without_axum_limit);
        }
        &mut self.incoming
    }
}

fn without_axum_limit(head: Parts) -> Parts {
    let mut request = Request::from_parts(head, ());
    DefaultBodyLimit::disable().apply(&mut request);
    request.into_parts().0
}

/// A body that has not been read to its end.
#[derive(Debug)]
pub(crate) struct UnreadBody {
    body: Body,
    /// Set if the client waits for `100 Continue`, and so has sent no body.
    waits_for_continue: bool,
}

impl UnreadBody {
    pub(crate) fn new(body: Body, headers: &HeaderMap, has_begun_reading: bool) -> Self {
        Self {
            body,
            waits_for_continue: headers.contains_key(EXPECT) && !has_begun_reading,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // hyper now sends `100 Continue`.
        self.waits_for_continue = false;
        Pin::new(&mut self.body).poll_frame(context)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// Reads and drops the rest of the body, within bounds. A connection with an unread body cannot
    /// be reused. If the service closed that connection, it could be reset before the client has
    /// read the response.
    pub(crate) async fn drain(mut self) {
        let is_too_long = self.body.size_hint().lower() > MAX_DRAINED;
        if self.body.is_end_stream() || self.waits_for_continue || is_too_long {
            return;
        }
        // A timeout is ignored: the response is sent now, even if the body is not complete.
        let _ = timeout(DRAIN_TIME, self.discard()).await;
    }

    /// Reads and drops data until the body ends, the client pauses, or more than [`MAX_DRAINED`]
    /// bytes have arrived.
    async fn discard(&mut self) {
        let mut remaining = MAX_DRAINED;
        while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, self.body.frame()).await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match remaining.checked_sub(length) {
                Some(rest) => remaining = rest,
                None => return,
            }
        }
    }
}
