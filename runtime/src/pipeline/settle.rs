//! The settlement of a run: its problem document first, then its record.

use super::finalize;
use super::mount::MountedEndpoint;
use crate::policies::idempotency::{ActiveRun, Settlement, settle as settlement_of};
use crate::problem::{Effects, Retry, take_problem};
use crate::request::{EndpointResponse, RequestInfo};

/// Settles the record of a run with its response. An error becomes a problem document before that,
/// so that a replay has the same document.
pub(super) async fn settle(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    mut outcome: EndpointResponse,
) -> EndpointResponse {
    let settlement = decide_settlement(endpoint, info, &mut outcome);
    run.settle(outcome, settlement).await
}

/// Decides the settlement, and writes the problem document of an error. The document of a response
/// that will be stored is not retryable, because every retry gets that response.
fn decide_settlement(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    outcome: &mut EndpointResponse,
) -> Settlement {
    let EndpointResponse { response, origin } = outcome;
    let Some(problem) = take_problem(response, *origin) else {
        return settlement_of(*origin, response.status(), Effects::Unknown);
    };
    let settlement = settlement_of(*origin, problem.status(), problem.effects());
    let retry = if settlement == Settlement::Keep {
        Retry::SameResult
    } else {
        Retry::Safe
    };
    finalize::write_problem(endpoint, info, retry, &problem, response);
    settlement
}
