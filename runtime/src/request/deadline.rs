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
    /// A future with a deadline. The timer is created when the future first waits, because most
    /// requests of a fast service never wait. The timer is not subject to tokio's cooperative
    /// budget: a future that always has work uses up the budget, and must still be ended at its
    /// deadline.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        due: Instant,
        timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    }
}

/// Returns the future's output, or `None` if `timeout` passes first.
pub(crate) fn with_timeout<F: Future>(timeout: Duration, future: F) -> Within<F> {
    within_until(due_in(timeout), future)
}

/// Returns the future's output, or `None` if `due` comes first.
#[inline]
pub(crate) fn within_until<F: Future>(due: Instant, future: F) -> Within<F> {
    Within {
        future,
        due,
        timer: None,
    }
}

/// Returns the moment at which `timeout` will have passed.
#[inline]
pub(crate) fn due_in(timeout: Duration) -> Instant {
    // Without the maximum, a sum outside of the clock's range would panic.
    Instant::now() + timeout.min(MAX_TIMEOUT)
}

/// A hundred years: longer than any process runs, and within the range of every platform's clock.
const MAX_TIMEOUT: Duration = Duration::from_hours(100 * 365 * 24);

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        let due = *this.due;
        // The timer is polled after the future, so that a result that is ready is returned even if
        // the deadline has passed.
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(unconstrained(sleep_until(due))));
        timer.as_mut().poll(context).map(|()| None)
    }
}

/// Returns the 504 for a request whose deadline has passed. With an idempotency key the handler
/// continues, so that a retry can get the response.
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
    async fn a_future_that_waits_beyond_its_deadline_has_no_output() {
        let second = Duration::from_secs(1);
        assert_eq!(with_timeout(second, sleep(second * 2)).await, None);
        assert_eq!(with_timeout(second * 2, sleep(second)).await, Some(()));
    }

    #[tokio::test]
    async fn a18_a_handler_that_never_waits_is_ended_after_its_deadline() {
        let busy = async {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(5) {
                tokio::task::consume_budget().await;
            }
        };
        assert_eq!(with_timeout(Duration::from_millis(50), busy).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a18_the_time_before_the_first_wait_counts_towards_the_deadline() {
        let second = Duration::from_secs(1);
        let blocking = async {
            // This time passes before the future first waits.
            tokio::time::advance(second).await;
            sleep(second * 3 / 2).await;
        };
        assert_eq!(with_timeout(second * 2, blocking).await, None);
    }
}
