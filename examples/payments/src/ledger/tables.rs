use sqlx::{Executor, Pool};

use super::super::{Db, SCHEMA, begin_alone};

/// The version of the tables that this version of the service reads and writes.
const LAYOUT_VERSION: i64 = 1;

/// The reason why a database cannot be opened as a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The database cannot be opened, or has tables of another program.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another version of the service has created the tables.
    #[error("it has layout {0}, this version reads layout {LAYOUT_VERSION}")]
    Layout(i64),
}

/// Creates the tables in a new database. One transaction checks whether they exist and creates them.
/// If several processes start at the same time, only one of them creates the tables.
///
/// # Errors
///
/// [`OpenError`] if the database cannot be written, or has other tables.
pub async fn create_tables(pool: &Pool<Db>) -> Result<(), OpenError> {
    // A role that may not create tables can use existing ones.
    if let Ok(Some(version)) = layout_version(&mut *pool.begin().await?).await {
        return check_version(version);
    }
    let mut transaction = begin_alone(pool).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS ledger_layout (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await?;
    if let Some(version) = layout_version(&mut *transaction).await? {
        return check_version(version);
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO ledger_layout (version) VALUES ($1)")
        .bind(LAYOUT_VERSION)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Returns the version of the tables; `None` if they are not created yet.
async fn layout_version<'e>(
    executor: impl Executor<'e, Database = Db>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT max(version) FROM ledger_layout")
        .fetch_one(executor)
        .await
}

const fn check_version(version: i64) -> Result<(), OpenError> {
    match version {
        LAYOUT_VERSION => Ok(()),
        other => Err(OpenError::Layout(other)),
    }
}
