//! The codes of the framework. Each code has a page, `docs/problems/<CODE>.md`.

use core::time::Duration;

use super::category::Category;
use super::spec::ProblemSpec;

/// 400: the endpoint requires an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MISSING: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "IDEMPOTENCY_KEY_MISSING",
    "Idempotency key missing",
)
.with_status(400);
/// 400: the `Idempotency-Key` field is not one key of 1 to 255 characters.
pub const IDEMPOTENCY_KEY_INVALID: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "IDEMPOTENCY_KEY_INVALID",
    "Idempotency key invalid",
)
.with_status(400);
/// 422: the key was used for another request.
pub const IDEMPOTENCY_KEY_REUSED: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "IDEMPOTENCY_KEY_REUSED",
    "Idempotency key reused",
)
.with_status(422);
/// 409: the first request with this key is still running.
pub const IDEMPOTENCY_IN_FLIGHT: ProblemSpec = ProblemSpec::new(
    Category::Conflict,
    "IDEMPOTENCY_IN_FLIGHT",
    "Request in flight",
)
.with_status(409)
.with_retryable(true)
.with_retry_after(Duration::from_secs(1));
/// 500: the first request with this key ended without a known outcome.
pub const IDEMPOTENCY_OUTCOME_UNKNOWN: ProblemSpec = ProblemSpec::new(
    Category::Internal,
    "IDEMPOTENCY_OUTCOME_UNKNOWN",
    "Outcome unknown",
)
.with_status(500)
.with_detail(
    "the first request with this key may or may not have taken effect; find out which before you \
     send it with a new key",
);
/// 410: the first request succeeded, but its response was too large to store.
pub const IDEMPOTENCY_RESPONSE_NOT_RETAINED: ProblemSpec = ProblemSpec::new(
    Category::Gone,
    "IDEMPOTENCY_RESPONSE_NOT_RETAINED",
    "Response not retained",
)
.with_status(410);
/// 429: the caller has too many idempotency keys in a store that is almost full. The handler did
/// not run.
pub const IDEMPOTENCY_QUOTA_EXCEEDED: ProblemSpec = ProblemSpec::new(
    Category::RateLimited,
    "IDEMPOTENCY_QUOTA_EXCEEDED",
    "Idempotency quota exceeded",
)
.with_status(429);
/// 429: a rate limit is exhausted.
pub const RATE_LIMITED: ProblemSpec =
    ProblemSpec::new(Category::RateLimited, "RATE_LIMITED", "Too many requests").with_status(429);
/// 400: the cursor was not issued for this list, caller, filters and order.
pub const INVALID_CURSOR: ProblemSpec =
    ProblemSpec::new(Category::Validation, "INVALID_CURSOR", "Invalid cursor").with_status(400);
/// 400: a path or query parameter is not of the expected type or format.
pub const INVALID_PARAMETER: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "INVALID_PARAMETER",
    "Invalid parameter",
)
.with_status(400);
/// 422: the request is well-formed, but its data is not accepted.
pub const VALIDATION_FAILED: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "VALIDATION_FAILED",
    "Validation failed",
)
.with_status(422);
/// 400: the body is not JSON.
pub const MALFORMED_JSON: ProblemSpec =
    ProblemSpec::new(Category::Validation, "MALFORMED_JSON", "Malformed JSON").with_status(400);
/// 400: the body ended before its announced length, or its framing is invalid.
pub const BODY_INCOMPLETE: ProblemSpec =
    ProblemSpec::new(Category::Validation, "BODY_INCOMPLETE", "Body incomplete").with_status(400);
/// 415: the endpoint does not accept bodies of this media type or content coding.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "UNSUPPORTED_MEDIA_TYPE",
    "Unsupported media type",
)
.with_status(415);
/// 413: the body is larger than the endpoint accepts.
pub const BODY_TOO_LARGE: ProblemSpec =
    ProblemSpec::new(Category::Validation, "BODY_TOO_LARGE", "Body too large").with_status(413);
/// 414: the path and query are longer than the service accepts.
pub const URI_TOO_LONG: ProblemSpec =
    ProblemSpec::new(Category::Validation, "URI_TOO_LONG", "URI too long").with_status(414);
/// 431: the header section is larger than the service accepts.
pub const HEADERS_TOO_LARGE: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "HEADERS_TOO_LARGE",
    "Headers too large",
)
.with_status(431);
/// 400: the request is malformed.
pub const BAD_REQUEST: ProblemSpec =
    ProblemSpec::new(Category::Validation, "BAD_REQUEST", "Bad request").with_status(400);
/// 408: the request's body did not arrive in time.
pub const REQUEST_TIMEOUT: ProblemSpec =
    ProblemSpec::new(Category::Validation, "REQUEST_TIMEOUT", "Request timeout")
        .with_status(408)
        .with_retryable(true);
/// 401: the request carries no valid credentials.
pub const UNAUTHENTICATED: ProblemSpec =
    ProblemSpec::new(Category::Auth, "UNAUTHENTICATED", "Unauthenticated").with_status(401);
/// 403: the caller may not do this.
pub const FORBIDDEN: ProblemSpec =
    ProblemSpec::new(Category::Auth, "FORBIDDEN", "Forbidden").with_status(403);
/// 404: the resource does not exist, or the caller may not see it.
pub const NOT_FOUND: ProblemSpec =
    ProblemSpec::new(Category::NotFound, "NOT_FOUND", "Not found").with_status(404);
/// 405: the resource does not support this method; `Allow` lists the methods that it supports.
pub const METHOD_NOT_ALLOWED: ProblemSpec = ProblemSpec::new(
    Category::Validation,
    "METHOD_NOT_ALLOWED",
    "Method not allowed",
)
.with_status(405);
/// 409: the request conflicts with the current state of the resource.
pub const CONFLICT: ProblemSpec =
    ProblemSpec::new(Category::Conflict, "CONFLICT", "Conflict").with_status(409);
/// 412: a precondition of the request is not met.
pub const PRECONDITION_FAILED: ProblemSpec = ProblemSpec::new(
    Category::Conflict,
    "PRECONDITION_FAILED",
    "Precondition failed",
)
.with_status(412);
/// 410: the resource existed and is gone.
pub const GONE: ProblemSpec = ProblemSpec::new(Category::Gone, "GONE", "Gone").with_status(410);
/// 410: the endpoint's sunset has passed.
pub const VERSION_GONE: ProblemSpec =
    ProblemSpec::new(Category::Gone, "VERSION_GONE", "Version gone").with_status(410);
/// 504: the endpoint did not respond within its deadline.
pub const DEADLINE_EXCEEDED: ProblemSpec = ProblemSpec::new(
    Category::Dependency,
    "DEADLINE_EXCEEDED",
    "Deadline exceeded",
)
.with_status(504)
.with_detail("the service did not respond in time");
/// 503: the store does not respond, or has no room. The handler did not run, or its transaction was
/// rolled back. Endpoints with an
/// idempotency key need the store. A rate limit needs the store only with `on_error = deny`. While
/// the store does not respond, each instance decides the other limits alone.
pub const STORE_UNAVAILABLE: ProblemSpec = ProblemSpec::new(
    Category::Dependency,
    "STORE_UNAVAILABLE",
    "Store unavailable",
)
.with_status(503)
.without_effects()
.with_retry_after(Duration::from_secs(1));
/// 503: the service has too much work. The handler did not run.
pub const OVERLOADED: ProblemSpec =
    ProblemSpec::new(Category::Dependency, "OVERLOADED", "Overloaded")
        .with_status(503)
        .with_detail("the service has too much work at the moment; this request had no effect")
        .without_effects()
        .with_retry_after(Duration::from_secs(1));
/// 503: the transaction of the request was rolled back, because of a conflict with another
/// transaction, because it took too long, or because its connection was closed.
pub const TRANSACTION_CONFLICT: ProblemSpec = ProblemSpec::new(
    Category::Dependency,
    "TRANSACTION_CONFLICT",
    "Transaction conflict",
)
.with_status(503)
.with_detail("the transaction of the request was rolled back, so it had no effect; send it again")
.without_effects()
.with_retry_after(Duration::from_secs(1));
/// 503: all connections to the database are in use. The request had no effect.
pub const POOL_EXHAUSTED: ProblemSpec =
    ProblemSpec::new(Category::Dependency, "POOL_EXHAUSTED", "Pool exhausted")
        .with_status(503)
        .without_effects()
        .with_retry_after(Duration::from_secs(1));
/// 503: the service cannot check credentials now. The handler did not run.
pub const AUTHENTICATION_UNAVAILABLE: ProblemSpec = ProblemSpec::new(
    Category::Dependency,
    "AUTHENTICATION_UNAVAILABLE",
    "Authentication unavailable",
)
.with_status(503)
.without_effects()
.with_retry_after(Duration::from_secs(1));
/// 503: the service is temporarily unavailable.
pub const SERVICE_UNAVAILABLE: ProblemSpec = ProblemSpec::new(
    Category::Dependency,
    "SERVICE_UNAVAILABLE",
    "Service unavailable",
)
.with_status(503);
/// 500: the service failed.
pub const INTERNAL: ProblemSpec =
    ProblemSpec::new(Category::Internal, "INTERNAL", "Internal error").with_status(500);

/// All codes of the framework.
pub const ALL: &[ProblemSpec] = &[
    IDEMPOTENCY_KEY_MISSING,
    IDEMPOTENCY_KEY_INVALID,
    IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_IN_FLIGHT,
    IDEMPOTENCY_OUTCOME_UNKNOWN,
    IDEMPOTENCY_RESPONSE_NOT_RETAINED,
    IDEMPOTENCY_QUOTA_EXCEEDED,
    RATE_LIMITED,
    INVALID_CURSOR,
    INVALID_PARAMETER,
    VALIDATION_FAILED,
    MALFORMED_JSON,
    BODY_INCOMPLETE,
    UNSUPPORTED_MEDIA_TYPE,
    BODY_TOO_LARGE,
    URI_TOO_LONG,
    HEADERS_TOO_LARGE,
    BAD_REQUEST,
    REQUEST_TIMEOUT,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    CONFLICT,
    PRECONDITION_FAILED,
    GONE,
    VERSION_GONE,
    DEADLINE_EXCEEDED,
    STORE_UNAVAILABLE,
    OVERLOADED,
    TRANSACTION_CONFLICT,
    POOL_EXHAUSTED,
    AUTHENTICATION_UNAVAILABLE,
    SERVICE_UNAVAILABLE,
    INTERNAL,
];

/// Returns the problem for an error response without a body. It has the code of the status, or else
/// `BAD_REQUEST` for a 4xx and `INTERNAL` for a 5xx.
pub(crate) const fn for_status(status: u16) -> ProblemSpec {
    let spec = match status {
        401 => UNAUTHENTICATED,
        403 => FORBIDDEN,
        404 => NOT_FOUND,
        405 => METHOD_NOT_ALLOWED,
        408 => REQUEST_TIMEOUT,
        409 => CONFLICT,
        410 => GONE,
        412 => PRECONDITION_FAILED,
        413 => BODY_TOO_LARGE,
        414 => URI_TOO_LONG,
        415 => UNSUPPORTED_MEDIA_TYPE,
        422 => VALIDATION_FAILED,
        429 => RATE_LIMITED,
        431 => HEADERS_TOO_LARGE,
        502 | 503 => SERVICE_UNAVAILABLE,
        504 => DEADLINE_EXCEEDED,
        400..=499 => BAD_REQUEST,
        _ => INTERNAL,
    };
    ProblemSpec {
        category: Category::of_status(status),
        ..spec.with_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f03_codes_are_upper_case_letters_digits_and_underscores() {
        let is_allowed =
            |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(ALL.iter().all(|spec| spec.code.bytes().all(is_allowed)
            && spec.code.as_bytes()[0].is_ascii_uppercase()));
    }

    #[test]
    fn f05_only_retryable_problems_have_a_retry_after() {
        assert!(
            ALL.iter()
                .all(|spec| spec.retryable == Some(true) || spec.retry_after.is_none())
        );
    }
}
