use core::fmt;

use aplomb::Id;
use aplomb::prelude::Tx;
use serde::Serialize;

use super::super::Db;
use super::{Account, Currency, LedgerError, Owner, account};

/// A statement of the balance of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Statement {
    /// The account.
    pub account: Id<Account>,
    /// The number of the statement. The statements of an account are numbered from 1.
    pub number: i64,
    /// The name of the owner.
    pub owner: Owner,
    /// The balance in minor units.
    pub balance: i64,
    /// The currency of the balance.
    pub currency: Currency,
}

/// Issues the next statement of an account of the caller. The caller of this function then sends the
/// statement.
///
/// # Errors
///
/// [`LedgerError::AccountNotFound`], also for an account of another caller.
pub async fn issue_statement(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Account>,
) -> Result<Statement, LedgerError> {
    // The lock also makes the numbers of concurrent statements differ.
    let account = account::lock_owned(tx, caller, id).await?;
    let number = sqlx::query_scalar(
        "INSERT INTO statements (account, number, balance)
         SELECT $1, coalesce(max(number), 0) + 1, $2 FROM statements WHERE account = $1
         RETURNING number",
    )
    .bind(id)
    .bind(account.balance)
    .fetch_one(tx)
    .await?;
    Ok(Statement {
        account: id,
        number,
        owner: account.owner,
        balance: account.balance,
        currency: account.currency,
    })
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            number,
            owner,
            balance,
            currency,
        } = self;
        write!(
            f,
            "To {owner}: statement {number} of {account}: {balance} {currency}"
        )
    }
}
