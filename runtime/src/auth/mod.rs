//! Who calls.
//!
//! An API has one way of authentication, set with [`Api::auth`](crate::Api::auth). It runs before
//! any policy and before the body is read; what it finds is the [`Caller`] of limits, idempotency
//! records and cursors. An address whose requests fail to authenticate a hundred times in a minute is
//! answered 429 instead of 401; valid credentials are not affected.

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

/// A way to tell who calls.
pub trait Authenticate: fmt::Debug + Send + Sync + 'static {
    /// Returns the caller of a request. Called once for each request that is authenticated.
    fn authenticate<'a>(&'a self, head: &'a Parts) -> MaybeReady<'a, Authentication>;

    /// Whether [`authenticate`](Self::authenticate) always returns its value at once, such as from a
    /// table in memory. Requests then need no allocation for it.
    fn is_immediate(&self) -> bool {
        false
    }

    /// What `WWW-Authenticate` says on a 401 (RFC 9110 §11.6.1).
    fn challenge(&self) -> HeaderValue;

    /// What is wrong with the settings, asked once at start.
    fn start_errors(&self) -> Vec<StartError> {
        Vec::new()
    }
}

/// What authentication found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Authentication {
    /// A caller with valid credentials.
    Caller(Caller),
    /// No credentials.
    Missing,
    /// Credentials that are not valid; the reason is for the client.
    Invalid(&'static str),
    /// Cannot be told now.
    Unavailable(Problem),
}
