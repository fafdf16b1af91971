//! Authentication, which finds the caller of a request.
//!
//! An API has one authenticator, which is set with [`Api::auth`](crate::Api::auth). It runs before
//! the rate limits and idempotency records, and before the body is read. Limits, records and
//! cursors use the [`Caller`] that it finds. A client address with a hundred failed authentications
//! in a minute gets a 429 instead of a 401. Requests with valid credentials are not affected.

mod api_keys;
mod authenticator;
mod stage;

use core::fmt;
use core::future::Future;

use http::HeaderValue;
use http::request::Parts;

pub use api_keys::ApiKeys;
pub(crate) use authenticator::Authenticator;
pub(crate) use stage::AuthenticationStage;

pub use crate::request::Caller;
use crate::start::StartError;

/// A method of authentication, such as sessions in a database.
///
/// ```
/// use aplomb::auth::{Authenticate, Authentication, Caller};
/// use axum::http::HeaderValue;
/// use axum::http::header::AUTHORIZATION;
/// use axum::http::request::Parts;
///
/// /// Sessions in a database.
/// #[derive(Debug)]
/// struct Sessions;
///
/// impl Sessions {
///     async fn user(&self, token: &[u8]) -> Option<String> {
///         // A query of the table of sessions.
///         # tokio::task::yield_now().await;
///         # (token == b"Bearer s1").then(|| "alice".to_owned())
///     }
/// }
///
/// impl Authenticate for Sessions {
///     async fn authenticate(&self, head: &Parts) -> Authentication {
///         let Some(token) = head.headers.get(AUTHORIZATION) else {
///             return Authentication::Missing;
///         };
///         match self.user(token.as_bytes()).await {
///             Some(user) => Authentication::Caller(Caller::new(user)),
///             None => Authentication::Invalid("the session has ended: sign in again"),
///         }
///     }
///
///     fn challenge(&self) -> HeaderValue {
///         HeaderValue::from_static("Bearer")
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let request = axum::http::Request::builder().header("authorization", "Bearer s1");
/// let (head, ()) = request.body(()).unwrap().into_parts();
/// let found = Sessions.authenticate(&head).await;
/// assert!(matches!(found, Authentication::Caller(caller) if caller.id() == "alice"));
/// # }
/// ```
pub trait Authenticate: fmt::Debug + Send + Sync + 'static {
    /// Returns the caller of a request. The service calls this method once for each request, on
    /// public endpoints as well. Write it as an `async fn`.
    fn authenticate(&self, head: &Parts) -> impl Future<Output = Authentication> + Send;

    /// Returns whether [`authenticate`](Self::authenticate) never waits, for example because it
    /// reads a table in memory. Requests then need no allocation for it. If it waits nevertheless,
    /// the request fails with 503 `AUTHENTICATION_UNAVAILABLE`.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Returns the value of `WWW-Authenticate` on a 401 (RFC 9110 §11.6.1).
    fn challenge(&self) -> HeaderValue;

    /// Returns the errors in the settings. This method is called one time, when the API starts.
    fn start_errors(&self) -> Vec<StartError> {
        Vec::new()
    }
}

/// The result of authentication.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// A caller with valid credentials.
    Caller(Caller),
    /// A request without credentials. On a public endpoint it continues without a caller.
    Missing,
    /// Invalid credentials, with the reason for the client. The request gets 401 `UNAUTHENTICATED`,
    /// on a public endpoint as well.
    Invalid(&'static str),
    /// The credentials could not be checked, for example because another service is down. The value
    /// is the reason for the log. The request gets 503 `AUTHENTICATION_UNAVAILABLE`, which is
    /// retryable.
    Unavailable(String),
}
