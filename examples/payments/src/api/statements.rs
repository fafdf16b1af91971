//! Statements, which are sent by mail. The printer is another system, without idempotency keys.

use aplomb::Result;
use aplomb::prelude::*;

use super::ledger::{self, Account, Statement};
use super::{App, Db};

/// Sends a statement of an account of the caller by mail.
///
/// The transaction cannot revert a letter, and a second run would send a second one. The endpoint
/// therefore declares `on_crash = unknown`. If the process dies, the record of the key becomes
/// UNKNOWN. An operator looks for the letter, and resolves the record.
#[endpoint(post = "/accounts/{id}/statements", version = 2, idempotent(on_crash = unknown))]
pub async fn send_statement(
    State(app): State<App>,
    mut tx: Tx<Db>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
) -> Result<Created<Statement>> {
    let statement = ledger::issue_statement(&mut tx, caller.id(), id).await?;
    app.bank.send_letter(&statement.to_string()).await?;
    Ok(Created::new(statement))
}
