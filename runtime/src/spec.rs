//! The declaration of an endpoint, as constant data.
//!
//! `#[endpoint(…)]` turns its arguments into one [`EndpointSpec`]. Routing, policies, response
//! fields and start-up checks all read this spec, so that they cannot disagree.

use core::fmt;
use core::time::Duration;

use crate::describe::{ByteSize, InUnits};
use crate::extract::path_shape::PathProbe;
use crate::policies::deprecation::DeprecationSpec;
use crate::policies::idempotency::{IdempotencyPolicy, IdempotencySpec, OnCrash};
use crate::policies::paginate::PaginationPolicy;
use crate::policies::rate_limit::RateLimitSpec;
use crate::policies::version::VersionSpec;
use crate::problem::ProblemKinds;

/// The request method of an endpoint.
///
/// A `GET` endpoint also serves `HEAD`, as in axum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `GET`: safe and cacheable.
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
    /// Returns the name of the method, such as `GET`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Returns whether sending a request twice has the same effect as sending it once (RFC 9110
    /// §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Put | Self::Delete)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of database in which the transaction of a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Database {
    /// Returns the type of the database in sqlx, such as `Sqlite`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "Sqlite",
            Self::Postgres => "Postgres",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The callers that an endpoint admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Only callers that the API's authentication identifies.
    Authenticated,
    /// All callers, with or without credentials.
    Public,
}

/// The location of an endpoint in the source, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLocation {
    /// The module's path.
    pub module: &'static str,
    /// The file, as `file!()` returns it.
    pub file: &'static str,
    /// The line of the attribute, counted from 1.
    pub line: u32,
}

impl SourceLocation {
    #[doc(hidden)]
    pub const fn new(module: &'static str, file: &'static str, line: u32) -> Self {
        Self { module, file, line }
    }
}

/// The identity of an endpoint: its name and its location in the source. No two endpoints have the
/// same name and location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointId {
    /// The function's name.
    pub name: &'static str,
    /// The location of the declaration.
    pub location: SourceLocation,
}

impl EndpointId {
    /// Returns the identity of the endpoint with this name at this location.
    pub const fn new(name: &'static str, location: SourceLocation) -> Self {
        Self { name, location }
    }
}

/// The declaration of one endpoint: constant data, made by `#[endpoint(…)]`.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EndpointSpec {
    /// The function's name.
    pub name: &'static str,
    /// The request method.
    pub method: Method,
    /// The path template without version prefix, such as `/payments/{id}`.
    pub path: &'static str,
    /// The location of the declaration.
    pub location: SourceLocation,
    /// The first paragraph of the doc comment; empty without one.
    pub summary: &'static str,
    /// The rest of the doc comment.
    pub description: &'static str,
    /// The versions that the endpoint serves. With `None`, the path has no version prefix.
    pub version: Option<VersionSpec>,
    /// The deprecation and the sunset; `None` if the endpoint declares neither.
    pub deprecation: Option<&'static DeprecationSpec>,
    /// The effect of a repeated request.
    pub idempotency: IdempotencyPolicy,
    /// The rate limits. All of them must admit a request.
    pub rate_limits: &'static [RateLimitSpec],
    /// The pagination of a list.
    pub pagination: PaginationPolicy,
    /// The response deadline; `None` means the default of the API.
    pub timeout: Option<Duration>,
    /// The maximum size of a request body, in bytes; `None` means the default of the API.
    pub body_limit: Option<u64>,
    /// The callers that the endpoint admits.
    pub access: Access,
    /// The database of the handler's transaction; `None` if no argument is a `Tx`.
    pub transaction: Option<Database>,
    #[doc(hidden)]
    pub path_arguments: &'static [Option<PathProbe>],
    #[doc(hidden)]
    pub error: Option<fn(&mut ProblemKinds)>,
}

impl EndpointSpec {
    /// Returns an endpoint without policies, for authenticated callers only.
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
            transaction: None,
            path_arguments: &[],
            error: None,
        }
    }

    /// Sets the location of the declaration.
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

    /// Sets the database of the handler's transaction.
    #[must_use]
    pub const fn with_transaction(mut self, database: Option<Database>) -> Self {
        self.transaction = database;
        self
    }

    /// Sets the documentation.
    #[must_use]
    pub const fn with_docs(mut self, summary: &'static str, description: &'static str) -> Self {
        self.summary = summary;
        self.description = description;
        self
    }

    /// Sets the versions that the endpoint serves.
    #[must_use]
    pub const fn with_version(mut self, version: VersionSpec) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the deprecation and the sunset.
    #[must_use]
    pub const fn with_deprecation(mut self, deprecation: &'static DeprecationSpec) -> Self {
        self.deprecation = Some(deprecation);
        self
    }

    /// Returns the identity of the endpoint.
    pub const fn id(&self) -> EndpointId {
        EndpointId {
            name: self.name,
            location: self.location,
        }
    }

    /// Sets the effect of a repeated request.
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

    /// Sets the pagination of a list.
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

    /// Sets the maximum size of a request body, in bytes.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Admits all callers, with or without credentials.
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
    pub const fn with_error(mut self, error: Option<fn(&mut ProblemKinds)>) -> Self {
        self.error = error;
        self
    }

    /// Returns a short description of each declared policy, such as `idempotent(ttl=24h)`,
    /// `100/min` or `public`. Options with their default value are left out. The descriptions are
    /// for human readers, and may change.
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
                .map(|bytes| format!("body_limit({})", ByteSize(bytes))),
        );
        policies.extend(self.idempotency.describe());
        policies.extend(self.transaction.map(|database| format!("tx({database})")));
        policies.extend(self.rate_limits.iter().map(RateLimitSpec::describe));
        policies.extend(self.pagination.describe());
        policies
    }

    /// Returns the settings for idempotency keys, and the response to a retry after the process of
    /// the first run has died. Returns `None` if the endpoint takes no keys.
    pub(crate) fn keys(&self) -> Option<(IdempotencySpec, OnCrash)> {
        let spec = self.idempotency.spec()?;
        let default = match self.transaction {
            Some(_) => OnCrash::Rerun,
            None => OnCrash::Unknown,
        };
        Some((spec, spec.on_crash.unwrap_or(default)))
    }

    /// Returns the kinds of problems that the handler's error can become. The result is empty if
    /// the error is not an [`ApiError`](crate::ApiError), or if the handler returns no `Result`.
    pub fn problems(&self) -> ProblemKinds {
        let mut kinds = ProblemKinds::default();
        kinds.include_probe(self.error);
        kinds
    }
}
