//! The request as it comes in: its head, and its body before and after it is read.

use core::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::context::Context;
use crate::extract::body;
use crate::policies::body_limit::{self, Gauge, READ_DEADLINE, watched};
use crate::problem::{Problem, registry};

/// Bodies up to this length, if it is known, are read before the store is asked.
const SMALL: u64 = 64 << 10;

/// The most that is read of a body that nobody wants, so that the connection can be used again.
const DRAINED: u64 = 16 << 20;

/// A client that pauses for so long waits for the response, and not for its body to be read.
const DRAIN_PAUSE: Duration = Duration::from_millis(500);

/// axum's limit for a body that is read by its extractors.
const AXUM_LIMIT: u64 = 2 << 20;

pub(crate) struct Intake {
    pub(crate) head: Parts,
    body: Body,
    read: Option<Bytes>,
    /// Whether reading has begun, and so a client that asked first was told to go on.
    begun: bool,
}

impl Intake {
    pub(crate) fn new(request: Request) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body, read: None, begun: false }
    }

    /// Refuses a body whose announced length is over the limit.
    pub(crate) fn check_length(&self, limit: u64) -> Result<(), Problem> {
        body_limit::check(&self.body, limit)
    }

    /// Whether a body is still to come.
    pub(crate) fn has_body(&self) -> bool {
        self.read.is_none() && !self.body.is_end_stream()
    }

    /// Takes the body out that nobody is going to read.
    pub(crate) fn take_unread(&mut self) -> Unread {
        let headers = &self.head.headers;
        Unread {
            waits_for_permission: headers.contains_key(EXPECT) && !self.begun,
            announced: headers.contains_key(CONTENT_LENGTH),
            body: core::mem::take(&mut self.body),
        }
    }

    /// Whether the body's length is known and small.
    pub(crate) fn is_small(&self) -> bool {
        self.body.size_hint().upper().is_some_and(|length| length <= SMALL)
    }

    /// Reads the body, up to `limit`. What is left of one that is refused can still be drained.
    pub(crate) async fn read(&mut self, limit: u64, gauge: &Gauge) -> Result<(), Problem> {
        if self.read.is_some() {
            return Ok(());
        }
        self.begun = true;
        let bytes = if self.is_small() {
            gauge.reading(self.read_small()).await?
        } else {
            gauge.reading(self.read_large(limit)).await?
        };
        self.read = Some(bytes);
        Ok(())
    }

    async fn read_small(&mut self) -> Result<Bytes, Problem> {
        let mut reading = core::pin::pin!(body::read(&mut self.body));
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
            match timeout(READ_DEADLINE, self.body.frame()).await {
                Err(_) => return Err(Problem::new(&registry::REQUEST_TIMEOUT)),
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Err(error))) => return Err(body::failure(&error)),
                Ok(Some(Ok(frame))) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
            if bytes.len() as u64 > limit {
                return Err(body_limit::too_large(limit));
            }
        }
    }

    /// The body that was read.
    pub(crate) fn bytes(&self) -> Bytes {
        self.read.clone().unwrap_or_default()
    }

    /// The request for the extractors, whose body keeps to `limit` however long it turns out.
    pub(crate) fn into_request(mut self, context: Context, limit: u64, gauge: &Gauge) -> Request {
        self.head.extensions.insert(context);
        self.into_limited(limit, gauge)
    }

    pub(crate) fn into_limited(self, limit: u64, gauge: &Gauge) -> Request {
        let body = match self.read {
            Some(bytes) => Body::from(bytes),
            None if self.body.is_end_stream() => self.body,
            None => watched(self.body, limit, gauge.clone()),
        };
        let mut request = Request::from_parts(self.head, body);
        if limit > AXUM_LIMIT {
            DefaultBodyLimit::disable().apply(&mut request);
        }
        request
    }
}

/// A body that nobody is going to read.
pub(crate) struct Unread {
    body: Body,
    waits_for_permission: bool,
    announced: bool,
}

impl Unread {
    /// Reads and forgets what still comes, within bounds: a connection with an unread body cannot be
    /// used again, and closing it can cost the client the response.
    pub(crate) async fn drain(mut self) {
        let hopeless = self.announced && self.body.size_hint().lower() > DRAINED;
        if self.body.is_end_stream() || self.waits_for_permission || hopeless {
            return;
        }
        // Whether all of it came in time or not, the response goes out now.
        let _ = timeout(READ_DEADLINE, self.forget()).await;
    }

    async fn forget(&mut self) {
        let mut left = DRAINED;
        while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, self.body.frame()).await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}
