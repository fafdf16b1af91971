//! The authenticated caller of a request.

use core::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::problem::{Problem, registry};

/// The authenticated caller of a request: an identity, without its credentials.
///
/// As an argument of an endpoint, `Caller` is the caller that the API's authentication identified.
/// A `public` endpoint takes an `Option<Caller>`, which is `None` without valid credentials.
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
    /// Creates a caller with a stable identity. The identity must not change with the credentials,
    /// because rate limits and idempotency keys belong to the identity.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into() }
    }

    /// Returns the caller that the API's authentication identified.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        parts
            .extensions
            .get::<AuthenticatedCaller>()
            .map(|AuthenticatedCaller(caller)| caller.clone())
    }

    /// Returns the stable identity.
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

/// The caller in a request's extensions, where extractors find it. Only the pipeline can create
/// this type. A [`Caller`] that a layer puts into the extensions is ignored, so no layer can
/// authenticate a request by mistake.
#[derive(Clone)]
pub(crate) struct AuthenticatedCaller(pub(crate) Caller);
