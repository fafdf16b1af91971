//! The response to a request whose record already exists.

use core::error::Error;
use core::fmt;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::store::{BeginOutcome, RecordKey};
use super::stored_response::{MAX_FIELDS, StoredResponse};
use crate::problem::{Problem, registry};
use crate::request::{EndpointResponse, ResponseOrigin};

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Returns the response to a request whose record is in this state.
pub(super) fn response_from_record(outcome: BeginOutcome, record: RecordKey) -> EndpointResponse {
    match outcome {
        BeginOutcome::Done(stored) => EndpointResponse {
            response: replay(&stored),
            origin: ResponseOrigin::Handler,
        },
        BeginOutcome::InFlight => {
            EndpointResponse::refused(Problem::new(&registry::IDEMPOTENCY_IN_FLIGHT))
        }
        BeginOutcome::Mismatch => {
            EndpointResponse::refused(Problem::new(&registry::IDEMPOTENCY_KEY_REUSED).with_detail(
                "the Idempotency-Key was already used for a different request; \
                 send a new key for each operation",
            ))
        }
        BeginOutcome::Unknown => EndpointResponse::refused(
            Problem::new(&registry::IDEMPOTENCY_OUTCOME_UNKNOWN)
                .with_cause(&OutcomeUnknown(record)),
        ),
        BeginOutcome::QuotaExceeded { retry_after } => EndpointResponse::refused(
            Problem::new(&registry::IDEMPOTENCY_QUOTA_EXCEEDED)
                .with_detail(
                    "the service stores too many of your idempotency keys: send this request \
                     again with the same key after the number of seconds in `Retry-After`",
                )
                .with_retry_after(retry_after),
        ),
        // No client should get this response: `PendingRun` has already handled `Started`, and only
        // a late duplicate of a `begin` gets `Aborted`. If a client gets the response nevertheless,
        // it can send the request again, because a 503 is retryable.
        BeginOutcome::Started | BeginOutcome::Aborted => {
            EndpointResponse::refused(Problem::new(&registry::STORE_UNAVAILABLE))
        }
    }
}

/// The logged cause of a 500 `IDEMPOTENCY_OUTCOME_UNKNOWN`.
#[derive(Debug)]
struct OutcomeUnknown(RecordKey);

impl fmt::Display for OutcomeUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the run of the record {} died, failed or took too long",
            self.0
        )
    }
}

impl Error for OutcomeUnknown {}

/// Builds the replay of a stored response.
fn replay(stored: &StoredResponse) -> Response {
    let mut response = stored.body().map_or_else(
        || replay_without_body(stored),
        |body| replay_with_body(stored, body),
    );
    // If a stored error has no body, the pipeline later writes its problem document from this
    // extension. The problem of a replay is never retryable.
    if stored.status().as_u16() >= 400 && response.body().is_end_stream() {
        response
            .extensions_mut()
            .insert(not_retryable(stored.status()));
    }
    response
        .headers_mut()
        .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn replay_with_body(stored: &StoredResponse, body: &Bytes) -> Response {
    let mut response = Response::new(Body::from(body.clone()));
    *response.status_mut() = stored.status();
    let fields = stored.headers();
    // The capacity includes six fields that are added before the response is sent, so that the map
    // does not grow.
    let mut headers = HeaderMap::with_capacity(fields.len().min(MAX_FIELDS) + 6);
    for (name, value) in fields {
        headers.append(name.clone(), value.clone());
    }
    *response.headers_mut() = headers;
    response
}

/// Builds the replay of a response whose body was not stored.
///
/// A 2xx with a `Location` becomes a 303 to this `Location`. A 2xx without a `Location` becomes a
/// 410. Any other response keeps its status, so that a client never mistakes a failure for a
/// success.
fn replay_without_body(stored: &StoredResponse) -> Response {
    let (status, location) = (
        stored.status(),
        stored.headers().find(|(name, _)| *name == LOCATION),
    );
    if status.is_client_error() {
        return not_retryable(status)
            .with_detail("the body of the first response was too large to store")
            .into_response();
    }
    if status.is_success() && location.is_none() {
        return Problem::new(&registry::IDEMPOTENCY_RESPONSE_NOT_RETAINED).into_response();
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if status.is_success() {
        StatusCode::SEE_OTHER
    } else {
        status
    };
    response
        .headers_mut()
        .extend(location.map(|(name, value)| (name.clone(), value.clone())));
    response
}

/// Returns the problem for a stored error without a problem document.
fn not_retryable(status: StatusCode) -> Problem {
    Problem::new(&registry::for_status(status.as_u16()).with_retryable(false))
}

#[cfg(test)]
mod tests {
    use http::header::LINK;

    use super::*;
    use crate::problem::take_problem;

    #[test]
    fn a16_a_replay_is_never_retryable() {
        for status in 200..600 {
            let status = StatusCode::from_u16(status).expect("a status");
            for body in [None, Some(Bytes::new())] {
                let stored =
                    StoredResponse::restored(status, Vec::new(), body).expect("stored fields");
                let problem = take_problem(&mut replay(&stored), ResponseOrigin::Handler);
                assert!(
                    problem.is_none_or(|problem| problem.spec().retryable == Some(false)),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn a20_a_response_with_thousands_of_fields_is_replayed() {
        for count in [0, 1, MAX_FIELDS, 30_000] {
            let mut response = Response::new(());
            for _ in 0..count {
                response
                    .headers_mut()
                    .append(LINK, HeaderValue::from_static("</a>"));
            }
            let stored = StoredResponse::new(&response.into_parts().0, Some(Bytes::new()));
            assert_eq!(
                replay(&stored).headers().get_all(LINK).iter().count(),
                count
            );
        }
    }

    #[test]
    fn a20_a_restored_response_leaves_room_for_the_fields_of_a_replay() {
        let fields = (0..MAX_FIELDS).map(|number| {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            (name, HeaderValue::from_static("a"))
        });
        let stored = StoredResponse::restored(StatusCode::OK, fields.collect(), Some(Bytes::new()))
            .expect("stored fields");
        assert_eq!(replay(&stored).headers().len(), MAX_FIELDS + 2);
    }
}
