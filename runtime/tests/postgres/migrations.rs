//! The migrations of a database: missing, changed and newer ones, roles with few privileges, and the
//! application's own migrations.

use core::time::Duration;

use aplomb::policies::idempotency::{BeginOutcome, IdempotencyStore};
use aplomb::policies::rate_limit::{Bucket, LimitRequest, LimitStore, LimitSubject, Quota};
use aplomb::store::{PostgresRecords, Store};
use aplomb::testing::PostgresServer;
use aplomb::{Api, StartErrors};
use futures_util::future::join_all;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use crate::{begin, open};

/// The database of all tests, each on its own server.
const DATABASE: &str = "postgres";

async fn start(options: PgConnectOptions, migrate: bool) -> Result<(), StartErrors> {
    let pool = PgPool::connect_lazy_with(options);
    let api: Api<()> = Api::new("test", aplomb::routes![]).store(Store::postgres(&pool));
    api.migrate(migrate).into_router(()).await.map(drop)
}

/// The error of a start, which has one line.
async fn start_error(options: PgConnectOptions, migrate: bool) -> String {
    let errors = start(options, migrate).await.expect_err("a start error");
    let error = errors.to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// A server with a migrated database.
async fn migrated_server() -> PostgresServer {
    let server = PostgresServer::start();
    open(&server, DATABASE).await;
    server
}

async fn count_migrations(server: &PostgresServer) -> String {
    let count = "SELECT count(*) FROM aplomb.migration";
    server.query(count).await
}

#[tokio::test]
async fn sixteen_starts_at_once_apply_each_migration_once() {
    let server = PostgresServer::start();
    for round in 0..4 {
        let database = format!("round{round}");
        server.create_database(&database).await;
        let starts = (0..16).map(|_| start(server.options(&database), true));
        for started in join_all(starts).await {
            assert_eq!(started, Ok(()));
        }
        let names = "SELECT string_agg(name, ' ' ORDER BY version) FROM aplomb.migration";
        assert_eq!(server.query_in(&database, names).await, "records limits");
    }
}

#[tokio::test]
async fn the_applied_migrations_are_listed_with_their_checksum_and_time() {
    let server = migrated_server().await;
    let rows = "SELECT count(*) FROM aplomb.migration \
                WHERE length(checksum) = 64 AND now() - applied_at < '1 min'";
    assert_eq!(server.query(rows).await, "2");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_a_start_error_with_both_versions() {
    let server = migrated_server().await;
    let row = "INSERT INTO aplomb.migration (version, name, checksum) VALUES (99, 'new', '0')";
    server.execute(row).await;
    for migrate in [true, false] {
        let error = start_error(server.options(DATABASE), migrate).await;
        let expected = "(they have version 99, this build needs 2): use that version of Aplomb";
        assert!(error.ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_migration_with_another_checksum_is_a_start_error_with_its_name() {
    let server = migrated_server().await;
    let change = "UPDATE aplomb.migration SET checksum = '0' WHERE version = 2";
    server.execute(change).await;
    for migrate in [true, false] {
        let error = start_error(server.options(DATABASE), migrate).await;
        let expected = "its migration 0002_limits was applied with other statements";
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn without_migrations_a_start_names_the_missing_ones_and_creates_nothing() {
    let server = PostgresServer::start();
    let error = start_error(server.options(DATABASE), false).await;
    let expected = "missing migrations: 0001_records, 0002_limits: run the command `migrate`";
    assert!(error.contains(expected), "{error}");
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'aplomb'";
    assert_eq!(server.query(schemas).await, "0");
    open(&server, DATABASE).await;
    assert_eq!(start(server.options(DATABASE), false).await, Ok(()));
    server
        .execute("DELETE FROM aplomb.migration WHERE version = 2")
        .await;
    let error = start_error(server.options(DATABASE), false).await;
    assert!(
        error.contains("missing migrations: 0002_limits: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_migration_is_rolled_back() {
    let server = PostgresServer::start();
    // The second migration creates a table with this name.
    let taken = "CREATE SCHEMA aplomb; CREATE TABLE aplomb.bucket (id int)";
    server.execute(taken).await;
    let error = start_error(server.options(DATABASE), true).await;
    assert!(error.contains("already exists"), "{error}");
    let tables = "SELECT string_agg(relname, ' ') FROM pg_class \
                  WHERE relnamespace = 'aplomb'::regnamespace";
    assert_eq!(server.query(tables).await, "bucket");
    server.execute("DROP TABLE aplomb.bucket").await;
    assert_eq!(start(server.options(DATABASE), true).await, Ok(()));
}

/// Returns the SQL block of the guide with this text.
fn guide_sql(text: &str) -> &'static str {
    let guide = include_str!("../../../docs/guide/migrations.md");
    let mut blocks = guide.split("```sql\n").skip(1);
    let block = blocks.find_map(|block| {
        block
            .split_once("```")
            .filter(|(sql, _)| sql.contains(text))
    });
    block.expect("a block with this text").0
}

/// Executes statements as this role.
async fn execute_as(server: &PostgresServer, role: &str, statements: &str) -> Result<(), String> {
    let pool = PgPool::connect_lazy_with(server.options(DATABASE).username(role));
    let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
    let executed = statements.execute(&pool).await;
    executed.map(drop).map_err(|error| error.to_string())
}

/// A server with the roles of the guide, and the tables of the role `owner`. Functions are not
/// executable for other roles, as in a database whose default privileges are restricted.
async fn server_with_roles() -> PostgresServer {
    let server = PostgresServer::start();
    server.execute(guide_sql("CREATE ROLE")).await;
    let restricted = "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC";
    let restricted_by_owner = "ALTER DEFAULT PRIVILEGES FOR ROLE aplomb_owner \
                               REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC";
    server.execute(restricted).await;
    server.execute(restricted_by_owner).await;
    let owner = server.options(DATABASE).username("aplomb_owner");
    assert_eq!(start(owner, true).await, Ok(()));
    server
}

#[tokio::test]
async fn a_role_with_the_privileges_of_the_guide_serves_and_changes_no_table() {
    let server = server_with_roles().await;
    let app = server.options(DATABASE).username("app");
    let error = start_error(app.clone(), false).await;
    assert!(
        error.contains("missing USAGE on schema aplomb, SELECT on aplomb.")
            && error.contains("EXECUTE on function aplomb.bucket_acquire_v1"),
        "{error}"
    );
    let grants = guide_sql("GRANT USAGE");
    assert_eq!(execute_as(&server, "aplomb_owner", grants).await, Ok(()));
    for migrate in [true, false] {
        assert_eq!(start(app.clone(), migrate).await, Ok(()), "{migrate}");
    }
    let records = PostgresRecords::open(app).await.expect("enough privileges");
    let begin = begin(1);
    assert_eq!(records.begin(&begin).await, Ok(BeginOutcome::Started));
    let leases = [begin.lease()];
    let held = records.heartbeat(&leases, Duration::from_secs(30)).await;
    assert_eq!(held, Ok(vec![true]));
    let bucket = Bucket {
        limit: 1,
        subject: LimitSubject::Everyone,
    };
    let quota = Quota::sliding_window(1, Duration::from_secs(1)).expect("a valid quota");
    let request = LimitRequest::new(bucket, quota);
    for admitted in [true, false] {
        let acquired = records.limits("test").acquire(&[request]).await;
        assert_eq!(acquired.expect("enough privileges").admitted, admitted);
    }
    let removal = "SELECT aplomb.bucket_remove_v1(10)";
    assert_eq!(execute_as(&server, "app", removal).await, Ok(()));
    for change in [
        "CREATE TABLE aplomb.other (id int)",
        "DROP TABLE aplomb.record",
        "ALTER TABLE aplomb.record ADD COLUMN other int",
        "CREATE OR REPLACE FUNCTION aplomb.clock() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    ] {
        let error = execute_as(&server, "app", change).await.expect_err(change);
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_privileges_of_the_guide_include_later_migrations() {
    let server = server_with_roles().await;
    let grants = guide_sql("GRANT USAGE");
    assert_eq!(execute_as(&server, "aplomb_owner", grants).await, Ok(()));
    // An upgrade that adds the tables of the second migration.
    server
        .execute(
            "DROP TABLE aplomb.bucket, aplomb.bucket_log; \
             DROP FUNCTION aplomb.bucket_acquire_v1; DROP FUNCTION aplomb.bucket_remove_v1; \
             DELETE FROM aplomb.migration WHERE version = 2",
        )
        .await;
    let app = server.options(DATABASE).username("app");
    let error = start_error(app.clone(), true).await;
    assert!(
        error.contains("cannot create the tables of this version"),
        "{error}"
    );
    let owner = server.options(DATABASE).username("aplomb_owner");
    assert_eq!(start(owner, true).await, Ok(()));
    assert_eq!(start(app, false).await, Ok(()));
}

#[tokio::test]
async fn a_role_that_cannot_create_the_schema_is_a_start_error_with_the_remedy() {
    let server = PostgresServer::start();
    server.execute("CREATE ROLE app LOGIN").await;
    let app = server.options(DATABASE).username("app");
    let error = start_error(app.clone(), true).await;
    let remedy = "GRANT CREATE ON DATABASE \"postgres\" TO \"app\"";
    assert!(
        error.contains("cannot create the schema aplomb") && error.contains(remedy),
        "{error}"
    );
    // An empty schema of the role is enough.
    server
        .execute("CREATE SCHEMA aplomb AUTHORIZATION app")
        .await;
    assert_eq!(start(app, true).await, Ok(()));
}

#[tokio::test]
async fn the_migrations_of_the_application_are_independent() {
    let server = PostgresServer::start();
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, sql: &str| {
        std::fs::write(directory.path().join(name), sql).expect("a file");
    };
    let pool = PgPool::connect_lazy_with(server.options(DATABASE));
    let run = async || {
        let migrator = Migrator::new(directory.path()).await;
        let migrator = migrator.expect("valid migrations");
        migrator.run(&pool).await.expect("migrations that apply");
    };
    write("1_bucket.sql", "CREATE TABLE bucket (id int)");
    run().await;
    assert_eq!(start(server.options(DATABASE), true).await, Ok(()));
    write("2_record.sql", "CREATE TABLE record (id int)");
    run().await;
    run().await;
    assert_eq!(start(server.options(DATABASE), true).await, Ok(()));
    let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
                  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    assert_eq!(server.query(tables).await, "_sqlx_migrations bucket record");
    let count = "SELECT count(*) FROM _sqlx_migrations";
    assert_eq!(server.query(count).await, "2");
    assert_eq!(count_migrations(&server).await, "2");
}
