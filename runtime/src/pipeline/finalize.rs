//! The end of every response of an endpoint.

use axum::response::Response;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::mount::MountedEndpoint;
use crate::problem::{Problem, ProblemContext, Retry, rewrite};
use crate::request::{EndpointResponse, RequestInfo, RequestState, X_REQUEST_ID};

/// Makes the answer ready to leave.
#[inline]
pub(super) fn finalize(
    endpoint: &MountedEndpoint,
    state: &RequestState,
    answer: &mut EndpointResponse,
) {
    let RequestState {
        info,
        writers: exits,
        ..
    } = state;
    if answer.response.status().as_u16() >= 400 {
        document(endpoint, info, answer);
        challenge(endpoint, &mut answer.response);
    }
    exits.finish(info, &mut answer.response);
    answer
        .response
        .headers_mut()
        .insert(X_REQUEST_ID, info.id.to_value());
}

/// Writes the document of an error that has none yet.
fn document(endpoint: &MountedEndpoint, info: &RequestInfo, answer: &mut EndpointResponse) {
    if let Some(problem) = rewrite(&mut answer.response, answer.origin) {
        let idempotent = info.key.is_some() || endpoint.mount.spec.method.is_idempotent();
        write(
            endpoint,
            info,
            Retry::of_unstored(idempotent),
            &problem,
            &mut answer.response,
        );
    }
}

/// Adds how to authenticate to every 401 (RFC 9110 §15.5.2), whoever made it.
fn challenge(endpoint: &MountedEndpoint, response: &mut Response) {
    if let Some(auth) = &endpoint.mount.shared.auth
        && response.status() == StatusCode::UNAUTHORIZED
    {
        response
            .headers_mut()
            .entry(WWW_AUTHENTICATE)
            .or_insert_with(|| auth.challenge());
    }
}

/// Writes a problem document, and the log line of a failure.
pub(super) fn write(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    repeat: Retry,
    problem: &Problem,
    response: &mut Response,
) {
    let type_base = &endpoint.mount.shared.problem_base;
    problem.write(
        response,
        Some(ProblemContext {
            request_id: info.id.as_str(),
            retry: repeat,
            type_base,
        }),
    );
    if problem.status().is_server_error() {
        let cause = problem.cause().unwrap_or("none given");
        let (endpoint, request_id) = (endpoint.mount.spec.name, info.id.as_str());
        tracing::error!(
            endpoint,
            request_id,
            code = problem.code(),
            cause,
            "an endpoint failed"
        );
    }
}
