//! The tables, and the migrations that create them.
//!
//! All names begin with `aplomb_`, so that they never meet the tables of the application or the
//! migrations of sqlx.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::store::migration::{AppliedMigration, Migration, MigrationError, MigrationList, Schema};

pub(in crate::store) static SCHEMA: Schema = Schema {
    table: "aplomb_migration",
    begin: "BEGIN IMMEDIATE;",
    lock: "",
    migrations: &[Migration {
        version: 1,
        name: "records",
        sql: include_str!("0001_records.sql"),
    }],
};

/// Creates the list of applied migrations.
const SETUP: &str = "\
CREATE TABLE aplomb_migration (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;
";

/// Returns the list of a database without tables.
pub(super) fn empty_list() -> MigrationList {
    MigrationList {
        setup: String::from(SETUP),
        applied: Vec::new(),
    }
}

/// Reads the list of applied migrations. Needs no tables, and changes nothing.
pub(super) async fn read_list(
    connection: &mut SqliteConnection,
) -> Result<MigrationList, sqlx::Error> {
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'aplomb_migration'",
    )
    .fetch_one(&mut *connection)
    .await?;
    if tables == 0 {
        return Ok(empty_list());
    }
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT version, checksum FROM aplomb_migration")
        .fetch_all(connection)
        .await?;
    let applied = |(version, checksum)| AppliedMigration { version, checksum };
    Ok(MigrationList {
        setup: String::new(),
        applied: rows.into_iter().map(applied).collect(),
    })
}

/// Applies the missing migrations, and returns them. The caller holds the write lock.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
) -> Result<Vec<&'static Migration>, MigrationError> {
    let list = read_list(connection).await?;
    let missing = SCHEMA.missing(&list.applied)?;
    execute(connection, list.setup).await?;
    for migration in &missing {
        execute(connection, SCHEMA.statements(migration)).await?;
    }
    Ok(missing)
}

async fn execute(connection: &mut SqliteConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await?;
    Ok(())
}
