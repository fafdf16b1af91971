//! Accounts.

use aplomb::prelude::*;
use serde::Deserialize;

use crate::app::App;
use crate::ledger::{Account, Amount, Currency, LedgerError, Owner};

/// An account to open.
#[derive(Debug, Deserialize)]
pub struct NewAccount {
    /// The name on it.
    pub owner: Owner,
    /// The only currency that it will hold.
    pub currency: Currency,
}

/// Money to bring into an account.
#[derive(Debug, Deserialize)]
pub struct NewDeposit {
    /// How much.
    pub amount: Amount,
}

/// Opens an account that belongs to the caller, with nothing on it.
#[endpoint(post = "/accounts", version = 1, idempotent)]
pub async fn open_account(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewAccount>,
) -> Result<Created<Account>, LedgerError> {
    let account = app.ledger.open_account(caller.id(), new.owner, new.currency).await?;
    let location = get_account::uri(&account.id);
    Ok(Created::new(account).at(location))
}

/// An account of the caller.
#[endpoint(get = "/accounts/{id}", version = 1)]
pub async fn get_account(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
) -> Result<Json<Account>, LedgerError> {
    Ok(Json(app.ledger.account(caller.id(), id).await?))
}

/// Brings money from outside into an account of the caller. The answer is the account after it.
#[endpoint(post = "/accounts/{id}/deposit", version = 1, idempotent)]
pub async fn deposit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
    Json(new): Json<NewDeposit>,
) -> Result<Created<Account>, LedgerError> {
    Ok(Created::new(app.ledger.deposit(caller.id(), id, new.amount).await?))
}
