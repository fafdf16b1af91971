//! The tables and functions, and the migrations that create them.
//!
//! They are in the schema `aplomb`, so that they never meet the tables of the application or the
//! migrations of sqlx.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use crate::store::migration::{
    AppliedMigration, Migration, MigrationError, MigrationList, OnMissing, Schema,
};

pub(in crate::store) static SCHEMA: Schema = Schema {
    table: "aplomb.migration",
    begin: "BEGIN;",
    // `CREATE SCHEMA IF NOT EXISTS` fails if two transactions execute it at the same time. The key
    // is `aplomb` in ASCII.
    lock: "SELECT pg_advisory_xact_lock(107135483473250);",
    migrations: &[
        Migration {
            version: 1,
            name: "records",
            sql: include_str!("0001_records.sql"),
        },
        Migration {
            version: 2,
            name: "limits",
            sql: include_str!("0002_limits.sql"),
        },
    ],
};

/// Creates the schema. The role needs the privilege `CREATE` on the database, also if the schema
/// exists, so the caller looks first.
const CREATE_SCHEMA: &str = "CREATE SCHEMA aplomb;\n";

/// Creates the list of applied migrations.
const CREATE_LIST: &str = "\
CREATE TABLE aplomb.migration (
    version bigint NOT NULL PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
";

/// Returns the list of a database without the schema.
pub(super) fn empty_list() -> MigrationList {
    MigrationList {
        setup: [CREATE_SCHEMA, CREATE_LIST].concat(),
        applied: Vec::new(),
    }
}

/// Reads the list of applied migrations. Needs no tables, and changes nothing.
pub(super) async fn read_list(connection: &mut PgConnection) -> Result<MigrationList, sqlx::Error> {
    let (has_schema, has_list): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'aplomb'), \
         EXISTS (SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace \
         ON pg_namespace.oid = relnamespace WHERE nspname = 'aplomb' AND relname = 'migration')",
    )
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    if !has_schema {
        return Ok(empty_list());
    }
    if !has_list {
        let setup = String::from(CREATE_LIST);
        let applied = Vec::new();
        return Ok(MigrationList { setup, applied });
    }
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT version, checksum FROM aplomb.migration")
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let applied = |(version, checksum)| AppliedMigration { version, checksum };
    Ok(MigrationList {
        setup: String::new(),
        applied: rows.into_iter().map(applied).collect(),
    })
}

/// Applies the missing migrations, and returns them; or fails if there are any. The caller has
/// begun a transaction.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    on_missing: OnMissing,
) -> Result<Vec<&'static Migration>, MigrationError> {
    // Most starts find nothing to do, and need no lock.
    let list = read_list(connection).await?;
    let missing = SCHEMA.missing(&list.applied)?;
    if missing.is_empty() || on_missing == OnMissing::Refuse {
        SCHEMA.check(&list.applied)?;
        return Ok(missing);
    }
    // Another process may migrate for longer than a statement takes.
    execute(connection, String::from("SET LOCAL statement_timeout = 0")).await?;
    execute(connection, String::from(SCHEMA.lock)).await?;
    // Another process may have migrated before the lock was free.
    let list = read_list(connection).await?;
    let missing = SCHEMA.missing(&list.applied)?;
    execute(connection, list.setup).await?;
    for migration in &missing {
        execute(connection, SCHEMA.statements(migration)).await?;
    }
    Ok(missing)
}

async fn execute(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await?;
    Ok(())
}
