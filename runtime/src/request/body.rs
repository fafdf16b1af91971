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

/// How long a small body, or the next part of a larger one, may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Refuses a body whose announced length is over the limit.
pub(crate) fn check_length(body: &Body, limit: u64) -> Result<(), Problem> {
    if body.size_hint().lower() <= limit {
        return Ok(());
    }
    Err(too_large(limit))
}

pub(crate) fn too_large(limit: u64) -> Problem {
    Problem::new(&registry::BODY_TOO_LARGE)
        .with_detail(format!("the body may have up to {limit} bytes"))
}

/// How far a body has been read, as the pipeline sees it from outside: an extractor that reads the
/// body may not report why it failed.
#[derive(Debug, Clone)]
pub(crate) struct BodyReadState(Option<Arc<AtomicU8>>);

const READING: u8 = 0;
const WAITING: u8 = 1;
const STALLED: u8 = 2;
const TOO_LARGE: u8 = 3;
const BROKEN: u8 = 4;

impl BodyReadState {
    /// The state of a body that is still to be read. A body that is empty needs none.
    pub(crate) fn new(has_body: bool) -> Self {
        Self(has_body.then(|| Arc::new(AtomicU8::new(READING))))
    }

    /// Reads with the body waited for. Where that is given up, it stays so.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = T>) -> T {
        self.set(WAITING);
        let read = read.await;
        self.set(READING);
        read
    }

    /// The answer after a deadline, if the client is the one that was waited for.
    pub(crate) fn timed_out(&self) -> Option<EndpointResponse> {
        let waiting = matches!(self.get(), WAITING | STALLED);
        waiting.then(|| EndpointResponse::refused(Problem::new(&registry::REQUEST_TIMEOUT)))
    }

    /// Puts the answer of an extractor that could not read the body in this project's words.
    #[inline]
    pub(crate) fn explain_failure(&self, answer: &mut EndpointResponse) {
        if self.0.is_some() && answer.origin == ResponseOrigin::Refused {
            self.explain_refusal(answer);
        }
    }

    fn explain_refusal(&self, answer: &mut EndpointResponse) {
        let problem = match self.get() {
            STALLED => Problem::new(&registry::REQUEST_TIMEOUT),
            TOO_LARGE => Problem::new(&registry::BODY_TOO_LARGE),
            BROKEN => incomplete(),
            _ => return,
        };
        *answer = EndpointResponse::refused(problem);
    }

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

/// A body that ends with an error if it grows over the limit, or stops coming.
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
        // A handler that gave up the body and takes its time does not wait for the client.
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
                // Armed anew when the next part is waited for: a slow reader is no slow client.
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
    async fn a_handler_that_reads_a_body_by_itself_learns_why_it_failed() {
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
