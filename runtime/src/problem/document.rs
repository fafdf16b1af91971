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
use super::field::{FieldError, shortened};
use super::registry;
use super::spec::{Effects, ProblemSpec};

/// The media type of a problem document (RFC 9457 §3).
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A problem document: what went wrong, for the client, and why, for the operator.
///
/// As a response it is RFC 9457 JSON with the members `type`, `title`, `status`, `detail`,
/// `instance` and the extensions `code`, `category`, `retryable`, `request_id` and, where there are
/// any, `errors`.
///
/// ```
/// use aplomb::problem::{Category, Problem, ProblemSpec};
///
/// const CLOSED: ProblemSpec = ProblemSpec::new(Category::Conflict, "ACCOUNT_CLOSED", "Account closed");
///
/// let problem = Problem::new(&CLOSED).with_detail("the account was closed in May");
/// assert_eq!(problem.status(), 409);
/// ```
#[derive(Clone)]
pub struct Problem(Box<Parts>);

#[derive(Clone)]
struct Parts {
    spec: ProblemSpec,
    detail: Option<Cow<'static, str>>,
    cause: Option<String>,
    errors: Vec<FieldError>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the pipeline knows of a request that a problem document tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemContext<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) repeat: Retry,
    pub(crate) type_base: &'a str,
}

/// What the same request would meet if it were sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It would have its effect a second time.
    Unsafe,
    /// It would have no second effect, by its method or by its key.
    Safe,
    /// It would get this very answer, which is kept: to send it again cannot help.
    SameResult,
}

impl Retry {
    /// That of a request whose answer is not kept.
    pub(crate) const fn of_unstored(idempotent: bool) -> Self {
        if idempotent { Self::Safe } else { Self::Unsafe }
    }
}

/// The base of problem types, unless the API sets another.
pub(crate) const TYPE_BASE: &str = "urn:aplomb:problem:";

/// The most mistakes that one document lists.
pub(crate) const MAX_ERRORS: usize = 100;

impl Problem {
    /// A problem of this kind.
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

    /// A 500 whose cause goes to the log and not to the client.
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

    /// Explains this occurrence to the client. Ignored for a 5xx, whose detail is constant.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(shortened(detail.into()));
        self
    }

    /// Keeps an error and its sources for the log.
    #[must_use]
    pub fn with_cause(mut self, cause: &dyn std::error::Error) -> Self {
        self.0.cause = Some(chain(cause));
        self
    }

    /// Adds a mistake in the request's data. A document lists at most 100, and that of a 5xx none.
    #[must_use]
    pub fn with_error(mut self, error: FieldError) -> Self {
        if self.0.errors.len() < MAX_ERRORS {
            self.0.errors.push(error);
        }
        self
    }

    /// Adds an extension member. A value that cannot be serialised is left out; the standard
    /// members cannot be replaced. That of a 5xx has none.
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

    /// Says how long to wait. Sent only where the problem is retryable, which one that is kept under
    /// an idempotency key is not.
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

    /// What kind of problem it is.
    pub fn spec(&self) -> &ProblemSpec {
        &self.0.spec
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.spec.code
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.spec.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Takes the status that a handler has set over the problem, and the category of that status. Where
    /// that turns a 4xx into a 5xx, what happened is for the log alone, code and title included.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        let was = self.0.spec;
        if was.status == status.as_u16() {
            return self;
        }
        if was.status < 500 && status.is_server_error() {
            let detail = self.0.detail.as_deref().unwrap_or(was.title);
            let cause = self
                .0
                .cause
                .take()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            self.0.cause = Some(format!("{}: {detail}{cause}", was.code));
            self.0.spec = registry::for_status(status.as_u16()).with_effects(was.effects);
        } else {
            self.0.spec = was.with_status_of_any_category(status.as_u16());
        }
        self
    }

    /// Says what happened to the operator.
    pub(crate) fn with_cause_text(mut self, cause: String) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// What happened, for the operator.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The mistakes in the request's data.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    pub(crate) fn effects(&self) -> Effects {
        self.0.spec.effects
    }

    fn retryable(&self, occasion: Option<ProblemContext<'_>>) -> bool {
        match occasion.map(|occasion| occasion.repeat) {
            Some(Retry::SameResult) => false,
            repeat => self.0.spec.retryable.unwrap_or(repeat == Some(Retry::Safe)),
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

    /// Writes status, body and the problem's own header fields into a response.
    pub(crate) fn write(&self, response: &mut Response, occasion: Option<ProblemContext<'_>>) {
        let retryable = self.retryable(occasion);
        let document = Document {
            problem: self,
            occasion,
            retryable,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        *response.status_mut() = self.status();
        *response.body_mut() = Body::from(body);
        let headers = response.headers_mut();
        // Of the body that was there before.
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
    occasion: Option<ProblemContext<'a>>,
    retryable: bool,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = &*self.problem.0;
        let base = self
            .occasion
            .map_or(TYPE_BASE, |occasion| occasion.type_base);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("{base}{}", inner.spec.code))?;
        map.serialize_entry("title", inner.spec.title)?;
        map.serialize_entry("status", &inner.spec.status)?;
        if let Some(detail) = self.problem.detail() {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(occasion) = self.occasion {
            map.serialize_entry(
                "instance",
                &format_args!("urn:aplomb:request:{}", occasion.request_id),
            )?;
        }
        map.serialize_entry("code", inner.spec.code)?;
        map.serialize_entry("category", &inner.spec.category)?;
        map.serialize_entry("retryable", &self.retryable)?;
        if let Some(occasion) = self.occasion {
            map.serialize_entry("request_id", occasion.request_id)?;
        }
        // A 5xx tells nothing of what happened.
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

/// Members that an extension cannot replace.
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
        Category::Dependency => "the service cannot answer now",
        _ => "the service made a mistake; the log has it under the request id",
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Whole seconds, rounded up, at least one.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    seconds_up(wait).max(1)
}

/// Whole seconds, rounded up.
pub(crate) fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The document as JSON.
#[cfg(test)]
pub(super) fn rendered(problem: &Problem, occasion: ProblemContext<'_>) -> Value {
    let retryable = problem.retryable(Some(occasion));
    serde_json::to_value(Document {
        problem,
        occasion: Some(occasion),
        retryable,
    })
    .expect("a document is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Location;

    fn document(problem: &Problem, occasion: Option<ProblemContext<'_>>) -> Value {
        let retryable = problem.retryable(occasion);
        serde_json::to_value(Document {
            problem,
            occasion,
            retryable,
        })
        .expect("a document is JSON")
    }

    #[test]
    fn f02_detail_of_a_5xx_is_constant() {
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
    fn f02_a_5xx_that_a_handler_sets_over_a_4xx_tells_only_the_log_what_happened() {
        const BROKE: ProblemSpec = ProblemSpec::new(Category::Conflict, "BROKE", "Broke");
        let made = Problem::new(&BROKE)
            .with_detail("7 left")
            .with_extension("left", 7);
        let problem = made.clone().with_status(StatusCode::SERVICE_UNAVAILABLE);
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
        assert_eq!(problem.cause(), Some("BROKE: 7 left"));
        let problem = made
            .with_cause(&std::io::Error::other("why"))
            .with_status(StatusCode::BAD_GATEWAY);
        assert_eq!(
            (problem.cause(), problem.status().as_u16()),
            (Some("BROKE: 7 left: why"), 502)
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
    fn f05_retry_after_only_where_retryable() {
        let problem = Problem::new(&registry::DEADLINE_EXCEEDED)
            .with_retry_after(Duration::from_millis(1200));
        let header = |repeat| {
            let occasion = ProblemContext {
                request_id: "r",
                repeat,
                type_base: TYPE_BASE,
            };
            let mut response = Response::new(Body::empty());
            problem.write(&mut response, Some(occasion));
            response.headers().get(RETRY_AFTER).cloned()
        };
        assert_eq!(header(Retry::Safe), Some(HeaderValue::from(2)));
        assert_eq!(header(Retry::Unsafe), None);
        assert_eq!(header(Retry::SameResult), None);
    }

    #[test]
    fn a16_what_is_kept_is_not_retryable_whatever_its_kind_says() {
        let problem = Problem::new(&registry::CONFLICT.with_retryable(true));
        let retryable = |repeat| {
            document(
                &problem,
                Some(ProblemContext {
                    request_id: "r",
                    repeat,
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
    fn f04_at_most_a_hundred_errors() {
        let error = || FieldError::new(Location::Pointer("#/a".into()), "X", "x");
        let problem = (0..200).fold(Problem::new(&registry::VALIDATION_FAILED), |p, _| {
            p.with_error(error())
        });
        assert_eq!(problem.errors().len(), MAX_ERRORS);
    }
}
