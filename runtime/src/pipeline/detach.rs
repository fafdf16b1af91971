//! A run that goes on when nobody waits for it any more.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context as TaskContext, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;
use tracing::{Instrument, Span};

/// Runs where it is awaited; if it is dropped before its end, it gets a task of its own, in which it
/// comes to that. A tracker counts it all the while.
pub(crate) struct DetachOnDrop<F: Future<Output: Send + 'static> + Send + 'static> {
    /// There until it ends.
    running: Option<Pin<Box<TrackedFuture<F>>>>,
    span: Span,
    runtime: Handle,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> DetachOnDrop<F> {
    /// Must be called within a runtime.
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
        // Out of its place meanwhile: a run that panics has come to its end, too.
        let mut running = self.running.take().expect("not awaited after its end");
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
    async fn a11_a_run_that_is_dropped_half_way_comes_to_its_end() {
        let tracker = TaskTracker::new();
        let (go, may_go) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let mut run = DetachOnDrop::new(&tracker, async {
            may_go.await.expect("still wanted");
            ended.send(()).expect("waited for");
        });
        assert!((&mut run).now_or_never().is_none());
        assert_eq!(tracker.len(), 1);
        drop(run);
        go.send(()).expect("still running");
        end.await.expect("the run's end");
        tracker.close();
        timeout(Duration::from_secs(10), tracker.wait())
            .await
            .expect("nothing runs any more");
    }

    #[tokio::test]
    async fn a11_a_run_that_nobody_began_to_await_runs() {
        let (ended, end) = oneshot::channel();
        drop(DetachOnDrop::new(&TaskTracker::new(), async {
            ended.send(())
        }));
        end.await.expect("the run's end");
    }

    #[tokio::test]
    async fn a_run_that_ends_where_it_is_awaited_gets_no_task() {
        let tracker = TaskTracker::new();
        let here = DetachOnDrop::new(&tracker, async { tokio::task::try_id() }).await;
        assert_eq!(here, tokio::task::try_id());
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn a_run_that_panics_is_over() {
        let tracker = TaskTracker::new();
        let mut run = DetachOnDrop::new(&tracker, async { panic!("of no use") });
        let polled = core::panic::AssertUnwindSafe(async { (&mut run).await })
            .catch_unwind()
            .await;
        assert!(polled.is_err());
        drop(run);
        assert!(tracker.is_empty());
    }
}
