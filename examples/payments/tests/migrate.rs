//! Tests of the command `migrate`.

use std::path::Path;
use std::thread;

use aplomb::testing::{PgBouncer, PostgresServer, Program};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

/// A store in a file, which does not exist at first.
struct Store {
    directory: TempDir,
}

/// The exit code and the output of a command.
#[derive(Debug, PartialEq, Eq)]
struct Printed {
    code: i32,
    output: String,
    errors: String,
}

impl Store {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        Self { directory }
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("store.db")
    }

    fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Printed {
        run(
            &format!("sqlite:{}", self.file().display()),
            arguments,
            settings,
        )
    }

    async fn pool(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(self.file());
        let pool = SqlitePool::connect_with(options.create_if_missing(true)).await;
        pool.expect("a file that can be opened")
    }

    async fn execute(&self, script: &str) {
        let script = sqlx::AssertSqlSafe(script.to_owned());
        let pool = self.pool().await;
        sqlx::raw_sql(script)
            .execute(&pool)
            .await
            .expect("valid SQL");
        pool.close().await;
    }
}

fn run(store: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Printed {
    // The service creates the directory of the bank.
    let directory = TempDir::new().expect("a directory");
    let program = Program::new(env!("CARGO_BIN_EXE_payments")).without_env("PAYMENTS_BANK");
    let program = program.current_dir(directory.path());
    let program = program.args(arguments).envs(settings);
    let output = program.envs(&[("APLOMB_STORE", store)]).run();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Printed {
        code: output.status.code().expect("no signal"),
        output: text(output.stdout),
        errors: text(output.stderr),
    }
}

fn success(output: &str) -> Printed {
    Printed {
        code: 0,
        output: format!("{output}\n"),
        errors: String::new(),
    }
}

fn is_empty(directory: &Path) -> bool {
    let mut entries = directory.read_dir().expect("a directory");
    entries.next().is_none()
}

const OFF: (&str, &str) = ("APLOMB_MIGRATE", "off");

#[test]
fn migrate_prints_each_applied_migration_and_then_has_nothing_to_do() {
    let store = Store::new();
    for settings in [&[OFF][..], &[]] {
        let expected = if settings.is_empty() {
            "nothing to do"
        } else {
            "applied 0001_records"
        };
        assert_eq!(store.run(&["migrate"], settings), success(expected));
    }
    let started = store.run(&["check"], &[OFF]);
    assert_eq!(started.code, 0, "{started:?}");
}

#[test]
fn without_migrations_the_service_does_not_start_on_missing_tables() {
    let store = Store::new();
    let Printed { code, errors, .. } = store.run(&["serve"], &[OFF]);
    let expected = format!(
        "error: the SQLite file {}: missing migrations: 0001_records: run the command `migrate`, \
         or apply the statements that `migrate --print` prints, or start with APLOMB_MIGRATE=on",
        store.file().display()
    );
    assert_eq!(code, 2);
    assert_eq!(
        errors.lines().filter(|line| *line == expected).count(),
        1,
        "{errors}"
    );
    assert!(is_empty(store.directory.path()));
}

#[tokio::test]
async fn the_printed_statements_create_what_the_service_needs() {
    let store = Store::new();
    let printed = store.run(&["migrate", "--print"], &[]);
    assert_eq!((printed.code, printed.errors.as_str()), (0, ""));
    assert!(is_empty(store.directory.path()), "nothing is written");
    store.execute(&printed.output).await;
    assert_eq!(
        store.run(&["migrate", "--print"], &[]),
        success("-- nothing to do")
    );
    assert_eq!(store.run(&["migrate"], &[]), success("nothing to do"));
    let started = store.run(&["check"], &[OFF]);
    assert_eq!(started.code, 0, "{started:?}");
}

#[tokio::test]
async fn the_printed_statements_are_those_that_the_command_applies() {
    let (printed, applied) = (Store::new(), Store::new());
    printed
        .execute(&printed.run(&["migrate", "--print"], &[]).output)
        .await;
    assert_eq!(applied.run(&["migrate"], &[]).code, 0);
    let mut schemas = Vec::new();
    for store in [printed, applied] {
        let rows: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name")
                .fetch_all(&store.pool().await)
                .await
                .expect("a schema");
        let lists: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT version, name, checksum FROM aplomb_migration")
                .fetch_all(&store.pool().await)
                .await
                .expect("a list");
        schemas.push((rows, lists));
    }
    assert_eq!(schemas[0], schemas[1]);
}

#[test]
fn sixteen_processes_that_migrate_at_once_apply_each_migration_once() {
    let store = Store::new();
    let printed = thread::scope(|scope| {
        let started: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| store.run(&["migrate"], &[])))
            .collect();
        let ended = started.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Result<Vec<_>, _>>().expect("no panic")
    });
    let count = |output: &str| {
        let expected = success(output);
        printed
            .iter()
            .filter(|printed| **printed == expected)
            .count()
    };
    assert_eq!(
        (count("applied 0001_records"), count("nothing to do")),
        (1, 15),
        "{printed:?}"
    );
}

#[tokio::test]
async fn tables_of_another_version_are_an_error_of_every_form_of_the_command() {
    for (change, expected) in [
        (
            "INSERT INTO aplomb_migration (version, name, checksum) VALUES (9, 'new', '0')",
            "a newer version of Aplomb has migrated its tables (they have version 9, this build \
             needs 1): use that version of Aplomb\n",
        ),
        (
            "UPDATE aplomb_migration SET checksum = '0'",
            "its migration 0001_records was applied with other statements than this build has ",
        ),
    ] {
        let store = Store::new();
        assert_eq!(
            store.run(&["migrate"], &[]),
            success("applied 0001_records")
        );
        store.execute(change).await;
        for arguments in [&["migrate"][..], &["migrate", "--print"]] {
            let Printed {
                code,
                output,
                errors,
            } = store.run(arguments, &[]);
            assert_eq!((code, output.as_str()), (2, ""), "{arguments:?}: {errors}");
            let start = format!(
                "error: the SQLite file {}: {expected}",
                store.file().display()
            );
            assert!(errors.starts_with(&start), "{arguments:?}: {errors}");
            assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_an_error() {
    let store = Store::new();
    std::fs::write(store.file(), "not a database, but text".repeat(100)).expect("a file");
    for arguments in [&["migrate"][..], &["migrate", "--print"]] {
        let Printed { code, errors, .. } = store.run(arguments, &[]);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(
            errors.ends_with("it is not a SQLite database\n"),
            "{errors}"
        );
    }
    let Printed { code, errors, .. } = run("redsi:", &["migrate"], &[]);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.starts_with("error: APLOMB_STORE=\"redsi:…\": "),
        "{errors}"
    );
}

#[test]
fn a_store_without_tables_needs_no_migrations() {
    let expected = "nothing to do: the store (memory) needs no migrations";
    assert_eq!(run("memory:", &["migrate"], &[]), success(expected));
    let comment = format!("-- {expected}");
    let printed = run("memory:", &["migrate", "--print"], &[]);
    assert_eq!(printed, success(&comment));
}

/// A PostgreSQL server, and the name of a database that does not exist at first.
struct Database {
    server: PostgresServer,
}

impl Database {
    fn start() -> Self {
        let server = PostgresServer::start();
        Self { server }
    }

    fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Printed {
        run(&self.server.url_of("payments"), arguments, settings)
    }

    async fn create(&self) {
        self.server.create_database("payments").await;
    }

    async fn execute(&self, statements: &str) {
        self.server.execute_in("payments", statements).await;
    }
}

#[tokio::test]
async fn the_printed_statements_create_what_the_service_needs_in_postgres() {
    let database = Database::start();
    let printed = database.run(&["migrate", "--print"], &[]);
    assert_eq!((printed.code, printed.errors.as_str()), (0, ""));
    database.create().await;
    assert_eq!(database.run(&["migrate", "--print"], &[]), printed);
    database.execute(&printed.output).await;
    assert_eq!(
        database.run(&["migrate", "--print"], &[]),
        success("-- nothing to do")
    );
    assert_eq!(database.run(&["migrate"], &[]), success("nothing to do"));
    let started = database.run(&["check"], &[OFF]);
    assert_eq!(started.code, 0, "{started:?}");
}

#[tokio::test]
async fn only_the_missing_migrations_are_printed_and_applied_in_postgres() {
    let database = Database::start();
    database.create().await;
    let applied = success("applied 0001_records\napplied 0002_limits");
    assert_eq!(database.run(&["migrate"], &[OFF]), applied);
    database
        .execute(
            "DROP TABLE aplomb.bucket, aplomb.bucket_log; \
             DROP FUNCTION aplomb.bucket_acquire_v1; DROP FUNCTION aplomb.bucket_remove_v1; \
             DELETE FROM aplomb.migration WHERE version = 2",
        )
        .await;
    let printed = database.run(&["migrate", "--print"], &[]).output;
    assert!(
        printed.contains("-- Migration 0002_limits\n") && !printed.contains("CREATE SCHEMA"),
        "{printed}"
    );
    assert!(!printed.contains("0001_records"), "{printed}");
    assert_eq!(
        database.run(&["migrate"], &[]),
        success("applied 0002_limits")
    );
    assert_eq!(database.run(&["check"], &[OFF]).code, 0);
}

#[tokio::test]
async fn without_migrations_the_service_does_not_start_on_missing_tables_in_postgres() {
    let database = Database::start();
    database.create().await;
    let Printed { code, errors, .. } = database.run(&["serve"], &[OFF]);
    let expected = format!(
        "error: APLOMB_STORE={:?}: missing migrations: 0001_records, 0002_limits: run the command `migrate`, or \
         apply the statements that `migrate --print` prints, or start with APLOMB_MIGRATE=on",
        database.server.url_of("payments")
    );
    assert_eq!(code, 2);
    let count = errors.lines().filter(|line| *line == expected).count();
    assert_eq!(count, 1, "{errors}");
}

#[tokio::test]
async fn tables_of_another_version_are_an_error_of_every_form_of_the_command_in_postgres() {
    let database = Database::start();
    database.create().await;
    assert_eq!(database.run(&["migrate"], &[]).code, 0);
    for (change, expected) in [
        (
            "INSERT INTO aplomb.migration (version, name, checksum) VALUES (9, 'new', '0')",
            "a newer version of Aplomb has migrated its tables (they have version 9, this build \
             needs 2): use that version of Aplomb\n",
        ),
        (
            "DELETE FROM aplomb.migration WHERE version = 9; \
             UPDATE aplomb.migration SET checksum = '0' WHERE version = 1",
            "its migration 0001_records was applied with other statements than this build has ",
        ),
    ] {
        database.execute(change).await;
        for arguments in [&["migrate"][..], &["migrate", "--print"]] {
            let printed = database.run(arguments, &[]);
            let url = database.server.url_of("payments");
            let start = format!("error: APLOMB_STORE={url:?}: {expected}");
            assert!(
                printed.code == 2
                    && printed.output.is_empty()
                    && printed.errors.starts_with(&start),
                "{arguments:?}: {printed:?}"
            );
            assert_eq!(printed.errors.lines().count(), 1, "{printed:?}");
        }
    }
}

#[tokio::test]
async fn sixteen_processes_that_migrate_at_once_apply_each_migration_once_in_postgres() {
    let database = Database::start();
    database.create().await;
    let printed = thread::scope(|scope| {
        let started: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| database.run(&["migrate"], &[])))
            .collect();
        let ended = started.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Result<Vec<_>, _>>().expect("no panic")
    });
    let count = |output: &str| {
        let expected = success(output);
        let same = printed.iter().filter(|printed| **printed == expected);
        same.count()
    };
    assert_eq!(
        (
            count("applied 0001_records\napplied 0002_limits"),
            count("nothing to do")
        ),
        (1, 15),
        "{printed:?}"
    );
}

#[tokio::test]
async fn migrations_are_printed_and_applied_through_a_pgbouncer() {
    let database = Database::start();
    database.create().await;
    let bouncer = PgBouncer::start(&database.server, 2);
    let url = format!("{}?pgbouncer=true", bouncer.url_of("payments"));
    let printed = run(&url, &["migrate", "--print"], &[]);
    assert!(
        printed.output.contains("-- Migration 0001_records\n"),
        "{printed:?}"
    );
    let applied = success("applied 0001_records\napplied 0002_limits");
    assert_eq!(run(&url, &["migrate"], &[]), applied);
    assert_eq!(run(&url, &["check"], &[OFF]).code, 0);
}

#[test]
fn a_database_that_cannot_be_used_is_an_error() {
    let database = Database::start();
    let Printed { code, errors, .. } = database.run(&["migrate"], &[]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("create it, or correct the URL"), "{errors}");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("its address");
    drop(unused);
    let url = format!("postgres://app:hunter2@{address}/payments");
    for arguments in [&["migrate"][..], &["migrate", "--print"]] {
        let Printed { code, errors, .. } = run(&url, arguments, &[]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("cannot connect"), "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}
