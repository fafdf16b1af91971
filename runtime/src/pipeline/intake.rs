//! The request as it comes in: its head, and its body before and after it is read.

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, Request};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::context::Context;
use crate::extract::body;
use crate::policies::body_limit::{self, READ_DEADLINE, watched};
use crate::problem::{Problem, registry};

/// Bodies up to this length, if it is known, are read before the store is asked.
const SMALL: u64 = 64 << 10;

/// The most that is read of a body that nobody wants, so that the connection can be used again.
const DRAINED: u64 = 16 << 20;

/// axum's limit for a body that is read by its extractors.
const AXUM_LIMIT: u64 = 2 << 20;

pub(crate) struct Intake {
    pub(crate) head: Parts,
    body: Body,
    read: Option<Bytes>,
}

impl Intake {
    pub(crate) fn new(request: Request) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body, read: None }
    }

    /// Refuses a body whose announced length is over the limit.
    pub(crate) fn check_length(&self, limit: u64) -> Result<(), Problem> {
        body_limit::check(&self.body, limit)
    }

    /// Whether the body's length is known and small.
    pub(crate) fn is_small(&self) -> bool {
        self.body.size_hint().upper().is_some_and(|length| length <= SMALL)
    }

    /// Reads the body, up to `limit`.
    pub(crate) async fn read(&mut self, limit: u64) -> Result<(), Problem> {
        if self.read.is_some() {
            return Ok(());
        }
        let small = self.is_small();
        let body = core::mem::replace(&mut self.body, Body::empty());
        let bytes = if small { read_small(body).await? } else { body::read(watched(body, limit)).await? };
        self.read = Some(bytes);
        Ok(())
    }

    /// The body that was read.
    pub(crate) fn bytes(&self) -> Bytes {
        self.read.clone().unwrap_or_default()
    }

    /// The request for the extractors, whose body keeps to `limit` however long it turns out.
    pub(crate) fn into_request(mut self, context: Context, limit: u64) -> Request {
        self.head.extensions.insert(context);
        self.into_limited(limit)
    }

    pub(crate) fn into_limited(self, limit: u64) -> Request {
        let body = match self.read {
            Some(bytes) => Body::from(bytes),
            None if self.body.is_end_stream() => self.body,
            None => watched(self.body, limit),
        };
        let mut request = Request::from_parts(self.head, body);
        if limit > AXUM_LIMIT {
            DefaultBodyLimit::disable().apply(&mut request);
        }
        request
    }

    /// Reads and forgets what a refused request still sends, within bounds: a connection with an
    /// unread body cannot be used again, and closing it can cost the client the response.
    pub(crate) async fn drain(self) {
        let waits_for_permission = self.head.headers.contains_key(EXPECT);
        let announced = self.head.headers.contains_key(CONTENT_LENGTH);
        let length = self.body.size_hint().lower();
        if self.body.is_end_stream() || waits_for_permission || (announced && length > DRAINED) {
            return;
        }
        let mut body = watched(self.body, DRAINED);
        let reading = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = timeout(READ_DEADLINE, reading).await;
    }
}

async fn read_small(body: Body) -> Result<Bytes, Problem> {
    let mut reading = core::pin::pin!(body::read(body));
    // A small body has mostly come with the head: then no timer is needed.
    if let Some(read) = (&mut reading).now_or_never() {
        return read;
    }
    timeout(READ_DEADLINE, reading).await.unwrap_or_else(|_| Err(Problem::new(&registry::REQUEST_TIMEOUT)))
}
