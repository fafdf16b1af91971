//! A part of a transaction that can be rolled back on its own.

use core::fmt;

use sqlx_core::transaction::TransactionManager as _;

use super::database::TransactionDatabase;
use super::slot::Slot;
use super::source::Rollback;

/// A savepoint in the transaction of a handler.
///
/// Pass `&mut savepoint` to the queries of sqlx. A savepoint that is dropped is rolled back.
///
/// ```
/// use aplomb::transaction::Tx;
/// use sqlx::Sqlite;
///
/// /// Adds a tag, if the item does not have it yet.
/// async fn add_tag(tx: &mut Tx<Sqlite>, item: i64, tag: &str) -> sqlx::Result<bool> {
///     let mut savepoint = tx.begin_savepoint().await?;
///     let added = sqlx::query("INSERT INTO tag (item, tag) VALUES ($1, $2)")
///         .bind(item)
///         .bind(tag)
///         .execute(&mut savepoint)
///         .await;
///     match added {
///         Ok(_) => savepoint.commit().await.map(|()| true),
///         Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
///             savepoint.rollback().await.map(|()| false)
///         }
///         Err(error) => Err(error),
///     }
/// }
/// ```
pub struct Savepoint<'a, DB: TransactionDatabase> {
    pub(super) slot: &'a Slot<DB>,
    /// The error of the transaction before the savepoint.
    error_before: Option<Rollback>,
    has_ended: bool,
}

impl<'a, DB: TransactionDatabase> Savepoint<'a, DB> {
    pub(super) async fn begin(slot: &'a Slot<DB>) -> Result<Self, sqlx::Error> {
        let mut connection = slot.lend().await?;
        let error_before = slot.error();
        let begun = DB::TransactionManager::begin(&mut connection, None).await;
        begun.inspect_err(|error| slot.remember(error))?;
        Ok(Self {
            slot,
            error_before,
            has_ended: false,
        })
    }

    /// Keeps the statements of the savepoint as a part of the transaction.
    ///
    /// # Errors
    ///
    /// Fails if the transaction has ended, or if the statement fails.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        let mut connection = self.slot.lend().await?;
        let committed = DB::TransactionManager::commit(&mut connection).await;
        self.has_ended = committed.is_ok();
        drop(connection);
        committed.inspect_err(|error| self.slot.remember(error))
    }

    /// Rolls back the statements of the savepoint. The transaction can be committed although a
    /// statement of the savepoint has failed.
    ///
    /// # Errors
    ///
    /// Fails if the transaction has ended, or if the statement fails.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        let mut connection = self.slot.lend().await?;
        let rolled_back = DB::TransactionManager::rollback(&mut connection).await;
        self.has_ended = rolled_back.is_ok();
        drop(connection);
        match rolled_back {
            Ok(()) => {
                self.slot.restore_error(self.error_before.take());
                Ok(())
            }
            Err(error) => {
                self.slot.remember(&error);
                Err(error)
            }
        }
    }

    /// Begins a savepoint inside of this one.
    ///
    /// # Errors
    ///
    /// Fails if the transaction has ended, or if the statement fails.
    pub async fn begin_savepoint(&mut self) -> Result<Savepoint<'_, DB>, sqlx::Error> {
        Savepoint::begin(self.slot).await
    }
}

impl<DB: TransactionDatabase> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.slot.start_rollback(self.error_before.take());
        }
    }
}

impl<DB: TransactionDatabase> fmt::Debug for Savepoint<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Savepoint").finish_non_exhaustive()
    }
}
