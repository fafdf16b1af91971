//! The business logic: accounts and the payments between them, in one `SQLite` file.
//!
//! Deposits add money, and payments and refunds move it. Each payment or refund reads and writes
//! both balances in one `BEGIN IMMEDIATE` transaction. An account belongs to the caller who opened
//! it. Other callers can pay to the account, and get [`LedgerError::AccountNotFound`] for every
//! other operation.

mod account;
mod error;
mod history;
mod open;
mod payment;
mod refund;
mod row;
#[cfg(test)]
mod tests;
mod values;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use self::account::Account;
pub use self::error::LedgerError;
pub use self::history::NewestFirst;
pub use self::open::OpenError;
pub use self::payment::{NewPayment, Payment, Status};
pub use self::values::{Amount, Currency, InvalidValue, Owner};

/// The ledger. Clones share its connections.
///
/// All writers of a process share one connection, and wait for it in their order of arrival. A
/// writer therefore never finds the file locked by its own process, only by another process.
#[derive(Debug, Clone)]
pub struct Ledger {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Ledger {
    /// Checks that the file can be read.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Busy`] or [`LedgerError::Database`] if it cannot be read.
    pub async fn check(&self) -> Result<(), LedgerError> {
        sqlx::query("SELECT 1 FROM accounts LIMIT 1")
            .fetch_optional(&self.readers)
            .await?;
        Ok(())
    }

    /// Begins a transaction with the write lock, so the data that it reads cannot change until it
    /// commits. If the transaction is dropped without a commit, it is rolled back.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}
