//! The categories of problems.

use core::fmt;

use serde::{Serialize, Serializer};

/// The category of an error, from which a client decides how to react.
///
/// | category | status | the client should |
/// |---|---|---|
/// | `validation` | 400, 413, 415, 422 | correct the request |
/// | `auth` | 401, 403 | authenticate again |
/// | `not_found`, `gone` | 404, 410 | stop requesting it |
/// | `conflict` | 409, 412, 428 | read the resource again, then decide |
/// | `rate_limited` | 429 | wait, then retry |
/// | `dependency` | 502, 503, 504 | retry later |
/// | `internal` | 500 | report the error |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The request is invalid.
    Validation,
    /// The caller is not authenticated, or not permitted.
    Auth,
    /// The resource does not exist, or the caller may not see it.
    NotFound,
    /// The resource existed and is gone.
    Gone,
    /// The request conflicts with the current state of the resource.
    Conflict,
    /// The client sent too many requests.
    RateLimited,
    /// A system that the service depends on did not respond.
    Dependency,
    /// The service failed.
    Internal,
}

impl Category {
    /// Returns the default status of a problem.
    pub const fn default_status(self) -> u16 {
        match self {
            Self::Validation => 422,
            Self::Auth => 401,
            Self::NotFound => 404,
            Self::Gone => 410,
            Self::Conflict => 409,
            Self::RateLimited => 429,
            Self::Dependency => 503,
            Self::Internal => 500,
        }
    }

    /// Returns the name of the category in a document, such as `not_found`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::RateLimited => "rate_limited",
            Self::Dependency => "dependency",
            Self::Internal => "internal",
        }
    }

    /// Returns the category of an error status.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            404 => Self::NotFound,
            410 => Self::Gone,
            409 | 412 | 428 => Self::Conflict,
            429 => Self::RateLimited,
            502..=504 => Self::Dependency,
            400..=499 => Self::Validation,
            _ => Self::Internal,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
