//! What an endpoint promises, as constant data.
//!
//! `#[endpoint(…)]` turns its arguments into one [`EndpointSpec`]; everything else (routing,
//! policies, response headers, start-up checks) reads it and nothing describes an endpoint twice.

use core::fmt;
use core::time::Duration;

use crate::describe::{InBytes, InUnits};
use crate::extract::path_shape::PathProbe;
use crate::policies::deprecation::DeprecationSpec;
use crate::policies::idempotency::IdempotencyPolicy;
use crate::policies::paginate::PaginationPolicy;
use crate::policies::rate_limit::RateLimitSpec;
use crate::policies::version::VersionSpec;
use crate::problem::{ProblemKinds, ProblemsProbe};

/// The request methods that an endpoint can answer.
///
/// `GET` endpoints also answer `HEAD`, as axum's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `GET`: safe, may be cached.
    Get,
    /// `POST`: neither safe nor idempotent by itself.
    Post,
    /// `PUT`: idempotent by definition (RFC 9110 §9.2.2).
    Put,
    /// `PATCH`: neither safe nor idempotent by itself (RFC 5789).
    Patch,
    /// `DELETE`: idempotent by definition.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether sending the request twice has the effect of sending it once, by RFC 9110 §9.2.2.
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Put | Self::Delete)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Only callers that the API's authentication knows.
    Authenticated,
    /// Everybody.
    Public,
}

/// Where an endpoint stands in the source, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLocation {
    /// The module's path.
    pub module: &'static str,
    /// The file, as `file!()` gives it.
    pub file: &'static str,
    /// The line of the attribute, from 1.
    pub line: u32,
}

impl SourceLocation {
    #[doc(hidden)]
    pub const fn new(module: &'static str, file: &'static str, line: u32) -> Self {
        Self { module, file, line }
    }
}

/// Which endpoint is meant: its name, and where it is declared. Two endpoints never share both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointId {
    /// The function's name.
    pub name: &'static str,
    /// Where the endpoint is declared.
    pub location: SourceLocation,
}

impl EndpointId {
    /// The endpoint of this name that is declared there.
    pub const fn new(name: &'static str, location: SourceLocation) -> Self {
        Self { name, location }
    }
}

/// The promise of one endpoint: constant data, made by `#[endpoint(…)]`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EndpointSpec {
    /// The function's name.
    pub name: &'static str,
    /// The request method.
    pub method: Method,
    /// The path template without version prefix, such as `/payments/{id}`.
    pub path: &'static str,
    /// Where the endpoint is declared.
    pub location: SourceLocation,
    /// The first paragraph of the doc comment; empty without one.
    pub summary: &'static str,
    /// The rest of the doc comment.
    pub description: &'static str,
    /// The versions served; `None` mounts the path without prefix.
    pub version: Option<VersionSpec>,
    /// How the endpoint is given up; `None` where it stays.
    pub deprecation: Option<&'static DeprecationSpec>,
    /// What a repeated request does.
    pub idempotency: IdempotencyPolicy,
    /// The rate limits, all of which must admit a request.
    pub rate_limits: &'static [RateLimitSpec],
    /// How a list is cut into pages.
    pub pagination: PaginationPolicy,
    /// The response deadline; `None` takes the API's.
    pub timeout: Option<Duration>,
    /// The largest request body in bytes; `None` takes the API's.
    pub body_limit: Option<u64>,
    /// Who may call.
    pub access: Access,
    #[doc(hidden)]
    pub path_arguments: &'static [Option<PathProbe>],
    #[doc(hidden)]
    pub error: Option<ProblemsProbe>,
}

impl EndpointSpec {
    /// An endpoint without policies that only authenticated callers may use.
    pub const fn new(method: Method, path: &'static str, name: &'static str) -> Self {
        Self {
            name,
            method,
            path,
            location: SourceLocation {
                module: "",
                file: "",
                line: 0,
            },
            summary: "",
            description: "",
            version: None,
            deprecation: None,
            idempotency: IdempotencyPolicy::Undeclared,
            rate_limits: &[],
            pagination: PaginationPolicy::Undeclared,
            timeout: None,
            body_limit: None,
            access: Access::Authenticated,
            path_arguments: &[],
            error: None,
        }
    }

    /// Says where the endpoint is declared.
    #[must_use]
    pub const fn with_location(
        mut self,
        module: &'static str,
        file: &'static str,
        line: u32,
    ) -> Self {
        self.location = SourceLocation { module, file, line };
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn with_id(mut self, id: EndpointId) -> Self {
        (self.name, self.location) = (id.name, id.location);
        self
    }

    /// Adds the documentation.
    #[must_use]
    pub const fn with_docs(mut self, summary: &'static str, description: &'static str) -> Self {
        self.summary = summary;
        self.description = description;
        self
    }

    /// Serves the endpoint under these versions.
    #[must_use]
    pub const fn with_version(mut self, version: VersionSpec) -> Self {
        self.version = Some(version);
        self
    }

    /// Says how the endpoint is given up.
    #[must_use]
    pub const fn with_deprecation(mut self, deprecation: &'static DeprecationSpec) -> Self {
        self.deprecation = Some(deprecation);
        self
    }

    /// Which endpoint this is.
    pub const fn id(&self) -> EndpointId {
        EndpointId {
            name: self.name,
            location: self.location,
        }
    }

    /// Decides what a repeated request does.
    #[must_use]
    pub const fn with_idempotency(mut self, idempotency: IdempotencyPolicy) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Sets the rate limits.
    #[must_use]
    pub const fn with_rate_limits(mut self, limits: &'static [RateLimitSpec]) -> Self {
        self.rate_limits = limits;
        self
    }

    /// Decides how a list is cut into pages.
    #[must_use]
    pub const fn with_pagination(mut self, pagination: PaginationPolicy) -> Self {
        self.pagination = pagination;
        self
    }

    /// Sets the response deadline.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the largest request body, in bytes.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Lets everybody call.
    #[must_use]
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn with_path_arguments(mut self, arguments: &'static [Option<PathProbe>]) -> Self {
        self.path_arguments = arguments;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn with_error(mut self, error: Option<ProblemsProbe>) -> Self {
        self.error = error;
        self
    }

    /// Describes each policy of the endpoint in a few words, such as `idempotent(ttl=24h)`, `100/min` or `public`:
    /// what is declared, with options that are not the default. The words are for people and may change.
    ///
    /// ```
    /// use aplomb::{Api, endpoint, routes};
    ///
    /// #[endpoint(get = "/quotes", public, timeout = "5s", rate_limit("100/min", by = ip))]
    /// async fn quotes() {}
    ///
    /// let api: Api<()> = Api::new("quotes", routes![quotes]);
    /// let policies: Vec<String> = api.endpoints().flat_map(|spec| spec.policies()).collect();
    /// assert_eq!(policies, ["public", "timeout(5s)", "100/min(by=ip)"]);
    /// ```
    pub fn policies(&self) -> Vec<String> {
        let mut policies = Vec::new();
        policies.extend((self.access == Access::Public).then(|| String::from("public")));
        policies.extend(
            self.deprecation
                .map(DeprecationSpec::describe)
                .into_iter()
                .flatten(),
        );
        policies.extend(
            self.timeout
                .map(|timeout| format!("timeout({})", InUnits(timeout))),
        );
        policies.extend(
            self.body_limit
                .map(|bytes| format!("body_limit({})", InBytes(bytes))),
        );
        policies.extend(self.idempotency.describe());
        policies.extend(self.rate_limits.iter().map(RateLimitSpec::describe));
        policies.extend(self.pagination.describe());
        policies
    }

    /// The kinds of problems that the handler's own error can be, as its [`ApiError`](crate::ApiError) tells them;
    /// none where it has another error, or returns no `Result`.
    pub fn problems(&self) -> ProblemKinds {
        let mut kinds = ProblemKinds::default();
        kinds.ask(self.error);
        kinds
    }
}
