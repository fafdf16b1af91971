use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::BoxFuture;

/// A value that is there at once, as those in memory are, or later.
///
/// Extension points return it in place of a boxed future, so that what needs no waiting needs no
/// allocation either.
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
    /// A value that is there.
    pub const fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// A value that has to be waited for. The future does nothing before it is polled.
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// Whether the value was there at once.
    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.0, State::Ready(_))
    }

    /// The value, or the future that makes it.
    pub(crate) fn try_ready(self) -> Result<T, BoxFuture<'a, T>> {
        match self.0 {
            State::Ready(value) => Ok(value.expect(POLLED)),
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
            State::Ready(value) => Poll::Ready(value.take().expect(POLLED)),
            State::Later(future) => future.as_mut().poll(context),
        }
    }
}

const POLLED: &str = "a future is not polled after it is ready";
