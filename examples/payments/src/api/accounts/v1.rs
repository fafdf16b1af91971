//! Accounts in version 1, whose balance is a number. Delete this file when no client calls version
//! 1 any more.

use aplomb::prelude::*;

use super::ledger::{self, Account, LedgerError};
use super::{App, Db, NewAccount, NewDeposit};

/// Opens an empty account that belongs to the caller.
#[endpoint(
    post = "/accounts",
    version = 1,
    idempotent,
    deprecated = "2026-10-01",
    sunset = "2027-06-30",
    successor = super::open_account
)]
pub async fn open_account(
    mut tx: Tx<Db>,
    caller: Caller,
    Json(new): Json<NewAccount>,
) -> Result<Created<Account>, LedgerError> {
    let account = ledger::open_account(&mut tx, caller.id(), new.owner, new.currency).await?;
    let location = get_account::uri(&account.id);
    Ok(Created::new(account).with_location(location))
}

/// Returns an account of the caller.
#[endpoint(
    get = "/accounts/{id}",
    version = 1,
    deprecated = "2026-10-01",
    sunset = "2027-06-30",
    successor = super::get_account
)]
pub async fn get_account(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
) -> Result<Json<Account>, LedgerError> {
    Ok(Json(ledger::account(&app.pool, caller.id(), id).await?))
}

/// Deposits money from outside the ledger into an account of the caller. Returns the account after
/// the deposit.
#[endpoint(
    post = "/accounts/{id}/deposit",
    version = 1,
    idempotent,
    deprecated = "2026-10-01",
    sunset = "2027-06-30",
    successor = super::deposit
)]
pub async fn deposit(
    mut tx: Tx<Db>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
    Json(new): Json<NewDeposit>,
) -> Result<Created<Account>, LedgerError> {
    let account = ledger::deposit(&mut tx, caller.id(), id, new.amount).await?;
    Ok(Created::new(account))
}
