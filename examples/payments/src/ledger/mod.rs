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

use core::time::Duration;
use std::sync::Arc;

use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::Mutex;
use tokio::time::Instant;

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
    last_check: Arc<Mutex<Option<Check>>>,
}

/// A check of the file.
#[derive(Debug, Clone, Copy)]
struct Check {
    at: Instant,
    passed: bool,
}

/// The time for which the result of a check is used again. The health endpoint is public, and each
/// check writes to the disk.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Ledger {
    /// Checks that the file can be written: inserts a row, deletes it, and commits. The row needs
    /// new pages, so the check fails if the disk is full. The result is used for a second.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Busy`], [`LedgerError::Unavailable`] or [`LedgerError::Database`] if the file
    /// cannot be written.
    pub async fn check(&self) -> Result<(), LedgerError> {
        let mut last = self.last_check.lock().await;
        if let Some(check) = *last
            && check.at.elapsed() < CHECK_INTERVAL
        {
            return if check.passed {
                Ok(())
            } else {
                let error = "the last check failed, less than a second ago";
                Err(LedgerError::Unavailable(sqlx::Error::Configuration(
                    error.into(),
                )))
            };
        }
        let result = self.write_and_delete().await;
        *last = Some(Check {
            at: Instant::now(),
            passed: result.is_ok(),
        });
        result
    }

    async fn write_and_delete(&self) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO health_checks (padding) VALUES (zeroblob(8192))")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM health_checks")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Begins a transaction with the write lock, so the data that it reads cannot change until it
    /// commits. If the transaction is dropped without a commit, it is rolled back.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(LedgerError::not_begun)
    }
}
