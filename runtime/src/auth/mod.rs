//! Authentication: it finds the caller of a request.
//!
//! An API has one way of authentication, set with [`Api::auth`](crate::Api::auth). It runs before
//! the limits and idempotency records, and before the body is read. These and cursors use the
//! [`Caller`] that it finds. A client address with a hundred failed authentications in a
//! minute gets a 429 instead of a 401. Requests with valid credentials are not affected.

mod api_keys;
mod stage;

use core::fmt;

use http::HeaderValue;
use http::request::Parts;

pub use api_keys::ApiKeys;
pub(crate) use stage::AuthenticationStage;

use crate::maybe_ready::MaybeReady;
use crate::problem::Problem;
pub use crate::request::Caller;
use crate::start::StartError;

/// A way of authentication.
pub trait Authenticate: fmt::Debug + Send + Sync + 'static {
    /// Returns the caller of a request. Called at most once per request.
    fn authenticate<'a>(&'a self, head: &'a Parts) -> MaybeReady<'a, Authentication>;

    /// Returns whether the result of [`authenticate`](Self::authenticate) is always ready, such as
    /// from a table in memory. Requests then need no allocation for it.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Returns the value of `WWW-Authenticate` on a 401 (RFC 9110 §11.6.1).
    fn challenge(&self) -> HeaderValue;

    /// Returns the errors in the settings. Called once when the API starts.
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
    /// A request without credentials.
    Missing,
    /// Invalid credentials, with the reason for the client.
    Invalid(&'static str),
    /// No result, such as when another service is down. The request gets this problem.
    Unavailable(Problem),
}
