use aplomb::Id;
use aplomb::prelude::Tx;
use serde::{Deserialize, Serialize};

use super::super::Db;
use super::{Account, Amount, Currency, Iban, LedgerError, account};

/// The body of a request to pay out.
#[derive(Debug, Deserialize)]
pub struct NewPayout {
    /// The account at a bank that gets the money.
    pub iban: Iban,
    /// The amount in minor units.
    pub amount: Amount,
}

/// A payout from an account to an account at a bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Payout {
    /// The reference of the transfer at the bank.
    pub reference: String,
    /// The account that was debited.
    pub account: Id<Account>,
    /// The account at the bank.
    pub iban: Iban,
    /// The amount in minor units.
    pub amount: Amount,
    /// The currency of the amount.
    pub currency: Currency,
}

/// Debits an account of the caller for a payout. The caller of this function then sends the payout
/// to the bank.
///
/// # Errors
///
/// [`LedgerError::AccountNotFound`], also for an account of another caller;
/// [`LedgerError::InsufficientFunds`]; [`LedgerError::AlreadyPaidOut`] if there is a payout with this
/// reference.
pub async fn pay_out(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Account>,
    new: NewPayout,
    reference: String,
) -> Result<Payout, LedgerError> {
    let account = account::lock_owned(tx, caller, id).await?;
    let account = account.debit(new.amount)?;
    account::save_balance(tx, &account).await?;
    let inserted = sqlx::query(
        "INSERT INTO payouts (reference, account, iban, amount) VALUES ($1, $2, $3, $4)
         ON CONFLICT (reference) DO NOTHING",
    )
    .bind(&reference)
    .bind(id)
    .bind(new.iban.as_str())
    .bind(new.amount.minor_units())
    .execute(tx)
    .await?;
    // The bank ignores a repeated reference. It is repeated if a client uses a key again after the
    // record of the key has expired.
    if inserted.rows_affected() == 0 {
        return Err(LedgerError::AlreadyPaidOut(reference));
    }
    Ok(Payout {
        reference,
        account: id,
        iban: new.iban,
        amount: new.amount,
        currency: account.currency,
    })
}
