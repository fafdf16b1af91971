use aplomb::{ApiError, Id};

use super::{Account, Payment};

/// Why the ledger refuses.
#[derive(Debug, thiserror::Error, ApiError)]
#[non_exhaustive]
pub enum LedgerError {
    /// There is no such account, as far as the caller may know.
    #[problem(not_found, code = "ACCOUNT_NOT_FOUND")]
    #[error("there is no account {0}")]
    AccountNotFound(Id<Account>),
    /// There is no such payment, as far as the caller may know.
    #[problem(not_found, code = "PAYMENT_NOT_FOUND")]
    #[error("there is no payment {0}")]
    PaymentNotFound(Id<Payment>),
    /// An account cannot pay itself.
    #[problem(validation, code = "SAME_ACCOUNT", pointer = "#/to")]
    #[error("the account that is paid must be another than the one that pays")]
    SameAccount,
    /// The two accounts hold different currencies.
    #[problem(validation, code = "CURRENCY_MISMATCH", pointer = "#/to")]
    #[error("the account that is paid holds another currency than the one that pays")]
    CurrencyMismatch,
    /// The account that pays holds less than the amount.
    #[problem(conflict, code = "INSUFFICIENT_FUNDS")]
    #[error("the account that pays holds {available}, which is too little")]
    InsufficientFunds {
        /// What it holds, in minor units.
        #[problem(extension)]
        available: i64,
    },
    /// The balance would be more than can be counted.
    #[problem(conflict, code = "BALANCE_TOO_LARGE")]
    #[error("the balance would be larger than an account can hold")]
    BalanceTooLarge,
    /// The payment went back already.
    #[problem(conflict, code = "ALREADY_REFUNDED")]
    #[error("the payment was refunded already")]
    AlreadyRefunded,
    /// The caller paid; only the one who was paid can give the money back.
    #[problem(forbidden, code = "NOT_THE_PAYEE")]
    #[error("only the owner of the account that was paid can refund a payment")]
    NotThePayee,
    /// Somebody else is writing for too long; nothing was changed.
    #[problem(dependency, code = "LEDGER_BUSY", retry_after = "1s", effects = none)]
    #[error("the ledger is busy")]
    Busy(#[source] sqlx::Error),
    /// The database failed.
    #[problem(internal)]
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        if is_busy(&error) {
            Self::Busy(error)
        } else {
            Self::Database(error)
        }
    }
}

/// Whether the database or its connection was not to be had in time. A transaction that meets this
/// rolls back, so that nothing was changed.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_lock(&code)),
        _ => false,
    }
}

/// `SQLITE_BUSY` (5) or `SQLITE_LOCKED` (6); extended codes carry the primary one in their low byte
/// (<https://sqlite.org/rescode.html>).
fn is_lock(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_of_a_lock_are_a_lock() {
        for code in ["5", "6", "261", "262", "517", "773"] {
            assert!(is_lock(code), "{code}");
        }
        for code in ["", "1", "13", "19", "787", "x"] {
            assert!(!is_lock(code), "{code}");
        }
    }
}
