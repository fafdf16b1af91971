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

use crate::extract::body::{Stalled, incomplete};
use crate::policies::timeout;
use crate::problem::{Answer, Origin, Problem, registry};

/// How long a small body, or the next part of a larger one, may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Refuses a body whose announced length is over the limit.
pub(crate) fn check(body: &Body, limit: u64) -> Result<(), Problem> {
    if body.size_hint().lower() <= limit {
        return Ok(());
    }
    Err(too_large(limit))
}

pub(crate) fn too_large(limit: u64) -> Problem {
    Problem::new(&registry::BODY_TOO_LARGE).with_detail(format!("the body may have up to {limit} bytes"))
}

/// How the reading of a body stands, seen from outside: whoever reads it may not say, or not know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauge(Arc<AtomicU8>);

const READING: u8 = 0;
const WAITING: u8 = 1;
const STALLED: u8 = 2;
const TOO_LARGE: u8 = 3;
const BROKEN: u8 = 4;

impl Gauge {
    /// Reads with the body waited for. Where that is given up, it stays so.
    pub(crate) async fn reading<T>(&self, read: impl Future<Output = T>) -> T {
        self.set(WAITING);
        let read = read.await;
        self.set(READING);
        read
    }

    /// The answer after a deadline: a body that has not come is the client's doing.
    pub(crate) fn exceeded(&self) -> Answer {
        match self.0.load(Ordering::SeqCst) {
            WAITING | STALLED => Answer::refused(Problem::new(&registry::REQUEST_TIMEOUT)),
            _ => timeout::exceeded(),
        }
    }

    /// The answer of an extractor that could not read the body, in this project's words.
    pub(crate) fn explain(&self, answer: Answer) -> Answer {
        match self.0.load(Ordering::SeqCst) {
            STALLED if answer.origin == Origin::Refused => {
                Answer::refused(Problem::new(&registry::REQUEST_TIMEOUT))
            }
            TOO_LARGE if answer.origin == Origin::Refused => {
                Answer::refused(Problem::new(&registry::BODY_TOO_LARGE))
            }
            BROKEN if answer.origin == Origin::Refused => Answer::refused(incomplete()),
            _ => answer,
        }
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }
}

/// The body, ended with an error where it grows over the limit or stops coming.
pub(crate) fn watched(body: Body, limit: u64, gauge: Gauge) -> Body {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Body::new(Watched { body: Limited::new(body, limit), gauge, timer: None })
}

struct Watched {
    body: Limited<Body>,
    gauge: Gauge,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A handler that gave up the body and takes its time does not wait for the client.
        if self.gauge.0.load(Ordering::SeqCst) == WAITING {
            self.gauge.set(READING);
        }
    }
}

impl HttpBody for Watched {
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
                self.gauge.set(match &polled {
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

impl Watched {
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        self.gauge.set(WAITING);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(READ_DEADLINE)));
        timer.as_mut().poll(context).map(|()| {
            self.gauge.set(STALLED);
            Some(Err(Stalled.into()))
        })
    }
}
