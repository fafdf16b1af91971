use aplomb::{ApiError, Id};

use super::{Account, Payment};

/// An error of the ledger.
#[derive(Debug, thiserror::Error, ApiError)]
#[non_exhaustive]
pub enum LedgerError {
    /// The account does not exist, or the caller may not see it.
    #[problem(not_found, code = "ACCOUNT_NOT_FOUND")]
    #[error("there is no account {0}")]
    AccountNotFound(Id<Account>),
    /// The payment does not exist, or the caller may not see it.
    #[problem(not_found, code = "PAYMENT_NOT_FOUND")]
    #[error("there is no payment {0}")]
    PaymentNotFound(Id<Payment>),
    /// An account cannot pay itself.
    #[problem(validation, code = "SAME_ACCOUNT", pointer = "#/to")]
    #[error("the account that is paid must differ from the account that pays")]
    SameAccount,
    /// The two accounts have different currencies.
    #[problem(validation, code = "CURRENCY_MISMATCH", pointer = "#/to")]
    #[error("the account that is paid has another currency than the account that pays")]
    CurrencyMismatch,
    /// The balance of the account that pays is smaller than the amount.
    #[problem(conflict, code = "INSUFFICIENT_FUNDS")]
    #[error("the account that pays has {available}, which is less than the amount")]
    InsufficientFunds {
        /// The balance in minor units.
        #[problem(extension)]
        available: i64,
    },
    /// The balance would not fit in 64 bits.
    #[problem(conflict, code = "BALANCE_TOO_LARGE")]
    #[error(
        "the balance would be larger than 9223372036854775807, the largest balance of an account"
    )]
    BalanceTooLarge,
    /// The payment is already refunded.
    #[problem(conflict, code = "ALREADY_REFUNDED")]
    #[error("the payment is already refunded")]
    AlreadyRefunded,
    /// The caller paid. Only the owner of the account that was paid can refund.
    #[problem(forbidden, code = "NOT_THE_PAYEE")]
    #[error("only the owner of the account that was paid can refund a payment")]
    NotThePayee,
    /// The reference of the payout belongs to an earlier payout.
    #[problem(conflict, code = "ALREADY_PAID_OUT")]
    #[error("there is an earlier payout with the reference {0}")]
    AlreadyPaidOut(String),
    /// The database cannot execute statements at the moment, or has no free connection.
    #[problem(dependency, code = "LEDGER_UNAVAILABLE", retry_after = "1s")]
    #[error("the ledger is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// A statement failed.
    #[problem(internal)]
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// A failed statement of a `Tx` also rolls the transaction back, and the pipeline often replaces
/// the response by a more exact one, such as `TRANSACTION_CONFLICT`.
impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        let is_unavailable = match &error {
            sqlx::Error::Database(error) => super::super::is_unavailable(error.as_ref()),
            other => matches!(
                other,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
        };
        if is_unavailable {
            Self::Unavailable(error)
        } else {
            Self::Database(error)
        }
    }
}
