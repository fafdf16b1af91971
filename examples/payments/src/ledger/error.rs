use aplomb::{ApiError, Id};
use sqlx::error::DatabaseError;

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
    /// Another process has locked the file for too long. Nothing was changed.
    #[problem(dependency, code = "LEDGER_BUSY", retry_after = "1s", effects = none)]
    #[error("the ledger is busy")]
    Busy(#[source] sqlx::Error),
    /// The database failed before the transaction began, or has no room. Nothing was changed.
    #[problem(
        dependency,
        code = "LEDGER_UNAVAILABLE",
        retry_after = "1s",
        effects = none
    )]
    #[error("the ledger is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The database failed. A transaction may or may not have been committed.
    #[problem(internal)]
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        if is_busy(&error) {
            Self::Busy(error)
        } else if is_full(&error) {
            Self::Unavailable(error)
        } else {
            Self::Database(error)
        }
    }
}

impl LedgerError {
    /// Returns the error of a transaction that did not begin.
    pub(super) fn not_begun(error: sqlx::Error) -> Self {
        if is_busy(&error) {
            Self::Busy(error)
        } else {
            Self::Unavailable(error)
        }
    }
}

/// Returns whether the error is a timeout of the pool, or a timeout of the lock of the file. A
/// transaction with this error is rolled back, so it has changed nothing.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_lock_code(&code)),
        _ => false,
    }
}

/// Returns whether the disk is full. A statement with this error has changed nothing. A `COMMIT`
/// with this error has not written its commit frame to the WAL, so it has changed nothing either.
fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| primary_code(&code) == Some(SQLITE_FULL))
}

/// Returns whether the code is `SQLITE_BUSY` (5) or `SQLITE_LOCKED` (6).
fn is_lock_code(code: &str) -> bool {
    matches!(primary_code(code), Some(5 | 6))
}

/// Returns the primary code, which is the low byte of an extended code
/// (<https://sqlite.org/rescode.html>).
fn primary_code(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

const SQLITE_FULL: u32 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primary_and_extended_codes_of_a_lock_are_recognized() {
        for code in ["5", "6", "261", "262", "517", "773"] {
            assert!(is_lock_code(code), "{code}");
        }
        for code in ["", "1", "13", "19", "787", "x"] {
            assert!(!is_lock_code(code), "{code}");
        }
    }
}
