//! Payouts to accounts at a bank. The bank is another system, which accepts idempotency keys.

use aplomb::Result;
use aplomb::prelude::*;

use super::ledger::{self, Account, NewPayout, Payout};
use super::{App, Db};

/// Pays out from an account of the caller to an account at a bank.
///
/// If the process dies after the transfer, the transaction is rolled back. A retry debits the
/// account again, and repeats the transfer with the same key and the same text. The bank executes it
/// only once.
///
/// The account is locked until the bank has replied. On SQLite, all other writers wait as well. The
/// time limit of the transaction ends this wait.
#[endpoint(post = "/accounts/{id}/payouts", version = 2, idempotent)]
pub async fn pay_out(
    State(app): State<App>,
    mut tx: Tx<Db>,
    keys: StepKeys,
    caller: Caller,
    Path(id): Path<Id<Account>>,
    Json(new): Json<NewPayout>,
) -> Result<Created<Payout>> {
    let reference = keys.step("transfer");
    let payout = ledger::pay_out(&mut tx, caller.id(), id, new, reference).await?;
    // The transfer is the last step, so an error of the ledger cannot follow it.
    app.bank.transfer(&payout.reference, &payout).await?;
    Ok(Created::new(payout))
}
