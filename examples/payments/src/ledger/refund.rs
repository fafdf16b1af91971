use aplomb::Id;
use sqlx::SqliteConnection;

use super::{Ledger, LedgerError, Payment, Status, account, payment};

impl Ledger {
    /// Refunds a payment once, with its full amount; returns the refunded payment.
    ///
    /// A refund debits the account that was paid, and only the owner of an account can debit it.
    /// Therefore only the payee can refund.
    ///
    /// # Errors
    ///
    /// In this order: [`LedgerError::PaymentNotFound`]; [`LedgerError::NotThePayee`];
    /// [`LedgerError::AlreadyRefunded`]; [`LedgerError::InsufficientFunds`] if the payee has spent
    /// the money; [`LedgerError::BalanceTooLarge`]. An error changes no balance.
    pub async fn refund(&self, caller: &str, id: Id<Payment>) -> Result<Payment, LedgerError> {
        let mut transaction = self.begin().await?;
        let mut payment = payment::find_visible(&mut transaction, caller, id).await?;
        let from = account::find(&mut transaction, payment.to).await?;
        if from.caller != caller {
            return Err(LedgerError::NotThePayee);
        }
        if payment.status == Status::Refunded {
            return Err(LedgerError::AlreadyRefunded);
        }
        let to = account::find(&mut transaction, payment.from).await?;
        account::transfer(&mut transaction, from, to, payment.amount).await?;
        mark_refunded(&mut transaction, id).await?;
        transaction.commit().await?;
        payment.status = Status::Refunded;
        Ok(payment)
    }
}

async fn mark_refunded(
    connection: &mut SqliteConnection,
    id: Id<Payment>,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE payments SET refunded = 1 WHERE id = ?")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
