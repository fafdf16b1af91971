//! The body that extractors and handlers read: its limit, its timeout, and the reason of a failure.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{LengthLimitError, Limited};
use tokio::time::{Sleep, sleep};

use super::read::{Stalled, incomplete};
use crate::problem::{EndpointResponse, Problem, ResponseOrigin, registry};

/// The time in which a small body, or the next part of a larger body, must arrive. Five seconds are
/// enough after the loss of a few packets, and a client that sends nothing does not occupy a
/// request for long.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Refuses a body whose announced length is over the limit.
pub(crate) fn check_length(body: &Body, limit: u64) -> Result<(), Problem> {
    if body.size_hint().lower() <= limit {
        return Ok(());
    }
    Err(too_large(limit))
}

/// Returns the problem for a body over the limit.
pub(crate) fn too_large(limit: u64) -> Problem {
    Problem::new(&registry::BODY_TOO_LARGE).with_detail(format!(
        "the body is larger than the limit of {limit} bytes"
    ))
}

/// The progress of reading a body. The pipeline needs it, because an extractor may not report why
/// it could not read the body. `None` for a request without a body.
#[derive(Debug, Clone)]
pub(crate) struct BodyReadState(Option<Arc<AtomicU8>>);

/// Reading has not begun, pauses between two reads, or has finished.
const READING: u8 = 0;
/// A read waits for the client.
const WAITING: u8 = 1;
/// A read failed, because the client sent nothing for [`READ_DEADLINE`].
const STALLED: u8 = 2;
/// A read failed, because the body is over its limit.
const TOO_LARGE: u8 = 3;
/// A read failed, because the body ended early or its framing is invalid.
const BROKEN: u8 = 4;

impl BodyReadState {
    /// Returns the state of a body that has not been read. An empty body needs no allocation.
    pub(crate) fn new(has_body: bool) -> Self {
        Self(has_body.then(|| Arc::new(AtomicU8::new(READING))))
    }

    /// Sets the state to `WAITING` while a future reads the body. If the future is dropped, the
    /// state stays `WAITING`, so that [`timed_out`](Self::timed_out) sees that a deadline
    /// interrupted a read.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = T>) -> T {
        self.set(WAITING);
        let read = read.await;
        self.set(READING);
        read
    }

    /// Returns the response to a request whose deadline passed while it waited for the client's
    /// body.
    pub(crate) fn timed_out(&self) -> Option<EndpointResponse> {
        let waits_for_client = matches!(self.get(), WAITING | STALLED);
        waits_for_client
            .then(|| EndpointResponse::refused(Problem::new(&registry::REQUEST_TIMEOUT)))
    }

    /// Replaces the response of an extractor that could not read the body. axum's extractors return
    /// a text without the reason.
    #[inline]
    pub(crate) fn explain_failure(&self, outcome: &mut EndpointResponse) {
        if self.0.is_some() && outcome.origin == ResponseOrigin::Refused {
            self.replace_refusal(outcome);
        }
    }

    fn replace_refusal(&self, outcome: &mut EndpointResponse) {
        let problem = match self.get() {
            STALLED => Problem::new(&registry::REQUEST_TIMEOUT),
            TOO_LARGE => Problem::new(&registry::BODY_TOO_LARGE),
            BROKEN => incomplete(),
            _ => return,
        };
        *outcome = EndpointResponse::refused(problem);
    }

    // No other memory depends on the state, so any ordering is correct.
    fn get(&self) -> u8 {
        self.0
            .as_ref()
            .map_or(READING, |state| state.load(Ordering::SeqCst))
    }

    fn set(&self, value: u8) {
        if let Some(state) = &self.0 {
            state.store(value, Ordering::SeqCst);
        }
    }
}

/// A body that fails if it grows over its limit, or if the client sends nothing for
/// [`READ_DEADLINE`].
pub(crate) struct LimitedBody {
    body: Limited<Body>,
    state: BodyReadState,
    timer: Option<Pin<Box<Sleep>>>,
}

impl LimitedBody {
    pub(crate) fn new(body: Body, limit: u64, state: BodyReadState) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            body: Limited::new(body, limit),
            state,
            timer: None,
        }
    }
}

impl Drop for LimitedBody {
    fn drop(&mut self) {
        // A handler that drops the body does not wait for the client any more, so a later deadline
        // is a 504 and not a 408. Two separate steps are safe, because only this body writes its
        // state.
        if self.state.get() == WAITING {
            self.state.set(READING);
        }
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => self.wait(context),
            Poll::Ready(polled) => {
                // The next wait starts a new timer. A handler that pauses between two reads does
                // not use up the client's time.
                self.timer = None;
                self.state.set(match &polled {
                    Some(Err(error)) if error.is::<LengthLimitError>() => TOO_LARGE,
                    Some(Err(_)) => BROKEN,
                    _ => READING,
                });
                Poll::Ready(polled)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl LimitedBody {
    fn wait(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        self.state.set(WAITING);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(READ_DEADLINE)));
        timer.as_mut().poll(context).map(|()| {
            self.state.set(STALLED);
            Some(Err(Stalled.into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::read;
    use super::*;

    async fn problem_of(body: Body, limit: u64) -> &'static str {
        let body = Body::new(LimitedBody::new(body, limit, BodyReadState::new(true)));
        read::read(body)
            .await
            .expect_err("a body that cannot be read")
            .code()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_reads_the_body_gets_the_reason_of_a_failure() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(problem_of(stalled, 10).await, "REQUEST_TIMEOUT");
        assert_eq!(
            problem_of(Body::from("longer than ten"), 10).await,
            "BODY_TOO_LARGE"
        );
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other(
            "gone",
        ))]));
        assert_eq!(problem_of(broken, 10).await, "BODY_INCOMPLETE");
    }
}
