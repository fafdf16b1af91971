//! The response deadline.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::{Unconstrained, unconstrained};
use tokio::time::{Instant, Sleep, sleep};

use crate::problem::{Answer, Problem, registry};

pin_project! {
    /// A future with a deadline. The timer is made only when the future first waits: most requests
    /// of a fast service never need one. It is looked at even where the future has used up what its
    /// task may do at a time.
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        started: Instant,
        timeout: Duration,
        timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    }
}

/// The future's output, or `None` if it has none after `timeout`, counted from now.
pub(crate) fn within<F: Future>(timeout: Duration, future: F) -> Within<F> {
    Within { future, started: Instant::now(), timeout, timer: None }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        let left = || this.timeout.saturating_sub(this.started.elapsed());
        let timer = this.timer.get_or_insert_with(|| Box::pin(unconstrained(sleep(left()))));
        timer.as_mut().poll(context).map(|()| None)
    }
}

/// The 504 of a request that got no answer in time. What its handler does under an idempotency key
/// goes on, so that a retry can have its answer.
pub(crate) fn exceeded() -> Answer {
    Answer::failed(Problem::new(&registry::DEADLINE_EXCEEDED).with_retry_after(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
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
