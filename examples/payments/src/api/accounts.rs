//! Accounts in version 2, whose balance has a currency.

pub mod v1;

use aplomb::prelude::*;
use serde::{Deserialize, Serialize};

use super::ledger::{self, Account, Amount, Currency, LedgerError, Owner};
use super::{App, Db};

/// The body of a request to open an account.
#[derive(Debug, Deserialize)]
pub struct NewAccount {
    /// The name of the owner.
    pub owner: Owner,
    /// The only currency of the account.
    pub currency: Currency,
}

/// The body of a deposit.
#[derive(Debug, Deserialize)]
pub struct NewDeposit {
    /// The amount in minor units of the account's currency.
    pub amount: Amount,
}

/// An account in a response.
#[derive(Debug, Serialize)]
pub struct AccountView {
    /// The identifier.
    pub id: Id<Account>,
    /// The name of the owner.
    pub owner: Owner,
    /// The balance.
    pub balance: Money,
}

/// An amount of at least zero, with its currency.
#[derive(Debug, Serialize)]
pub struct Money {
    /// The amount in minor units.
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

/// Opens an empty account that belongs to the caller.
#[endpoint(post = "/accounts", version = 2, idempotent)]
pub async fn open_account(
    mut tx: Tx<Db>,
    caller: Caller,
    Json(new): Json<NewAccount>,
) -> Result<Created<AccountView>, LedgerError> {
    let account = ledger::open_account(&mut tx, caller.id(), new.owner, new.currency).await?;
    let location = get_account::uri(&account.id);
    Ok(Created::new(account.into()).with_location(location))
}

/// Returns an account of the caller.
#[endpoint(get = "/accounts/{id}", version = 2)]
pub async fn get_account(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
) -> Result<Json<AccountView>, LedgerError> {
    let account = ledger::account(&app.pool, caller.id(), id).await?;
    Ok(Json(account.into()))
}

/// Deposits money from outside the ledger into an account of the caller. Returns the account after
/// the deposit.
#[endpoint(post = "/accounts/{id}/deposit", version = 2, idempotent)]
pub async fn deposit(
    mut tx: Tx<Db>,
    caller: Caller,
    Path(id): Path<Id<Account>>,
    Json(new): Json<NewDeposit>,
) -> Result<Created<AccountView>, LedgerError> {
    let account = ledger::deposit(&mut tx, caller.id(), id, new.amount).await?;
    Ok(Created::new(account.into()))
}
