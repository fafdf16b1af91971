//! The response deadline.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::{Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::problem::{EndpointResponse, Problem, registry};

pin_project! {
    /// A future with a deadline. The timer is made only when the future first waits: most requests
    /// of a fast service never need one. It is looked at even where the future has used up what its
    /// task may do at a time.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        due: Instant,
        timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    }
}

/// The future's output, or `None` if it has none when `timeout` has passed from now on.
pub(crate) fn within<F: Future>(timeout: Duration, future: F) -> Within<F> {
    within_until(due_in(timeout), future)
}

/// The future's output, or `None` if it has none by then.
#[inline]
pub(crate) fn within_until<F: Future>(due: Instant, future: F) -> Within<F> {
    Within {
        future,
        due,
        timer: None,
    }
}

/// The moment after which `timeout` has passed.
#[inline]
pub(crate) fn due_in(timeout: Duration) -> Instant {
    // A longer timeout is none at all, and the end of the clock's range would panic.
    Instant::now() + timeout.min(NEVER)
}

/// A hundred years, which every platform's clock can tell.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        let due = *this.due;
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(unconstrained(sleep_until(due))));
        timer.as_mut().poll(context).map(|()| None)
    }
}

/// The 504 of a request that got no answer in time. What its handler does under an idempotency key
/// goes on, so that a retry can have its answer.
pub(crate) fn deadline_exceeded() -> EndpointResponse {
    EndpointResponse::failed(
        Problem::new(&registry::DEADLINE_EXCEEDED).with_retry_after(Duration::from_secs(1)),
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_what_waits_too_long() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, sleep(second * 2)).await, None);
        assert_eq!(within(second * 2, sleep(second)).await, Some(()));
    }

    #[tokio::test]
    async fn a18_a_handler_that_is_never_out_of_work_meets_its_deadline() {
        let busy = async {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(5) {
                tokio::task::consume_budget().await;
            }
        };
        assert_eq!(within(Duration::from_millis(50), busy).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a18_a_deadline_counts_from_the_beginning() {
        let second = Duration::from_secs(1);
        let blocking = async {
            // Passes before the future first waits.
            tokio::time::advance(second).await;
            sleep(second * 3 / 2).await;
        };
        assert_eq!(within(second * 2, blocking).await, None);
    }
}
