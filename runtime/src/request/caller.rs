use core::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::problem::{Problem, registry};

/// The authenticated caller of a request: who it is, not how that was proven.
///
/// As an argument of an endpoint it is the caller that the API's authentication found. On a
/// `public` endpoint take an `Option<Caller>`: `None` without valid credentials.
///
/// ```
/// use aplomb::auth::Caller;
///
/// async fn greet(caller: Option<Caller>) -> String {
///     format!("hello, {}", caller.as_ref().map_or("stranger", Caller::id))
/// }
/// # let _ = axum::Router::<()>::new().route("/", axum::routing::get(greet));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    id: Arc<str>,
}

impl Caller {
    /// A caller with this stable identity. It outlives credentials: whoever changes a key stays
    /// the same caller.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into() }
    }

    /// The caller that the API's authentication found.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        parts
            .extensions
            .get::<AuthenticatedCaller>()
            .map(|AuthenticatedCaller(caller)| caller.clone())
    }

    /// The stable identity.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.id).finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(parts).ok_or_else(|| Problem::new(&registry::UNAUTHENTICATED))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(Self::of(parts))
    }
}

/// The caller as the extractors find it. Only the pipeline makes one, so that a layer that puts a
/// [`Caller`] into a request's extensions authenticates nobody.
#[derive(Clone)]
pub(crate) struct AuthenticatedCaller(pub(crate) Caller);
