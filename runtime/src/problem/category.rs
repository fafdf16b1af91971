use core::fmt;

use serde::{Serialize, Serializer};

/// What kind of mistake a problem is, and so what the client should do.
///
/// | category | status | the client should |
/// |---|---|---|
/// | `validation` | 400, 413, 415, 422 | fix its data |
/// | `auth` | 401, 403 | authenticate again |
/// | `not_found`, `gone` | 404, 410 | stop |
/// | `conflict` | 409, 412, 428 | refresh and decide again |
/// | `rate_limited` | 429 | wait |
/// | `dependency` | 502, 503, 504 | retry later |
/// | `internal` | 500 | report |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The request is wrong as it stands.
    Validation,
    /// The caller is not known, or may not.
    Auth,
    /// There is no such thing, as far as this caller may know.
    NotFound,
    /// There was such a thing.
    Gone,
    /// The state of the thing forbids it now.
    Conflict,
    /// Too many requests.
    RateLimited,
    /// Something that the service needs did not answer.
    Dependency,
    /// A mistake of the service.
    Internal,
}

impl Category {
    /// The status of a problem of this category that does not choose another.
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

    /// Its name in a document, such as `not_found`.
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
