//! Who calls.
//!
//! An API has one way of authentication, set with [`Api::auth`](crate::Api::auth). It runs before
//! any policy and before the body is read; what it finds is the [`Caller`] of limits, idempotency
//! records and cursors. An address whose requests fail to authenticate a hundred times in a minute is
//! answered 429 instead of 401; valid credentials are not affected.

mod api_keys;
mod caller;
mod tags;

use core::fmt;

use axum::extract::Request;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::request::Parts;

pub use api_keys::ApiKeys;
pub use caller::Caller;
pub(crate) use tags::{Tags, kind_and_id};

use crate::problem::Problem;
use crate::start::StartError;

/// A way to tell who calls.
pub trait Authenticate: fmt::Debug + Send + Sync + 'static {
    /// The caller of a request.
    fn authenticate<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, Authentication>;

    /// The same, where it can be told without waiting, as from a table in memory: a request then gets by with
    /// less. `None` where it cannot; then [`authenticate`](Self::authenticate) is asked.
    fn authenticate_at_once(&self, _request: &Request) -> Option<Authentication> {
        None
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
    Failed(Problem),
}
