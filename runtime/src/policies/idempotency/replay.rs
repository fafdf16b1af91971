//! The answer to a request whose record is there already.

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

/// What a request is answered whose record is there already.
pub(super) fn answer(found: BeginOutcome, record: RecordKey) -> EndpointResponse {
    match found {
        BeginOutcome::Done(kept) => EndpointResponse {
            response: replay(&kept),
            origin: ResponseOrigin::Handler,
        },
        BeginOutcome::InFlight => {
            EndpointResponse::refused(Problem::new(&registry::IDEMPOTENCY_IN_FLIGHT))
        }
        BeginOutcome::Mismatch => {
            EndpointResponse::refused(Problem::new(&registry::IDEMPOTENCY_KEY_REUSED).with_detail(
                "the key was used for another request; draw a new one for each operation",
            ))
        }
        BeginOutcome::Unknown => EndpointResponse::refused(
            Problem::new(&registry::IDEMPOTENCY_OUTCOME_UNKNOWN)
                .with_cause(&OutcomeUnknown(record)),
        ),
        BeginOutcome::Started | BeginOutcome::Aborted => {
            EndpointResponse::refused(Problem::new(&registry::STORE_UNAVAILABLE))
        }
    }
}

/// What the log says of a request that nobody can answer.
#[derive(Debug)]
struct OutcomeUnknown(RecordKey);

impl fmt::Display for OutcomeUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the run under the record {} died, failed or took too long",
            self.0
        )
    }
}

impl Error for OutcomeUnknown {}

/// The first answer once more.
fn replay(kept: &StoredResponse) -> Response {
    let mut response = kept
        .body()
        .map_or_else(|| without_body(kept), |body| with_body(kept, body));
    if kept.status().as_u16() >= 400 && response.body().is_end_stream() {
        response
            .extensions_mut()
            .insert(not_retryable(kept.status()));
    }
    response
        .headers_mut()
        .insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_body(kept: &StoredResponse, body: &Bytes) -> Response {
    let mut response = Response::new(Body::from(body.clone()));
    *response.status_mut() = kept.status();
    let fields = kept.headers();
    // With room for what a replay says of itself.
    let mut headers = HeaderMap::with_capacity(fields.len().min(MAX_FIELDS) + 6);
    for (name, value) in fields {
        headers.append(name.clone(), value.clone());
    }
    *response.headers_mut() = headers;
    response
}

/// What is left of an answer whose body was not kept: of a success, where it can be read. What did
/// not succeed keeps its status, so that nobody takes it for a success.
fn without_body(kept: &StoredResponse) -> Response {
    let (status, location) = (
        kept.status(),
        kept.headers().find(|(name, _)| *name == LOCATION),
    );
    if status.is_client_error() {
        return not_retryable(status)
            .with_detail("the first answer said more, which was too large to keep")
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

/// The problem of an error that is kept without a document of its own.
fn not_retryable(status: StatusCode) -> Problem {
    Problem::new(&registry::for_status(status.as_u16()).with_retryable(false))
}

#[cfg(test)]
mod tests {
    use http::header::LINK;

    use super::*;
    use crate::problem::rewrite;

    #[test]
    fn a16_no_replay_is_retryable() {
        for status in 200..600 {
            let status = StatusCode::from_u16(status).expect("a status");
            for body in [None, Some(Bytes::new())] {
                let kept = StoredResponse::restored(status, Vec::new(), body).expect("kept fields");
                let told = rewrite(&mut replay(&kept), ResponseOrigin::Handler);
                assert!(
                    told.is_none_or(|problem| problem.spec().retryable == Some(false)),
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn a20_an_answer_of_very_many_fields_is_replayed() {
        for count in [0, 1, MAX_FIELDS, 30_000] {
            let mut response = Response::new(());
            for _ in 0..count {
                response
                    .headers_mut()
                    .append(LINK, HeaderValue::from_static("</a>"));
            }
            let kept = StoredResponse::new(&response.into_parts().0, Some(Bytes::new()));
            assert_eq!(replay(&kept).headers().get_all(LINK).iter().count(), count);
        }
    }

    #[test]
    fn a20_a_restored_answer_leaves_room_for_what_a_replay_says_of_itself() {
        let fields = (0..MAX_FIELDS).map(|number| {
            let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
            (name, HeaderValue::from_static("a"))
        });
        let kept = StoredResponse::restored(StatusCode::OK, fields.collect(), Some(Bytes::new()))
            .expect("kept fields");
        assert_eq!(replay(&kept).headers().len(), MAX_FIELDS + 2);
    }
}
