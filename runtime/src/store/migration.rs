//! The migrations of the tables that Aplomb has in a SQL database.
//!
//! A table of the database lists the applied migrations, with a checksum of the statements of each.
//! [`Schema::missing`] compares this list with the migrations of the build. A database applies a
//! migration and adds it to the list in one transaction, while it holds a lock. So several
//! processes can start at the same time.

use core::fmt;
use core::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The tables of one kind of database.
#[derive(Debug)]
pub(super) struct Schema {
    /// The name of the table that lists the applied migrations.
    pub(super) table: &'static str,
    /// The statement that begins a transaction for migrations.
    #[cfg_attr(
        not(any(test, feature = "cli")),
        expect(dead_code, reason = "only the script of the command `migrate` has it")
    )]
    pub(super) begin: &'static str,
    /// The statement that waits until no other transaction migrates; empty if `begin` does this.
    #[cfg_attr(
        not(any(test, feature = "cli", feature = "postgres")),
        expect(dead_code, reason = "SQLite has its lock in `begin`")
    )]
    pub(super) lock: &'static str,
    /// The migrations, with the versions 1, 2, 3 and so on.
    pub(super) migrations: &'static [Migration],
}

/// A step from the tables of one version to the tables of the next version.
///
/// A released migration never changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// The list of applied migrations in a database.
#[derive(Debug, Default)]
pub(super) struct MigrationList {
    /// The statements that create the table of the list; empty if it exists.
    pub(super) setup: String,
    pub(super) applied: Vec<AppliedMigration>,
}

/// A migration that the database lists as applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppliedMigration {
    pub(super) version: i64,
    pub(super) checksum: String,
}

/// The reaction to missing migrations at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnMissing {
    /// Applies them.
    Apply,
    /// Refuses to start.
    Refuse,
}

impl OnMissing {
    /// Returns the reaction for the value of the setting `APLOMB_MIGRATE`.
    pub(super) const fn from_setting(migrate: bool) -> Self {
        if migrate { Self::Apply } else { Self::Refuse }
    }
}

/// The error of a migration.
#[derive(Debug)]
pub(super) enum MigrationError {
    Database(sqlx::Error),
    /// A newer version of Aplomb has migrated the database.
    Newer {
        found: i64,
        newest: i64,
    },
    /// The database has applied other statements under this version.
    Changed(&'static Migration),
    /// Migrations are missing, and this process must not apply them.
    Missing(Vec<&'static Migration>),
}

impl Schema {
    /// Returns the migrations that are not applied, in their order.
    ///
    /// # Errors
    ///
    /// Fails if a migration is newer than this build, or has other statements.
    pub(super) fn missing(
        &self,
        applied: &[AppliedMigration],
    ) -> Result<Vec<&'static Migration>, MigrationError> {
        let newest = self.newest();
        let found = applied.iter().map(|applied| applied.version).max();
        if let Some(found) = found.filter(|found| *found > newest) {
            return Err(MigrationError::Newer { found, newest });
        }
        let mut missing = Vec::new();
        for migration in self.migrations {
            match applied.iter().find(|row| row.version == migration.version) {
                None => missing.push(migration),
                Some(row) if row.checksum == migration.checksum() => {}
                Some(_) => return Err(MigrationError::Changed(migration)),
            }
        }
        Ok(missing)
    }

    /// Does the same as [`missing`](Self::missing), and fails if a migration is missing.
    pub(super) fn check(&self, applied: &[AppliedMigration]) -> Result<(), MigrationError> {
        match self.missing(applied)? {
            missing if missing.is_empty() => Ok(()),
            missing => Err(MigrationError::Missing(missing)),
        }
    }

    /// Returns the statements that apply a migration and add it to the list.
    pub(super) fn statements(&self, migration: &Migration) -> String {
        // The name and the checksum have no quotes: see the tests.
        format!(
            "{}\nINSERT INTO {} (version, name, checksum)\nVALUES ({}, '{}', '{}');\n",
            migration.sql.trim_end(),
            self.table,
            migration.version,
            migration.name,
            migration.checksum()
        )
    }

    /// Returns a script that applies the missing migrations in one transaction.
    ///
    /// # Errors
    ///
    /// Fails in the same cases as [`missing`](Self::missing).
    #[cfg(any(test, feature = "cli"))]
    pub(super) fn script(&self, list: &MigrationList) -> Result<String, MigrationError> {
        let missing = self.missing(&list.applied)?;
        if missing.is_empty() {
            return Ok(String::from("-- nothing to do\n"));
        }
        let mut script = String::new();
        for statement in [self.begin, self.lock, list.setup.trim_end()] {
            if !statement.is_empty() {
                script.push_str(statement);
                script.push('\n');
            }
        }
        for migration in missing {
            let statements = self.statements(migration);
            // Writing to a `String` cannot fail.
            let _ = write!(script, "\n-- Migration {migration}\n{statements}");
        }
        script.push_str("\nCOMMIT;\n");
        Ok(script)
    }

    fn newest(&self) -> i64 {
        self.migrations
            .last()
            .map_or(0, |migration| migration.version)
    }
}

impl Migration {
    /// Returns the SHA-256 of the statements in hexadecimal digits, as `sha256sum` prints it.
    pub(super) fn checksum(&self) -> String {
        // Git can change the ends of lines when it checks the file out.
        let sql = self.sql.replace("\r\n", "\n");
        let mut checksum = String::with_capacity(64);
        for byte in Sha256::digest(sql.as_bytes()) {
            // Writing to a `String` cannot fail.
            let _ = write!(checksum, "{byte:02x}");
        }
        checksum
    }
}

/// Formats the migration as `0001_records`, like its file.
impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}_{}", self.version, self.name)
    }
}

/// Returns the names of migrations.
pub(super) fn names(migrations: &[&Migration]) -> Vec<String> {
    migrations.iter().map(ToString::to_string).collect()
}

impl MigrationError {
    /// Returns the message, which describes an error of the database with `describe`.
    pub(super) fn describe(&self, describe: impl FnOnce(&sqlx::Error) -> String) -> String {
        match self {
            Self::Database(error) => describe(error),
            Self::Newer { found, newest } => format!(
                "a newer version of Aplomb has migrated its tables (they have version {found}, \
                 this build needs {newest}): use that version of Aplomb"
            ),
            Self::Changed(migration) => format!(
                "its migration {migration} was applied with other statements than this build has \
                 (checksum {}): use the version of Aplomb that applied it",
                migration.checksum()
            ),
            Self::Missing(missing) => format!(
                "missing migrations: {}: run the command `migrate`, or apply the statements that \
                 `migrate --print` prints, or start with APLOMB_MIGRATE=on",
                names(missing).join(", ")
            ),
        }
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema {
        table: "migration",
        begin: "BEGIN;",
        lock: "LOCK;",
        migrations: &[
            Migration {
                version: 1,
                name: "records",
                sql: "CREATE TABLE record;\n",
            },
            Migration {
                version: 2,
                name: "limits",
                sql: "CREATE TABLE bucket;\n",
            },
        ],
    };

    fn applied(version: i64, checksum: &str) -> AppliedMigration {
        AppliedMigration {
            version,
            checksum: checksum.to_owned(),
        }
    }

    fn first() -> AppliedMigration {
        applied(1, &SCHEMA.migrations[0].checksum())
    }

    fn second() -> AppliedMigration {
        applied(2, &SCHEMA.migrations[1].checksum())
    }

    fn missing(rows: &[AppliedMigration]) -> Vec<String> {
        names(&SCHEMA.missing(rows).expect("tables that can be migrated"))
    }

    fn message(rows: &[AppliedMigration]) -> String {
        let error = SCHEMA.check(rows).expect_err("an error");
        error.describe(ToString::to_string)
    }

    #[test]
    fn migrations_that_are_not_listed_are_missing() {
        assert_eq!(missing(&[]), ["0001_records", "0002_limits"]);
        assert_eq!(missing(&[first()]), ["0002_limits"]);
        assert_eq!(missing(&[second()]), ["0001_records"]);
        assert_eq!(missing(&[second(), first()]), [""; 0]);
    }

    #[test]
    fn a_check_names_the_missing_migrations_and_the_command() {
        assert!(SCHEMA.check(&[first(), second()]).is_ok());
        let text = message(&[]);
        assert!(
            text.starts_with(
                "missing migrations: 0001_records, 0002_limits: run the command `migrate`"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_newer_version_is_an_error_with_both_versions() {
        let text = message(&[first(), second(), applied(7, "unknown")]);
        assert!(
            text.contains("they have version 7, this build needs 2"),
            "{text}"
        );
    }

    #[test]
    fn a_changed_migration_is_an_error_with_its_name() {
        let text = message(&[first(), applied(2, &first().checksum)]);
        assert!(
            text.starts_with("its migration 0002_limits was applied with other statements"),
            "{text}"
        );
    }

    #[test]
    fn the_checksum_is_that_of_sha256sum_and_does_not_depend_on_line_ends() {
        let migration = |sql| Migration {
            version: 1,
            name: "a",
            sql,
        };
        let checksum = "82efb67f3010c6eb7ead02e4f6d9550633dbc1407f99aa487468e7b2567aebbc";
        assert_eq!(migration("SELECT 1;\nSELECT 2;\n").checksum(), checksum);
        assert_eq!(migration("SELECT 1;\r\nSELECT 2;\r\n").checksum(), checksum);
    }

    #[test]
    fn a_script_applies_and_lists_the_migrations_in_one_transaction() {
        let script = |applied, setup: &str| {
            let setup = setup.to_owned();
            let script = SCHEMA.script(&MigrationList { setup, applied });
            script.expect("tables that can be migrated")
        };
        assert_eq!(script(vec![first(), second()], ""), "-- nothing to do\n");
        let limits = format!(
            "\n-- Migration 0002_limits\nCREATE TABLE bucket;\n\
             INSERT INTO migration (version, name, checksum)\nVALUES (2, 'limits', '{}');\n\
             \nCOMMIT;\n",
            second().checksum
        );
        assert_eq!(
            script(vec![first()], ""),
            format!("BEGIN;\nLOCK;\n{limits}")
        );
        let all = script(Vec::new(), "CREATE TABLE migration;\n");
        let start = "BEGIN;\nLOCK;\nCREATE TABLE migration;\n\n-- Migration 0001_records\n";
        assert!(all.starts_with(start) && all.ends_with(&limits), "{all}");
    }

    #[test]
    fn the_migrations_of_each_database_are_numbered_and_their_names_need_no_quotes() {
        let schemas = [
            #[cfg(feature = "postgres")]
            &super::super::postgres::SCHEMA,
            #[cfg(feature = "sqlite")]
            &super::super::sqlite::SCHEMA,
        ];
        for schema in schemas {
            for (expected, migration) in (1..).zip(schema.migrations) {
                assert_eq!(migration.version, expected);
                let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                assert!(migration.name.bytes().all(is_plain), "{migration}");
                assert!(migration.sql.trim_end().ends_with(';'), "{migration}");
            }
        }
    }
}
