use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use tokio::time::{Instant, Sleep, sleep};

use crate::problem::{Problem, registry};

/// How long a small body, or the next part of a larger one, may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Refuses a body whose announced length is over the limit.
pub(crate) fn check(body: &Body, limit: u64) -> Result<(), Problem> {
    if body.size_hint().lower() <= limit {
        return Ok(());
    }
    Err(Problem::new(&registry::BODY_TOO_LARGE).with_detail(format!("the body may have up to {limit} bytes")))
}

/// The body, ended with an error where it grows over the limit or stops coming.
pub(crate) fn watched(body: Body, limit: u64) -> Body {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Body::new(Watched { body: Limited::new(body, limit), timer: None })
}

/// A body of which nothing more came.
#[derive(Debug)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body stopped coming")
    }
}

impl std::error::Error for Stalled {}

/// A body that ends with an error where it grows over its limit or stops coming.
struct Watched {
    body: Limited<Body>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(READ_DEADLINE)));
            return timer.as_mut().poll(context).map(|()| Some(Err(Stalled.into())));
        }
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + READ_DEADLINE);
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
