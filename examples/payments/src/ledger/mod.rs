//! The business: accounts and what moves between them, in one database file.
//!
//! Money enters by deposits and otherwise only moves: each change reads and writes both balances in
//! one `BEGIN IMMEDIATE` transaction. An account belongs to the caller who opened it. Others may
//! pay into it; to them it does not exist otherwise.

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
/// Writers wait for one connection, in the order in which they came, so that transactions of this
/// process never meet the file's lock; only another process that writes to it can.
#[derive(Debug, Clone)]
pub struct Ledger {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Ledger {
    /// Whether the file can be read.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Busy`] or [`LedgerError::Database`] if it cannot.
    pub async fn check(&self) -> Result<(), LedgerError> {
        sqlx::query("SELECT 1 FROM accounts LIMIT 1")
            .fetch_optional(&self.readers)
            .await?;
        Ok(())
    }

    /// A transaction that has the write lock from its beginning: what it reads stays true until it
    /// commits. Dropped, it rolls back.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}
