//! A problem and its document (RFC 9457).

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::category::Category;
use super::field::{FieldError, truncated};
use super::registry;
use super::spec::{Effects, ProblemSpec};

/// The media type of a problem document (RFC 9457 §3).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error as a response: a problem document for the client, and a cause for the log.
///
/// As a response it is RFC 9457 JSON with the members `type`, `title`, `status`, `detail` and
/// `instance`, and the extensions `code`, `category`, `retryable`, `request_id` and `errors`.
/// `detail` and `errors` are left out if there are none.
///
/// ```
/// use aplomb::problem::{Category, Problem, ProblemSpec};
///
/// const CLOSED: ProblemSpec =
///     ProblemSpec::new(Category::Conflict, "ACCOUNT_CLOSED", "Account closed");
///
/// let problem = Problem::new(&CLOSED).with_detail("the account was closed in May");
/// assert_eq!(problem.status(), 409);
/// ```
#[derive(Clone)]
pub struct Problem(Box<Parts>);

/// The data of a [`Problem`], boxed so that a `Result<_, Problem>` stays small.
#[derive(Clone)]
struct Parts {
    spec: ProblemSpec,
    detail: Option<Cow<'static, str>>,
    cause: Option<String>,
    errors: Vec<FieldError>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The parts of a problem document that depend on the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemContext<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) retry: Retry,
    /// The beginning of `type`. The code of the problem follows it.
    pub(crate) type_base: &'a str,
}

/// The effect of sending the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The request could take effect a second time.
    Unsafe,
    /// The request takes effect only one time, because of its method or its idempotency key.
    Safe,
    /// A retry would get this response again, because it is stored under the idempotency key.
    SameResult,
}

impl Retry {
    /// Returns the effect of retrying a request whose response is not stored.
    pub(crate) const fn of_unstored(idempotent: bool) -> Self {
        if idempotent { Self::Safe } else { Self::Unsafe }
    }
}

/// The beginning of problem types, unless the API sets another one.
pub(crate) const TYPE_BASE: &str = "urn:aplomb:problem:";

/// The maximum number of errors in one document, so that no request can cause a huge response.
pub(crate) const MAX_ERRORS: usize = 100;

impl Problem {
    /// Returns a problem of this kind.
    pub fn new(spec: &ProblemSpec) -> Self {
        Self(Box::new(Parts {
            spec: *spec,
            detail: None,
            cause: None,
            errors: Vec::new(),
            extensions: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// Returns a 500. The cause is written to the log, and is not sent to the client.
    ///
    /// ```
    /// # use aplomb::problem::Problem;
    /// fn read() -> Result<String, Problem> {
    ///     std::fs::read_to_string("settings").map_err(Problem::internal)
    /// }
    /// # assert_eq!(read().unwrap_err().status(), 500);
    /// ```
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(&registry::INTERNAL).with_cause(cause.into().as_ref())
    }

    /// Creates the 503 of a request that exceeds a bound of the service. Its `Retry-After` is random,
    /// so that refused clients do not all return at the same time.
    pub(crate) fn overloaded() -> Self {
        let wait = Duration::from_secs(rand::random_range(1..=3));
        Self::new(&registry::OVERLOADED).with_retry_after(wait)
    }

    /// Sets `detail`, which explains this occurrence to the client. It is cut after 300 characters.
    /// A 5xx ignores `detail`, because the detail of a 5xx is constant.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(truncated(detail.into()));
        self
    }

    /// Sets the cause for the log: the messages of an error and of its sources.
    #[must_use]
    pub fn with_cause(mut self, cause: &dyn std::error::Error) -> Self {
        self.0.cause = Some(error_chain(cause));
        self
    }

    /// Adds an error in the request's data. A document lists the first 100 errors. The document of
    /// a 5xx lists no errors.
    #[must_use]
    pub fn with_error(mut self, error: FieldError) -> Self {
        if self.0.errors.len() < MAX_ERRORS {
            self.0.errors.push(error);
        }
        self
    }

    /// Adds an extension member. A value that cannot be serialized is left out. A member with the
    /// name of a standard member is also left out. The document of a 5xx has no extension members.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        if let Ok(value) = serde_json::to_value(value)
            && !RESERVED_MEMBERS.contains(&name.as_str())
        {
            self.0.extensions.insert(name, value);
        }
        self
    }

    /// Sets the time that the client should wait. `Retry-After` is sent only if the problem is
    /// retryable. A problem that is stored under an idempotency key is not retryable.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.spec.retry_after = Some(wait);
        self
    }

    /// Adds a header field to the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Returns the kind of the problem.
    pub fn spec(&self) -> &ProblemSpec {
        &self.0.spec
    }

    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        self.0.spec.code
    }

    /// Returns the response's status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.spec.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Sets the status that a handler gave to the response of this problem, and the category of
    /// this status. If a 4xx becomes a 5xx, the code, the title and the detail are moved to the
    /// cause, because a 5xx must not show them to the client.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        let previous = self.0.spec;
        if previous.status == status.as_u16() {
            return self;
        }
        if previous.status < 500 && status.is_server_error() {
            let detail = self.0.detail.as_deref().unwrap_or(previous.title);
            let cause = self
                .0
                .cause
                .take()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            self.0.cause = Some(format!("{}: {detail}{cause}", previous.code));
            self.0.spec = registry::for_status(status.as_u16()).with_effects(previous.effects);
        } else {
            self.0.spec = previous.with_status_and_its_category(status.as_u16());
        }
        self
    }

    /// Sets the cause for the log.
    pub(crate) fn with_cause_text(mut self, cause: String) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Returns the cause for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Returns the errors in the request's data.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    pub(crate) fn effects(&self) -> Effects {
        self.0.spec.effects
    }

    fn retryable(&self, context: Option<ProblemContext<'_>>) -> bool {
        match context.map(|context| context.retry) {
            // A stored problem is not retryable, even if its kind is, because a retry only gets the
            // stored response.
            Some(Retry::SameResult) => false,
            retry => self.0.spec.retryable.unwrap_or(retry == Some(Retry::Safe)),
        }
    }

    fn detail(&self) -> Option<&str> {
        if self.0.spec.status >= 500 {
            Some(
                self.0
                    .spec
                    .detail
                    .unwrap_or_else(|| constant_detail(self.0.spec.category)),
            )
        } else {
            self.0.detail.as_deref()
        }
    }

    /// Writes the status, the document and the problem's own header fields into a response. Without
    /// a context the document has neither `instance` nor `request_id`.
    pub(crate) fn write(&self, response: &mut Response, context: Option<ProblemContext<'_>>) {
        let retryable = self.retryable(context);
        let document = Document {
            problem: self,
            context,
            retryable,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        *response.status_mut() = self.status();
        *response.body_mut() = Body::from(body);
        let headers = response.headers_mut();
        // These fields described the previous body.
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_ENCODING);
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        for (name, value) in &self.0.headers {
            headers.insert(name.clone(), value.clone());
        }
        match self.0.spec.retry_after.filter(|_| retryable) {
            Some(wait) => headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait))),
            None => headers.remove(RETRY_AFTER),
        };
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("code", &self.0.spec.code)
            .field("status", &self.0.spec.status)
            .field("detail", &self.0.detail)
            .field("errors", &self.0.errors)
            .field("cause", &self.0.cause)
            .finish_non_exhaustive()
    }
}

/// Returns a 500. The error is written to the log, and is not sent to the client.
#[cfg(feature = "sqlx")]
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        self.write(&mut response, None);
        response.extensions_mut().insert(self);
        response
    }
}

struct Document<'a> {
    problem: &'a Problem,
    context: Option<ProblemContext<'a>>,
    retryable: bool,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = &*self.problem.0;
        let base = self.context.map_or(TYPE_BASE, |context| context.type_base);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("{base}{}", inner.spec.code))?;
        map.serialize_entry("title", inner.spec.title)?;
        map.serialize_entry("status", &inner.spec.status)?;
        if let Some(detail) = self.problem.detail() {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(context) = self.context {
            map.serialize_entry(
                "instance",
                &format_args!("urn:aplomb:request:{}", context.request_id),
            )?;
        }
        map.serialize_entry("code", inner.spec.code)?;
        map.serialize_entry("category", &inner.spec.category)?;
        map.serialize_entry("retryable", &self.retryable)?;
        if let Some(context) = self.context {
            map.serialize_entry("request_id", context.request_id)?;
        }
        // A 5xx shows nothing about its cause to the client.
        if inner.spec.status < 500 {
            if !inner.errors.is_empty() {
                map.serialize_entry("errors", &inner.errors)?;
            }
            for (name, value) in &inner.extensions {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// The standard members, which an extension cannot replace.
pub(crate) const RESERVED_MEMBERS: &[&str] = &[
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "category",
    "retryable",
    "request_id",
    "errors",
];

fn constant_detail(category: Category) -> &'static str {
    match category {
        Category::Dependency => "the service is temporarily unavailable",
        _ => "the service failed; its log has the cause under this `request_id`",
    }
}

/// Returns the messages of an error and its sources, separated by colons.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns a duration in whole seconds, rounded up. The result is at least 1.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    seconds_rounded_up(wait).max(1)
}

/// Returns a duration in whole seconds, rounded up.
pub(crate) fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Returns the document as JSON.
#[cfg(test)]
pub(super) fn rendered(problem: &Problem, context: ProblemContext<'_>) -> Value {
    let retryable = problem.retryable(Some(context));
    serde_json::to_value(Document {
        problem,
        context: Some(context),
        retryable,
    })
    .expect("a document is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Location;

    #[test]
    fn an_overload_is_retryable_after_one_to_three_seconds() {
        for _ in 0..50 {
            let problem = Problem::overloaded();
            let spec = problem.spec();
            assert_eq!(
                (spec.code, spec.status, spec.retryable),
                ("OVERLOADED", 503, Some(true))
            );
            let wait = spec.retry_after.expect("a time").as_secs();
            assert!((1..=3).contains(&wait));
        }
    }

    fn document(problem: &Problem, context: Option<ProblemContext<'_>>) -> Value {
        let retryable = problem.retryable(context);
        serde_json::to_value(Document {
            problem,
            context,
            retryable,
        })
        .expect("a document is JSON")
    }

    #[test]
    fn f02_the_detail_of_a_5xx_is_constant() {
        let problem = Problem::internal("disk full").with_detail("disk full");
        let document = document(&problem, None);
        assert!(!document.to_string().contains("disk full"));
        assert_eq!(problem.cause(), Some("disk full"));
    }

    #[test]
    fn f02_a_5xx_shows_neither_extensions_nor_errors() {
        let error = FieldError::new(Location::Pointer("#/secret".into()), "SECRET", "secret");
        let problem = Problem::new(&registry::INTERNAL)
            .with_extension("secret", "secret")
            .with_error(error);
        assert!(!document(&problem, None).to_string().contains("secret"));
    }

    #[test]
    fn f02_a_5xx_status_set_on_a_4xx_problem_moves_its_details_to_the_log() {
        const SOLD_OUT: ProblemSpec = ProblemSpec::new(Category::Conflict, "SOLD_OUT", "Sold out");
        let conflict = Problem::new(&SOLD_OUT)
            .with_detail("7 left")
            .with_extension("left", 7);
        let problem = conflict
            .clone()
            .with_status(StatusCode::SERVICE_UNAVAILABLE);
        let document = document(&problem, None);
        let members: Vec<_> = document
            .as_object()
            .expect("members")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            members,
            [
                "category",
                "code",
                "detail",
                "retryable",
                "status",
                "title",
                "type"
            ]
        );
        assert_eq!(
            (&document["code"], &document["category"]),
            (&"SERVICE_UNAVAILABLE".into(), &"dependency".into())
        );
        assert_eq!(problem.cause(), Some("SOLD_OUT: 7 left"));
        let problem = conflict
            .with_cause(&std::io::Error::other("why"))
            .with_status(StatusCode::BAD_GATEWAY);
        assert_eq!(
            (problem.cause(), problem.status().as_u16()),
            (Some("SOLD_OUT: 7 left: why"), 502)
        );
    }

    #[test]
    fn f02_the_category_follows_the_status_that_a_handler_sets() {
        const CLOSED: ProblemSpec =
            ProblemSpec::new(Category::Conflict, "CLOSED", "Closed").with_retryable(true);
        let changed = |status: u16| {
            let status = StatusCode::from_u16(status).expect("a status");
            document(&Problem::new(&CLOSED).with_status(status), None)
        };
        let gone = changed(410);
        assert_eq!(
            (&gone["code"], &gone["category"]),
            (&"CLOSED".into(), &"gone".into())
        );
        assert_eq!(
            (&gone["status"], &gone["retryable"]),
            (&410.into(), &false.into())
        );
        assert_eq!(changed(412)["retryable"], true);
    }

    #[test]
    fn f03_extensions_cannot_replace_standard_members() {
        let problem = Problem::new(&registry::CONFLICT)
            .with_extension("code", "X")
            .with_extension("available", 7);
        let document = document(&problem, None);
        assert_eq!(document["code"], "CONFLICT");
        assert_eq!(document["available"], 7);
    }

    #[test]
    fn f05_retry_after_is_sent_only_if_retryable() {
        let problem = Problem::new(&registry::DEADLINE_EXCEEDED)
            .with_retry_after(Duration::from_millis(1200));
        let header = |retry| {
            let context = ProblemContext {
                request_id: "r",
                retry,
                type_base: TYPE_BASE,
            };
            let mut response = Response::new(Body::empty());
            problem.write(&mut response, Some(context));
            response.headers().get(RETRY_AFTER).cloned()
        };
        assert_eq!(header(Retry::Safe), Some(HeaderValue::from(2)));
        assert_eq!(header(Retry::Unsafe), None);
        assert_eq!(header(Retry::SameResult), None);
    }

    #[test]
    fn a16_a_stored_problem_is_not_retryable_even_if_its_kind_is() {
        let problem = Problem::new(&registry::CONFLICT.with_retryable(true));
        let retryable = |retry| {
            document(
                &problem,
                Some(ProblemContext {
                    request_id: "r",
                    retry,
                    type_base: TYPE_BASE,
                }),
            )["retryable"]
                .clone()
        };
        assert_eq!(retryable(Retry::SameResult), false);
        assert_eq!(retryable(Retry::Safe), true);
        assert_eq!(retryable(Retry::Unsafe), true);
    }

    #[test]
    fn f04_a_document_lists_at_most_100_errors() {
        let error = || FieldError::new(Location::Pointer("#/a".into()), "X", "x");
        let problem = (0..200).fold(Problem::new(&registry::VALIDATION_FAILED), |p, _| {
            p.with_error(error())
        });
        assert_eq!(problem.errors().len(), MAX_ERRORS);
    }
}
