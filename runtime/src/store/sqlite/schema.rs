//! The tables, and the migrations that create them.
//!
//! All names begin with `aplomb_`, so that they never meet the tables of the application or the
//! migrations of sqlx.

use sqlx::sqlite::SqliteConnection;

/// The migrations, in their order. A migration that was released never changes.
const MIGRATIONS: [&str; 1] = [include_str!("0001_records.sql")];

/// The error of a migration.
#[derive(Debug)]
pub(super) enum SchemaError {
    Database(sqlx::Error),
    /// A newer version of Aplomb has written the file.
    Newer {
        found: i64,
    },
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The newest version of the tables that this build knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len().cast_signed() as i64;

/// Creates the tables, or applies the migrations that are missing. The caller holds the write lock,
/// so several processes can start at the same time.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), SchemaError> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS aplomb_migration (version INTEGER NOT NULL PRIMARY KEY) STRICT",
    )
    .execute(&mut *connection)
    .await?;
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM aplomb_migration")
        .fetch_one(&mut *connection)
        .await?;
    if found > NEWEST {
        return Err(SchemaError::Newer { found });
    }
    for (version, migration) in (1_i64..).zip(MIGRATIONS) {
        if version > found {
            sqlx::raw_sql(migration).execute(&mut *connection).await?;
            sqlx::query("INSERT INTO aplomb_migration (version) VALUES (?1)")
                .bind(version)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}
