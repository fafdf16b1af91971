//! The transaction of a request's handler.

use std::sync::Arc;

use tokio::time::Instant;

use super::mount::Mount;
use crate::policies::idempotency::{ActiveRun, Token};
use crate::problem::{Problem, ResponseOrigin, registry};
use crate::request::{EndpointResponse, IncomingRequest, ResponseFuture, catch_panics};
use crate::transaction::{TransactionEnd, TransactionRequest, TransactionSlot};

/// Creates the transaction of a request, if an argument of the handler is a `Tx`. The transaction
/// begins with the handler's first statement.
pub(super) fn prepare(
    mount: &Mount,
    request: &mut IncomingRequest,
    run: Option<&ActiveRun>,
    due: Instant,
) -> Option<Arc<dyn TransactionSlot>> {
    let source = mount.transactions.as_ref()?;
    let slot = Arc::clone(source).slot(TransactionRequest {
        token: run.map_or_else(Token::random, ActiveRun::token),
        lease: run.and_then(ActiveRun::lease_pause),
        due,
    });
    Arc::clone(&slot).insert_into(&mut request.head_mut().extensions);
    Some(slot)
}

/// Returns `true` if the transaction of this response is committed.
pub(super) fn is_success(response: &EndpointResponse) -> bool {
    let status = response.response.status();
    response.origin == ResponseOrigin::Handler
        && !status.is_client_error()
        && !status.is_server_error()
}

/// Runs the handler of a request without a key, and ends its transaction.
pub(super) fn commit_after(
    handler: ResponseFuture,
    slot: Arc<dyn TransactionSlot>,
) -> ResponseFuture {
    Box::pin(async move {
        let outcome = catch_panics(handler).await;
        if !is_success(&outcome) {
            return match slot.roll_back().await {
                TransactionEnd::Failed(rollback) => {
                    EndpointResponse::failed(rollback.into_problem())
                }
                TransactionEnd::CommittedByHandler => {
                    EndpointResponse::failed(Problem::internal(COMMITTED_BY_HANDLER))
                }
                _ => outcome,
            };
        }
        match slot.commit(None).await {
            TransactionEnd::Unused | TransactionEnd::Committed | TransactionEnd::RolledBack => {
                outcome
            }
            TransactionEnd::Failed(rollback) => EndpointResponse::failed(rollback.into_problem()),
            TransactionEnd::CommittedByHandler => {
                EndpointResponse::failed(Problem::internal(COMMITTED_BY_HANDLER))
            }
            TransactionEnd::CommitUnknown(cause) => {
                EndpointResponse::failed(commit_unknown(&cause))
            }
        }
    })
}

/// The log message about a handler that has ended its transaction itself.
pub(super) const COMMITTED_BY_HANDLER: &str =
    "the handler has ended its transaction with a statement: remove COMMIT and ROLLBACK";

/// Returns the problem of a transaction whose `COMMIT` got no result.
pub(super) fn commit_unknown(cause: &str) -> Problem {
    Problem::new(&registry::SERVICE_UNAVAILABLE)
        .with_cause_text(format!("the result of COMMIT is unknown: {cause}"))
}
