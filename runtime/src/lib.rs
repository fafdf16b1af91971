//! Production HTTP endpoints on axum.

pub mod auth;
mod endpoint;
pub mod extract;
pub mod id;
pub mod policies;
pub mod problem;
pub mod respond;
mod spec;

#[doc = include_str!("reference/api_error.md")]
pub use aplomb_macros::ApiError;
#[doc = include_str!("reference/resource.md")]
pub use aplomb_macros::Resource;
#[doc = include_str!("reference/endpoint.md")]
pub use aplomb_macros::endpoint;
#[doc = include_str!("reference/routes.md")]
pub use aplomb_macros::routes;
pub use http::Uri;

pub use crate::endpoint::{Endpoint, IsList, Routes};
pub use crate::extract::{Json, Path, Query};
pub use crate::id::{Id, Resource};
pub use crate::problem::ApiError;
pub use crate::respond::{Created, NoContent};
pub use crate::spec::{Access, EndpointSpec, Method, SourceLocation};

/// What the macros' output names. Not for use by hand; may change with any release.
#[doc(hidden)]
pub mod __private {
    pub use axum::extract::Request;
    pub use axum::response::{IntoResponse, Response};
    pub use serde::Serialize;

    pub use crate::endpoint::*;
    pub use crate::policies::idempotency::{IdempotencyPolicy, IdempotencySpec};
    pub use crate::policies::paginate::{PageLimits, PaginationPolicy};
    pub use crate::policies::rate_limit::{Algorithm, LimitBy, RateLimitSpec};
    pub use crate::policies::version::VersionSpec;
    pub use crate::problem::registry::VALIDATION_FAILED;
    pub use crate::problem::{Category, FieldError, Location, Problem, ProblemSpec, error_response};
}
