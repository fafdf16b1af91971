use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::BoxFuture;

/// A future that is either ready from the start or boxed.
///
/// The methods of extension points return it instead of a boxed future. An implementation that
/// never waits, such as a store in memory, then never allocates.
///
/// ```
/// use aplomb::MaybeReady;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(MaybeReady::ready(1).await, 1);
/// assert_eq!(MaybeReady::later(async { 2 }).await, 2);
/// # }
/// ```
pub struct MaybeReady<'a, T>(State<'a, T>);

enum State<'a, T> {
    Ready(Option<T>),
    Later(BoxFuture<'a, T>),
}

impl<'a, T> MaybeReady<'a, T> {
    /// Creates a future that is ready with this value.
    pub const fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// Boxes a future, which does nothing before it is polled.
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// Returns `true` if the future was created with [`ready`](Self::ready).
    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(_))
    }

    /// Returns the value if it is ready, or else the boxed future.
    pub(crate) fn try_ready(self) -> Result<T, BoxFuture<'a, T>> {
        match self.0 {
            State::Ready(value) => Ok(value.expect(POLLED_AFTER_READY)),
            State::Later(future) => Err(future),
        }
    }
}

impl<T> fmt::Debug for MaybeReady<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() {
            "MaybeReady::ready(..)"
        } else {
            "MaybeReady::later(..)"
        })
    }
}

impl<T: Unpin> Future for MaybeReady<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            State::Ready(value) => Poll::Ready(value.take().expect(POLLED_AFTER_READY)),
            State::Later(future) => future.as_mut().poll(context),
        }
    }
}

const POLLED_AFTER_READY: &str = "a future must not be polled after it was ready";
