//! The one door through which every response leaves.

use axum::response::Response;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::context::{Context, Mounted};
use super::observe::{RequestId, X_REQUEST_ID};
use crate::auth::Caller;
use crate::endpoint::Answer;
use crate::policies::idempotency::{Settlement, settle};
use crate::policies::rate_limit::Reading;
use crate::policies::retirement::Notice;
use crate::problem::{Effects, Occasion, Problem, Repeat, rewrite};

/// Decides how a run under a key is settled, turns an error into its problem document and logs what
/// happened. What is kept is what every retry gets, and so its document calls it not retryable.
pub(crate) fn tell(context: &Context, answer: &mut Answer) -> Settlement {
    let Some(problem) = rewrite(&mut answer.response, answer.origin) else {
        return settle(answer.origin, answer.response.status(), Effects::Unknown);
    };
    let settlement = settle(answer.origin, problem.status(), problem.effects());
    let repeat = if settlement == Settlement::Keep { Repeat::SameAnswer } else { Repeat::Safe };
    write(context.mounted(), context.request_id(), repeat, &problem, &mut answer.response);
    settlement
}

/// Makes the answer ready to leave.
pub(crate) fn close(
    mounted: &Mounted,
    id: &RequestId,
    idempotent: bool,
    readings: Option<&[Reading]>,
    mut answer: Answer,
) -> Response {
    if answer.response.status().as_u16() >= 400 {
        document(mounted, id, idempotent, &mut answer);
        challenge(mounted, &mut answer.response);
    }
    let headers = answer.response.headers_mut();
    if let (Some(limits), Some(readings)) = (&mounted.limits, readings) {
        limits.write(headers, readings);
    }
    headers.insert(X_REQUEST_ID, id.to_value());
    answer.response
}

/// Says that the endpoint is given up, and tells the log who still calls it.
pub(crate) fn give_notice(
    mounted: &Mounted,
    notice: &Notice,
    caller: Option<&Caller>,
    response: &mut Response,
) {
    if let Some(retirement) = &mounted.retirement {
        retirement.write(notice, response.headers_mut());
        retirement.warn(notice, caller);
    }
}

/// Every 401 says how to authenticate (RFC 9110 §15.5.2), whoever made it.
fn challenge(mounted: &Mounted, response: &mut Response) {
    if let Some(auth) = &mounted.shared.auth
        && response.status() == StatusCode::UNAUTHORIZED
    {
        response.headers_mut().entry(WWW_AUTHENTICATE).or_insert_with(|| auth.challenge());
    }
}

/// Writes the document of an error that has none yet.
fn document(mounted: &Mounted, id: &RequestId, idempotent: bool, answer: &mut Answer) {
    if let Some(problem) = rewrite(&mut answer.response, answer.origin) {
        write(mounted, id, Repeat::unkept(idempotent), &problem, &mut answer.response);
    }
}

fn write(mounted: &Mounted, id: &RequestId, repeat: Repeat, problem: &Problem, response: &mut Response) {
    let occasion = Occasion { request_id: id.as_str(), repeat, type_base: &mounted.shared.problem_base };
    problem.write(response, Some(occasion));
    log(mounted, id, problem);
}

fn log(mounted: &Mounted, id: &RequestId, problem: &Problem) {
    if problem.status().is_server_error() {
        let cause = problem.cause().unwrap_or("none given");
        let (endpoint, request_id) = (mounted.spec.name, id.as_str());
        tracing::error!(endpoint, request_id, code = problem.code(), cause, "an endpoint failed");
    }
}
