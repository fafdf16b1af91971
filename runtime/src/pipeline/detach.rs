//! Handler runs that continue after their request has ended.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;
use tracing::{Instrument, Span};

/// A future that runs in the task that awaits it. If that task drops the future before its end, the
/// future continues in a separate task. A tracker counts the future until it ends, so that a
/// shutdown can wait for it.
pub(crate) struct DetachOnDrop<F: Future<Output: Send + 'static> + Send + 'static> {
    /// `None` after the future has ended.
    running: Option<Pin<Box<TrackedFuture<F>>>>,
    span: Span,
    runtime: Handle,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> DetachOnDrop<F> {
    /// Creates the future. Call this function inside of a tokio runtime. The handle of the runtime
    /// is stored, because the drop may happen outside of the runtime.
    pub(crate) fn new(tracker: &TaskTracker, running: F) -> Self {
        let running = Box::pin(tracker.track_future(running));
        Self {
            running: Some(running),
            span: Span::current(),
            runtime: Handle::current(),
        }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<F::Output> {
        // The future is outside of `self` while it is polled, and is put back if it has not ended.
        // After a panic it is not put back, so `drop` does not spawn it.
        let mut running = self.running.take().expect("polled after its end");
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            self.running = Some(running);
        }
        polled
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.spawn(running.instrument(self.span.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a11_a_run_that_is_dropped_continues_to_its_end() {
        let tracker = TaskTracker::new();
        let (resume, resumed) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let mut run = DetachOnDrop::new(&tracker, async {
            resumed.await.expect("a signal to resume");
            ended.send(()).expect("the test waits for the end");
        });
        assert!((&mut run).now_or_never().is_none());
        assert_eq!(tracker.len(), 1);
        drop(run);
        resume.send(()).expect("still running");
        end.await.expect("the run's end");
        tracker.close();
        timeout(Duration::from_secs(10), tracker.wait())
            .await
            .expect("the end of all tracked tasks");
    }

    #[tokio::test]
    async fn a11_a_run_that_is_dropped_before_its_first_poll_runs_to_its_end() {
        let (ended, end) = oneshot::channel();
        drop(DetachOnDrop::new(&TaskTracker::new(), async {
            ended.send(())
        }));
        end.await.expect("the run's end");
    }

    #[tokio::test]
    async fn a_run_that_is_awaited_to_its_end_gets_no_separate_task() {
        let tracker = TaskTracker::new();
        let task = DetachOnDrop::new(&tracker, async { tokio::task::try_id() }).await;
        assert_eq!(task, tokio::task::try_id());
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn a_run_that_panics_is_not_continued() {
        let tracker = TaskTracker::new();
        let mut run = DetachOnDrop::new(&tracker, async { panic!("failed") });
        let polled = core::panic::AssertUnwindSafe(async { (&mut run).await })
            .catch_unwind()
            .await;
        assert!(polled.is_err());
        drop(run);
        assert!(tracker.is_empty());
    }
}
