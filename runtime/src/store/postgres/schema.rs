//! The tables and functions, and the migrations that create them.
//!
//! They are in the schema `aplomb`, so that they never meet the tables of the application or the
//! migrations of sqlx.

use sqlx::postgres::PgConnection;

/// The migrations, in their order. A migration that was released never changes.
const MIGRATIONS: [&str; 1] = [include_str!("0001_records.sql")];

/// The newest version of the tables that this build knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len().cast_signed() as i64;

/// The key of the advisory lock of a migration: `aplomb` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(107135483473250)";

/// The error of a migration.
#[derive(Debug)]
pub(super) enum SchemaError {
    Database(sqlx::Error),
    /// A newer version of Aplomb has migrated the database.
    Newer {
        found: i64,
    },
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Creates the tables, or applies the migrations that are missing. The caller has begun a
/// transaction.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), SchemaError> {
    if has_table(connection).await? && version(connection).await? == NEWEST {
        return Ok(());
    }
    // `CREATE SCHEMA IF NOT EXISTS` fails if two transactions execute it at the same time, so the
    // lock comes first.
    execute(connection, LOCK).await?;
    if !has_table(connection).await? {
        let table = "CREATE SCHEMA IF NOT EXISTS aplomb; \
                     CREATE TABLE aplomb.migration (version bigint NOT NULL PRIMARY KEY)";
        execute(connection, table).await?;
    }
    let found = version(connection).await?;
    if found > NEWEST {
        return Err(SchemaError::Newer { found });
    }
    for (version, migration) in (1_i64..).zip(MIGRATIONS) {
        if version > found {
            execute(connection, migration).await?;
            sqlx::query("INSERT INTO aplomb.migration (version) VALUES ($1)")
                .persistent(false)
                .bind(version)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Returns `true` if the table of the migrations exists. The role needs no privilege for this.
async fn has_table(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace \
         ON pg_namespace.oid = relnamespace WHERE nspname = 'aplomb' AND relname = 'migration')",
    )
    .persistent(false)
    .fetch_one(connection)
    .await
}

async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM aplomb.migration")
        .persistent(false)
        .fetch_one(connection)
        .await
}

async fn execute(
    connection: &mut PgConnection,
    statements: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(statements).execute(connection).await?;
    Ok(())
}
