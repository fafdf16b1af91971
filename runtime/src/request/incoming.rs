//! A request as it comes in: its head, and its body before and after it is read.

use core::mem;
use core::time::Duration;
use std::net::IpAddr;

use axum::body::{Body, HttpBody};
use axum::extract::DefaultBodyLimit;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::Request;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::body::{self, BodyReadState, LimitedBody, READ_DEADLINE};
use super::read;
use crate::client::peer;
use crate::problem::{Problem, registry};

/// Bodies up to this length, if it is known, are read before the store is asked.
const SMALL_BODY: u64 = 64 << 10;

/// The most that is read of a body that nobody wants, so that the connection can be used again.
const MAX_DRAINED: u64 = 16 << 20;

/// A client that pauses for so long waits for the response, and not for its body to be read.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// axum's limit for a body that is read by its extractors.
const AXUM_LIMIT: u64 = 2 << 20;

/// A request while its arguments are taken. It stands in one place and is lent to the extractors:
/// each copy of it in a future would make that future, which every request allocates, as much
/// larger.
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

    pub(crate) fn whole(&mut self) -> Request<Body> {
        let head = self.head.take().expect(WHOLE);
        Request::from_parts(head, mem::take(&mut self.body))
    }

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
    /// Whether there was a body when the request came. Asked once, because it is a virtual call.
    has_body: bool,
    read: Option<Bytes>,
    /// Whether reading has begun, and so a client that asked first was told to go on.
    begun: bool,
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
            read: None,
            begun: false,
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

    /// The address at the other end of the connection, where the server tells it.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        peer(&self.head().extensions)
    }

    /// Refuses a body whose announced length is over the limit.
    pub(crate) fn check_length(&self, limit: u64) -> Result<(), Problem> {
        body::check_length(&self.incoming.body, limit)
    }

    /// Whether a body is still to come.
    pub(crate) fn has_body(&self) -> bool {
        self.has_body && self.read.is_none()
    }

    /// Takes the body out that nobody is going to read.
    pub(crate) fn take_unread(&mut self) -> UnreadBody {
        self.has_body = false;
        let headers = &self.head().headers;
        UnreadBody {
            waits_for_permission: headers.contains_key(EXPECT) && !self.begun,
            announced: headers.contains_key(CONTENT_LENGTH),
            body: mem::take(&mut self.incoming.body),
        }
    }

    /// Whether the body's length is known and small.
    pub(crate) fn is_buffered_whole(&self) -> bool {
        self.incoming
            .body
            .size_hint()
            .upper()
            .is_some_and(|length| length <= SMALL_BODY)
    }

    /// Reads the body, up to `limit`. What is left of one that is refused can still be drained.
    pub(crate) async fn read(&mut self, limit: u64, state: &BodyReadState) -> Result<(), Problem> {
        if self.read.is_some() {
            return Ok(());
        }
        self.begun = true;
        let bytes = if self.is_buffered_whole() {
            state.reading(self.read_small()).await?
        } else {
            state.reading(self.read_large(limit)).await?
        };
        self.read = Some(bytes);
        Ok(())
    }

    async fn read_small(&mut self) -> Result<Bytes, Problem> {
        let mut reading = core::pin::pin!(read::read(&mut self.incoming.body));
        // A small body has mostly come with the head: then no timer is needed.
        if let Some(read) = (&mut reading).now_or_never() {
            return read;
        }
        timeout(READ_DEADLINE, reading)
            .await
            .unwrap_or_else(|_| Err(Problem::new(&registry::REQUEST_TIMEOUT)))
    }

    async fn read_large(&mut self, limit: u64) -> Result<Bytes, Problem> {
        let mut bytes = BytesMut::new();
        loop {
            match timeout(READ_DEADLINE, self.incoming.body.frame()).await {
                Err(_) => return Err(Problem::new(&registry::REQUEST_TIMEOUT)),
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Err(error))) => return Err(read::failure(&error)),
                Ok(Some(Ok(frame))) => {
                    bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                }
            }
            if bytes.len() as u64 > limit {
                return Err(body::too_large(limit));
            }
        }
    }

    /// The body that was read.
    pub(crate) fn bytes(&self) -> Bytes {
        self.read.clone().unwrap_or_default()
    }

    /// Lets a later stage or an extractor find a value.
    pub(crate) fn insert<T: Clone + Send + Sync + 'static>(&mut self, value: T) {
        self.head_mut().extensions.insert(value);
    }

    /// The request for the extractors. Its body keeps to `limit`, however long it turns out to be.
    #[inline]
    pub(crate) fn for_extractors(&mut self, limit: u64, state: &BodyReadState) -> &mut Incoming {
        let Incoming { head, body } = &mut self.incoming;
        if let Some(bytes) = self.read.take() {
            *body = Body::from(bytes);
        } else if self.has_body {
            *body = Body::new(LimitedBody::new(mem::take(body), limit, state.clone()));
        }
        if limit > AXUM_LIMIT {
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

/// A body that nobody is going to read.
pub(crate) struct UnreadBody {
    body: Body,
    waits_for_permission: bool,
    announced: bool,
}

impl UnreadBody {
    /// Reads and forgets what still comes, within bounds: a connection with an unread body cannot be
    /// used again, and closing it can cost the client the response.
    pub(crate) async fn drain(mut self) {
        let hopeless = self.announced && self.body.size_hint().lower() > MAX_DRAINED;
        if self.body.is_end_stream() || self.waits_for_permission || hopeless {
            return;
        }
        // Whether all of it came in time or not, the response goes out now.
        let _ = timeout(READ_DEADLINE, self.discard()).await;
    }

    async fn discard(&mut self) {
        let mut left = MAX_DRAINED;
        while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, self.body.frame()).await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}
