//! What is settled after a handler under a key, and in which order.

use super::finalize;
use super::mount::MountedEndpoint;
use crate::policies::idempotency::{ActiveRun, Settlement, settle as settlement_of};
use crate::problem::{Effects, Retry, rewrite};
use crate::request::{EndpointResponse, RequestInfo};

/// Settles the record of a run with its answer. An error becomes its problem document before, so that
/// a replay has the same one.
pub(super) async fn settle(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    mut answer: EndpointResponse,
) -> EndpointResponse {
    let settlement = document(endpoint, info, &mut answer);
    run.settle(answer, settlement).await
}

/// Decides how the record is settled, and writes the document of an error. A response that is kept is
/// what every retry gets, and so its document calls it not retryable.
fn document(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    answer: &mut EndpointResponse,
) -> Settlement {
    let Some(problem) = rewrite(&mut answer.response, answer.origin) else {
        return settlement_of(answer.origin, answer.response.status(), Effects::Unknown);
    };
    let settlement = settlement_of(answer.origin, problem.status(), problem.effects());
    let repeat = if settlement == Settlement::Keep {
        Retry::SameResult
    } else {
        Retry::Safe
    };
    finalize::write(endpoint, info, repeat, &problem, &mut answer.response);
    settlement
}
