//! The trait-object form of [`Authenticate`], which an API stores.

use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::request::Parts;

use super::{Authenticate, Authentication};
use crate::start::StartError;

/// The trait-object form of [`Authenticate`]. A trait with an `async fn` cannot be a trait object.
pub(crate) trait Authenticator: fmt::Debug + Send + Sync {
    /// Returns the caller of a request without allocation; `None` if the authentication may wait.
    fn authenticate_now(&self, head: &Parts) -> Option<Authentication>;

    /// Returns the caller of a request.
    fn authenticate<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, Authentication>;

    fn challenge(&self) -> HeaderValue;

    fn start_errors(&self) -> Vec<StartError>;
}

impl<A: Authenticate> Authenticator for A {
    fn authenticate_now(&self, head: &Parts) -> Option<Authentication> {
        if !self.is_immediate() {
            return None;
        }
        let future = pin!(Authenticate::authenticate(self, head));
        // The waker does nothing, so a future that waits is never polled again. The request then
        // fails, because `authenticate` must not be called a second time for the same request.
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => Some(Authentication::Unavailable(format!(
                "{self:?} waits in `authenticate`, although its `is_immediate` returns true"
            ))),
        }
    }

    fn authenticate<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, Authentication> {
        Box::pin(Authenticate::authenticate(self, head))
    }

    fn challenge(&self) -> HeaderValue {
        Authenticate::challenge(self)
    }

    fn start_errors(&self) -> Vec<StartError> {
        Authenticate::start_errors(self)
    }
}
