//! The tables, and the migrations that create them.
//!
//! All names begin with `aplomb_`, so that they never meet the tables of the application or the
//! migrations of sqlx.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::store::migration::{AppliedMigration, Migration, MigrationError, Schema};

pub(in crate::store) static SCHEMA: Schema = Schema {
    table: "aplomb_migration",
    create_table: "\
CREATE TABLE IF NOT EXISTS aplomb_migration (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;",
    begin: "BEGIN IMMEDIATE;",
    migrations: &[Migration {
        version: 1,
        name: "records",
        sql: include_str!("0001_records.sql"),
    }],
};

/// Reads the list of applied migrations. It is empty if its table does not exist.
pub(super) async fn applied(
    connection: &mut SqliteConnection,
) -> Result<Vec<AppliedMigration>, sqlx::Error> {
    let table =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'aplomb_migration'";
    let tables: i64 = sqlx::query_scalar(table)
        .fetch_one(&mut *connection)
        .await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT version, checksum FROM aplomb_migration")
        .fetch_all(connection)
        .await?;
    let applied = |(version, checksum)| AppliedMigration { version, checksum };
    Ok(rows.into_iter().map(applied).collect())
}

/// Applies the missing migrations, and returns them. The caller holds the write lock.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
) -> Result<Vec<&'static Migration>, MigrationError> {
    let missing = SCHEMA.missing(&applied(connection).await?)?;
    if missing.is_empty() {
        return Ok(missing);
    }
    sqlx::raw_sql(SCHEMA.create_table)
        .execute(&mut *connection)
        .await?;
    for migration in &missing {
        sqlx::raw_sql(AssertSqlSafe(SCHEMA.statements(migration)))
            .execute(&mut *connection)
            .await?;
    }
    Ok(missing)
}
