//! Finds the problem of an error response, so that every error gets a problem document.

use axum::body::{Body, HttpBody};
use axum::response::Response;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;

use super::document::Problem;
use super::endpoint_response::ResponseOrigin;
use super::registry;

/// Returns the problem of an error response. This is the problem from which the response was made,
/// or a new problem for an empty body or the plain text of an extractor. Its status is the status
/// of the response, which a handler may have changed.
///
/// Returns `None` for responses that are not changed: a success, or an error whose body the handler
/// wrote itself.
pub(crate) fn take_problem(response: &mut Response, origin: ResponseOrigin) -> Option<Problem> {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return None;
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem.with_status(response.status()));
    }
    let problem = || Problem::new(&registry::for_status(response.status().as_u16()));
    if response.body().size_hint().exact() == Some(0) {
        return Some(problem());
    }
    if origin == ResponseOrigin::Refused && is_plain_text(response) {
        let problem = problem();
        return Some(match body_text(response) {
            Some(text) if problem.status().is_server_error() => problem.with_cause_text(text),
            Some(text) => problem.with_detail(text),
            None => problem,
        });
    }
    None
}

fn is_plain_text(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/plain"))
}

/// Takes the text of a body. The body of an extractor's rejection is in memory, so it is ready
/// immediately. Returns `None` for a body that is not ready.
fn body_text(response: &mut Response) -> Option<String> {
    let body = core::mem::replace(response.body_mut(), Body::empty());
    let bytes = body.collect().now_or_never()?.ok()?.to_bytes();
    String::from_utf8(bytes.into()).ok()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::StatusCode;
    use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

    use super::*;
    use crate::problem::PROBLEM_JSON;

    #[test]
    fn f01_an_error_without_a_body_gets_a_problem() {
        for status in 400..600 {
            let mut response = StatusCode::from_u16(status)
                .expect("a status")
                .into_response();
            let problem = take_problem(&mut response, ResponseOrigin::Handler).expect("a problem");
            assert_eq!(problem.status(), status);
        }
    }

    #[test]
    fn f01_a_document_replaces_the_content_fields_of_the_old_body() {
        let fields = [
            (CONTENT_ENCODING, "gzip"),
            (CONTENT_LENGTH, "0"),
            (CONTENT_TYPE, "text/html"),
        ];
        let mut response = (StatusCode::NOT_FOUND, fields).into_response();
        let problem = take_problem(&mut response, ResponseOrigin::Handler).expect("a problem");
        problem.write(&mut response, None);
        let names: Vec<_> = response.headers().keys().collect();
        assert_eq!(names, [CONTENT_TYPE]);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn f01_an_error_body_of_the_handler_is_not_replaced() {
        let mut response = (StatusCode::BAD_REQUEST, "no").into_response();
        assert!(take_problem(&mut response, ResponseOrigin::Handler).is_none());
    }

    #[test]
    fn f01_the_text_of_a_rejection_becomes_the_detail() {
        let mut response = (StatusCode::BAD_REQUEST, "expected a number").into_response();
        let problem = take_problem(&mut response, ResponseOrigin::Refused).expect("a problem");
        assert!(format!("{problem:?}").contains("expected a number"));
    }

    #[test]
    fn f02_the_text_of_a_5xx_rejection_goes_to_the_log_only() {
        let mut response = (StatusCode::INTERNAL_SERVER_ERROR, "missing extension").into_response();
        let problem = take_problem(&mut response, ResponseOrigin::Refused).expect("a problem");
        assert_eq!(problem.cause(), Some("missing extension"));
    }

    #[test]
    fn f02_a_status_that_the_handler_sets_on_a_problem_is_kept() {
        let problem = Problem::new(&registry::CONFLICT);
        let mut response = (StatusCode::SERVICE_UNAVAILABLE, problem).into_response();
        let problem = take_problem(&mut response, ResponseOrigin::Handler).expect("a problem");
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
