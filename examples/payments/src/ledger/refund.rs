use aplomb::Id;
use aplomb::prelude::Tx;

use super::super::Db;
use super::{LedgerError, Payment, Status, account, payment};

/// Refunds a payment once, with its full amount; returns the refunded payment.
///
/// A refund debits the account that was paid, and only the owner of an account can debit it.
/// Therefore only the payee can refund.
///
/// # Errors
///
/// In this order: [`LedgerError::PaymentNotFound`]; [`LedgerError::NotThePayee`];
/// [`LedgerError::AlreadyRefunded`]; [`LedgerError::InsufficientFunds`] if the payee has spent the
/// money; [`LedgerError::BalanceTooLarge`].
pub async fn refund(
    tx: &mut Tx<Db>,
    caller: &str,
    id: Id<Payment>,
) -> Result<Payment, LedgerError> {
    let mut payment = payment::lock_visible(tx, caller, id).await?;
    let mut accounts = account::lock(tx, [payment.from, payment.to]).await?;
    let from = accounts.take(payment.to)?;
    if from.caller != caller {
        return Err(LedgerError::NotThePayee);
    }
    if payment.status == Status::Refunded {
        return Err(LedgerError::AlreadyRefunded);
    }
    let to = accounts.take(payment.from)?;
    account::transfer(tx, from, to, payment.amount).await?;
    sqlx::query("UPDATE payments SET refunded = TRUE WHERE id = $1")
        .bind(id)
        .execute(tx)
        .await?;
    payment.status = Status::Refunded;
    Ok(payment)
}
