//! The last step of every response of an endpoint: its problem document and its fields.

use axum::response::Response;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::mount::MountedEndpoint;
use crate::problem::{Problem, ProblemContext, Retry, registry, take_problem};
use crate::request::{EndpointResponse, RequestInfo, RequestState, X_REQUEST_ID};

/// Completes a response before it is sent.
#[inline]
pub(super) fn finalize(
    endpoint: &MountedEndpoint,
    state: &RequestState,
    outcome: &mut EndpointResponse,
) {
    let RequestState { info, writers, .. } = state;
    if outcome.response.status().as_u16() >= 400 {
        replace_error(endpoint, info, outcome);
        add_challenge(endpoint, &mut outcome.response);
    }
    writers.write_all(info, &mut outcome.response);
    outcome
        .response
        .headers_mut()
        .insert(X_REQUEST_ID, info.id.to_value());
}

/// Replaces an error response by its problem document. For requests with a key, the settlement of
/// the run has already done this, so `take_problem` finds no problem.
fn replace_error(endpoint: &MountedEndpoint, info: &RequestInfo, outcome: &mut EndpointResponse) {
    if let Some(problem) = take_problem(&mut outcome.response, outcome.origin) {
        let idempotent = info.key.is_some() || endpoint.mount.spec.method.is_idempotent();
        write_problem(
            endpoint,
            info,
            Retry::of_unstored(idempotent),
            &problem,
            &mut outcome.response,
        );
    }
}

/// Adds `WWW-Authenticate` to a 401 that has none (RFC 9110 §15.5.2), such as a 401 from the
/// handler.
fn add_challenge(endpoint: &MountedEndpoint, response: &mut Response) {
    if let Some(auth) = &endpoint.mount.shared.auth
        && response.status() == StatusCode::UNAUTHORIZED
    {
        response
            .headers_mut()
            .entry(WWW_AUTHENTICATE)
            .or_insert_with(|| auth.challenge());
    }
}

/// Writes a problem document, and the log line of a 5xx.
pub(super) fn write_problem(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    retry: Retry,
    problem: &Problem,
    response: &mut Response,
) {
    let type_base = &endpoint.mount.shared.problem_base;
    problem.write(
        response,
        Some(ProblemContext {
            request_id: info.id.as_str(),
            retry,
            type_base,
        }),
    );
    // The policy that refuses a request with `OVERLOADED` logs its refusals itself, at most one time
    // per second. A line for each refused request would add to the load.
    if problem.status().is_server_error() && problem.code() != registry::OVERLOADED.code {
        let cause = problem.cause().unwrap_or("not given");
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
