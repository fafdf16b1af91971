//! Accounts, as they are since version 2: a balance says its currency.

pub mod v1;

use aplomb::prelude::*;
use serde::{Deserialize, Serialize};

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

/// What clients see of an account.
#[derive(Debug, Serialize)]
pub struct AccountView {
    /// Its identifier.
    pub id: Id<Account>,
    /// The name on it.
    pub owner: Owner,
    /// What it holds.
    pub balance: Money,
}

/// An amount that may be nothing, and its currency.
#[derive(Debug, Serialize)]
pub struct Money {
    /// In minor units; never below zero.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl From<Account> for AccountView {
    fn from(
        Account {
            id,
            owner,
            currency,
            balance,
            ..
        }: Account,
    ) -> Self {
        Self {
            id,
            owner,
            balance: Money {
                amount: balance,
                currency,
            },
        }
    }
}

/// Opens an account that belongs to the caller, with nothing on it.
#[endpoint(post = "/accounts", version = 2, idempotent)]
pub async fn open_account(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewAccount>,
) -> Result<Created<AccountView>, LedgerError> {
    let account = app
        .ledger
        .open_account(caller.id(), new.owner, new.currency)
        .await?;
    let location = get_account::uri(&account.id);
    Ok(Created::new(account.into()).with_location(location))
}

/// An account of the caller.
#[endpoint(get = "/accounts/{id}", version = 2)]
pub async fn get_account(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
) -> Result<Json<AccountView>, LedgerError> {
    Ok(Json(app.ledger.account(caller.id(), id).await?.into()))
}

/// Brings money from outside into an account of the caller. The answer is the account after it.
#[endpoint(post = "/accounts/{id}/deposit", version = 2, idempotent)]
pub async fn deposit(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
    Json(new): Json<NewDeposit>,
) -> Result<Created<AccountView>, LedgerError> {
    Ok(Created::new(
        app.ledger
            .deposit(caller.id(), id, new.amount)
            .await?
            .into(),
    ))
}
