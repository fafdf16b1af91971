//! The settlement of a run: its problem document first, then its record.

use super::mount::MountedEndpoint;
use super::{finalize, transaction};
use crate::policies::idempotency::{ActiveRun, Settlement, settle as settlement_of};
use crate::problem::{Effects, Problem, Retry, registry, take_problem};
use crate::request::{EndpointResponse, RequestInfo};
use crate::transaction::{TransactionEnd, TransactionSlot};

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

/// Ends the transaction of a run, and settles its record.
///
/// A successful response is committed together with the record. After any other response, the
/// transaction is rolled back first. A record without a stored response is then removed, because
/// the handler had no effects. If the endpoint declares `on_crash = unknown`, the handler may have
/// acted in other systems, and the record becomes UNKNOWN.
pub(super) async fn settle_with_transaction(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    slot: &dyn TransactionSlot,
    outcome: EndpointResponse,
) -> EndpointResponse {
    if !transaction::is_success(&outcome) {
        return match slot.roll_back().await {
            TransactionEnd::Failed(rollback) => {
                fail(endpoint, info, run, rollback.into_problem()).await
            }
            TransactionEnd::CommittedByHandler => {
                settle_committed_by_handler(endpoint, info, run).await
            }
            _ => settle_rolled_back(endpoint, info, run, outcome).await,
        };
    }
    let prepared = match run.prepare(outcome).await {
        Ok(prepared) => prepared,
        Err((run, problem)) => {
            return match slot.roll_back().await {
                TransactionEnd::CommittedByHandler => {
                    settle_committed_by_handler(endpoint, info, run).await
                }
                _ => fail(endpoint, info, run, problem).await,
            };
        }
    };
    match slot.commit(Some(prepared.completion())).await {
        TransactionEnd::Committed => prepared.completed(),
        TransactionEnd::Unused | TransactionEnd::RolledBack => prepared.complete().await,
        TransactionEnd::Failed(rollback) => {
            fail(endpoint, info, prepared.into_run(), rollback.into_problem()).await
        }
        TransactionEnd::CommittedByHandler => {
            settle_committed_by_handler(endpoint, info, prepared.into_run()).await
        }
        // If the commit has succeeded, the record is DONE and the settlement does not change it.
        TransactionEnd::CommitUnknown(cause) => {
            fail(
                endpoint,
                info,
                prepared.into_run(),
                transaction::commit_unknown(&cause),
            )
            .await
        }
    }
}

/// Settles a run whose transaction was rolled back as its response requires.
async fn settle_rolled_back(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    mut outcome: EndpointResponse,
) -> EndpointResponse {
    let settlement = match decide_settlement(endpoint, info, &mut outcome) {
        Settlement::Unknown if run.is_transactional() => Settlement::Abort,
        settlement => settlement,
    };
    run.settle(outcome, settlement).await
}

/// Settles a run whose transaction has failed. With `on_crash = unknown`, the handler may have acted
/// in another system before.
async fn fail(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    problem: Problem,
) -> EndpointResponse {
    if !run.is_transactional() {
        let cause = problem
            .cause()
            .unwrap_or("the transaction failed")
            .to_owned();
        return settle_unknown(endpoint, info, run, cause).await;
    }
    let response = written(endpoint, info, problem);
    run.settle(response, Settlement::Abort).await
}

/// Settles a run whose handler has committed the transaction without the record.
async fn settle_committed_by_handler(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
) -> EndpointResponse {
    settle_unknown(
        endpoint,
        info,
        run,
        transaction::COMMITTED_BY_HANDLER.to_owned(),
    )
    .await
}

/// Makes the record of a run UNKNOWN, and returns the response that its retries will get as well.
async fn settle_unknown(
    endpoint: &MountedEndpoint,
    info: &RequestInfo,
    run: ActiveRun,
    cause: String,
) -> EndpointResponse {
    let problem = Problem::new(&registry::IDEMPOTENCY_OUTCOME_UNKNOWN).with_cause_text(cause);
    let response = written(endpoint, info, problem);
    run.settle(response, Settlement::Unknown).await
}

fn written(endpoint: &MountedEndpoint, info: &RequestInfo, problem: Problem) -> EndpointResponse {
    let mut response = EndpointResponse::failed(problem);
    decide_settlement(endpoint, info, &mut response);
    response
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
