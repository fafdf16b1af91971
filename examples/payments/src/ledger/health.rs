use core::time::Duration;
use std::sync::Arc;

use sqlx::{Connection as _, Database, Pool};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::Db;
use super::LedgerError;

/// The time for which the result of a check is used again. The health endpoint is public, and each
/// check writes to the disk.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The check that the ledger can be written. Clones share the last result.
///
/// The check has its own transaction, because it stores the result of the commit. A `Tx` is
/// committed after the handler.
#[derive(Debug, Clone, Default)]
pub struct HealthCheck {
    last: Arc<Mutex<Option<Check>>>,
}

#[derive(Debug, Clone, Copy)]
struct Check {
    at: Instant,
    passed: bool,
}

impl HealthCheck {
    /// Checks that the ledger can be written: inserts a row, deletes it, and commits. The row needs
    /// new pages, so the check fails if the disk is full. The result is used for a second.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Unavailable`] or [`LedgerError::Database`] if the ledger cannot be written.
    pub async fn run(&self, pool: &Pool<Db>) -> Result<(), LedgerError> {
        let mut last = self.last.lock().await;
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
        let result = write_and_delete(pool).await;
        *last = Some(Check {
            at: Instant::now(),
            passed: result.is_ok(),
        });
        Ok(result?)
    }
}

async fn write_and_delete(pool: &Pool<Db>) -> sqlx::Result<()> {
    let mut connection = pool.acquire().await?;
    let result = write_and_delete_on(&mut connection).await;
    if result.is_err() {
        // After an error such as a full disk, SQLite rolls a transaction back by itself, and sqlx
        // still counts it as open. The connection cannot begin another transaction.
        connection.close_on_drop();
    }
    result
}

async fn write_and_delete_on(connection: &mut <Db as Database>::Connection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("INSERT INTO health_checks (padding) VALUES ($1)")
        .bind(vec![0_u8; 8192])
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM health_checks")
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
