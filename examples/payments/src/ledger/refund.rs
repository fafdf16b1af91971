use aplomb::Id;
use sqlx::SqliteConnection;

use super::{Ledger, LedgerError, Payment, Status, account, payment};

impl Ledger {
    /// Gives a payment back, once and whole, and returns it as refunded.
    ///
    /// A refund debits the account that was paid, and only its owner may debit an account. So the
    /// payee refunds; the payer can ask.
    ///
    /// # Errors
    ///
    /// In this order: [`LedgerError::PaymentNotFound`]; [`LedgerError::NotThePayee`];
    /// [`LedgerError::AlreadyRefunded`]; [`LedgerError::InsufficientFunds`] if the payee holds less
    /// by now; [`LedgerError::BalanceTooLarge`]. Nothing has moved then.
    pub async fn refund(&self, caller: &str, id: Id<Payment>) -> Result<Payment, LedgerError> {
        let mut transaction = self.begin().await?;
        let mut payment = payment::visible(&mut transaction, caller, id).await?;
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
