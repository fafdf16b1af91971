//! Opens a database at the start of a service: its checks, its tables, its secret and its
//! connections.

use std::io::ErrorKind;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection, Row as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::config::PostgresConfig;
use super::connect::{CONNECT_PAUSE, Connections, TIMEOUT, TOO_MANY_CONNECTIONS, code, describe};
use super::removal::Removal;
use super::schema;
#[cfg(feature = "cli")]
use super::schema::SCHEMA;
use super::{PostgresRecords, Shared};
use crate::secret::Secret;
use crate::start::StartError;
use crate::store::migration::{Migration, OnMissing};
#[cfg(feature = "cli")]
use crate::store::migration::{MigrationError, MigrationList};

/// The maximum number of connections for the requests of an instance.
const CONNECTIONS: usize = 10;

/// The oldest supported version of the server.
const MIN_VERSION: i32 = 14;

impl PostgresRecords {
    /// Opens the database with these options, and creates the tables if they are missing.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be reached or written, if the role has too few privileges, or
    /// if a newer version of Aplomb has migrated the database.
    pub async fn open(options: PgConnectOptions) -> Result<Self, StartError> {
        let config = PostgresConfig::new(options);
        let (records, _) = config.open(None, OnMissing::Apply).await?;
        Ok(records)
    }

    /// Opens the database with this URL, and creates the tables if they are missing. The URL has
    /// the form of `APLOMB_STORE`.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, and in the same cases as [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self, StartError> {
        let (records, _) = PostgresConfig::from_url(url)?
            .open(None, OnMissing::Apply)
            .await?;
        Ok(records)
    }
}

impl PostgresConfig {
    /// Opens the database. With a namespace, also returns the secret of this API, which is created
    /// in the database if necessary.
    pub(in crate::store) async fn open(
        self,
        namespace: Option<&str>,
        on_missing: OnMissing,
    ) -> Result<(PostgresRecords, Option<Secret>), StartError> {
        let url = self.redacted_url();
        let error = |reason: String| self.error(reason);
        let deadline = Instant::now() + TIMEOUT;
        let mut connection = self.connect(deadline).await.map_err(error)?;
        let prepared = timeout_at(deadline, prepare(&mut connection, namespace, on_missing));
        let no_reply = |_| error(format!("no reply within {TIMEOUT:?}"));
        let prepared = prepared.await.map_err(no_reply)?.map_err(error)?;
        for warning in prepared.warnings {
            tracing::warn!(store = %url, "{warning}");
        }
        let secret = prepared.secret.map(Secret::new).transpose()?;
        let connections = Arc::new(Connections::new(self.endpoint, CONNECTIONS));
        connections.add(connection);
        let shared = Shared {
            url,
            resent: super::resent::ResentBegins::default(),
            work_pool: self.work_pool,
            _removal: Removal::start(Arc::clone(&connections)),
        };
        let records = PostgresRecords {
            connections,
            shared: Arc::new(shared),
        };
        Ok((records, secret))
    }

    /// Applies the missing migrations, and returns them.
    #[cfg(feature = "cli")]
    pub(in crate::store) async fn migrate(&self) -> Result<Vec<&'static Migration>, StartError> {
        let error = |reason: String| self.error(reason);
        let connected = self.connect(Instant::now() + TIMEOUT).await;
        let mut connection = connected.map_err(error)?;
        let (_, migrations) = migrate(&mut connection, OnMissing::Apply)
            .await
            .map_err(error)?;
        // The migrations are committed, so an error of the last message changes nothing.
        let _ = connection.close().await;
        Ok(migrations)
    }

    /// Returns a script that applies the missing migrations. Changes nothing. The database need not
    /// exist.
    #[cfg(feature = "cli")]
    pub(in crate::store) async fn migration_script(&self) -> Result<String, StartError> {
        let error = |reason: String| self.error(reason);
        let list = match self.endpoint.connect().await {
            Ok(mut connection) => read_list(&mut connection).await,
            Err(error) if code(&error).as_deref() == Some(NO_DATABASE) => Ok(schema::empty_list()),
            Err(error) => Err(error),
        };
        let list = list.map_err(MigrationError::Database);
        let script = list.and_then(|list| SCHEMA.script(&list));
        script.map_err(|failure| error(failure.describe(describe_refusal)))
    }

    /// Opens the first connection. A server that is starting is awaited.
    async fn connect(&self, deadline: Instant) -> Result<PgConnection, String> {
        loop {
            let Ok(connected) = timeout_at(deadline, self.endpoint.connect()).await else {
                return Err(format!(
                    "no connection within {TIMEOUT:?}: check host and port"
                ));
            };
            match connected {
                Ok(connection) => return Ok(connection),
                Err(error)
                    if code(&error).as_deref() == Some(STARTING) && Instant::now() < deadline =>
                {
                    sleep(CONNECT_PAUSE).await;
                }
                Err(error) => return Err(describe_refusal(&error)),
            }
        }
    }
}

/// The result of the preparation of a database.
struct Prepared {
    secret: Option<Vec<u8>>,
    warnings: Vec<String>,
}

/// Checks the server and the privileges of the role, applies the missing migrations, and creates the
/// secret.
async fn prepare(
    connection: &mut PgConnection,
    namespace: Option<&str>,
    on_missing: OnMissing,
) -> Result<Prepared, String> {
    let (server, _) = migrate(connection, on_missing).await?;
    let secret = match namespace {
        Some(namespace) => {
            let secret = secret(connection, namespace).await;
            Some(secret.map_err(|error| describe_refusal(&error))?)
        }
        None => None,
    };
    let warnings = server.warnings();
    Ok(Prepared { secret, warnings })
}

/// Checks the server and the privileges of the role, and applies the missing migrations in one
/// transaction.
async fn migrate(
    connection: &mut PgConnection,
    on_missing: OnMissing,
) -> Result<(Server, Vec<&'static Migration>), String> {
    let describe = |error: sqlx::Error| describe_refusal(&error);
    let mut transaction = connection.begin_with(BEGIN).await.map_err(describe)?;
    let server = Server::inspect(&mut transaction).await.map_err(describe)?;
    server.check()?;
    let missing = missing_privileges(&mut transaction).await;
    let missing = missing.map_err(describe)?;
    if !missing.is_empty() {
        return Err(server.describe_missing(&missing));
    }
    let migrations = schema::migrate(&mut transaction, on_missing).await;
    let migrations = migrations
        .map_err(|error| error.describe(|error| server.describe_migration_error(error)))?;
    transaction.commit().await.map_err(describe)?;
    Ok((server, migrations))
}

/// Reads the list of applied migrations in a transaction, because two statements outside of a
/// transaction can use different connections of a PgBouncer.
#[cfg(feature = "cli")]
async fn read_list(connection: &mut PgConnection) -> Result<MigrationList, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let list = schema::read_list(&mut transaction).await?;
    transaction.rollback().await?;
    Ok(list)
}

/// The beginning of each transaction of a start. It needs the isolation level READ COMMITTED, to see
/// the migrations of another process after a wait.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The facts about a server that decide if a store can use it.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each field is a column")]
struct Server {
    version: i32,
    role: String,
    database: String,
    is_replica: bool,
    is_read_only: bool,
    has_schema: bool,
    may_create_schema: bool,
    synchronous_commit: String,
    fsync: String,
    has_asynchronous_replica: bool,
}

impl Server {
    async fn inspect(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(INSPECT)
            .persistent(false)
            .fetch_one(connection)
            .await?;
        Self::read(&row)
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get("version")?,
            role: row.try_get("role")?,
            database: row.try_get("database")?,
            is_replica: row.try_get("is_replica")?,
            is_read_only: row.try_get("is_read_only")?,
            has_schema: row.try_get("has_schema")?,
            may_create_schema: row.try_get("may_create_schema")?,
            synchronous_commit: row.try_get("synchronous_commit")?,
            fsync: row.try_get("fsync")?,
            has_asynchronous_replica: row.try_get("has_asynchronous_replica")?,
        })
    }

    /// Refuses a server that cannot store records.
    fn check(&self) -> Result<(), String> {
        let major = self.version / 10_000;
        if major < MIN_VERSION {
            return Err(format!(
                "PostgreSQL {major} is too old; {MIN_VERSION} or newer is needed"
            ));
        }
        if self.is_replica {
            return Err(String::from(
                "the server is a read replica: use the address of the primary",
            ));
        }
        if self.is_read_only {
            return Err(String::from(
                "transactions are read-only (default_transaction_read_only = on): set it to off \
                 for this role and this database",
            ));
        }
        Ok(())
    }

    /// Returns the risks that are logged at start.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.synchronous_commit == "off" {
            warnings.push(String::from(
                "synchronous_commit is off: a crash of the database loses the last idempotency \
                 records, and their requests can have a second effect",
            ));
        }
        if self.fsync == "off" {
            warnings.push(String::from(
                "fsync is off: a crash of the machine of the database can lose idempotency records",
            ));
        }
        if self.has_asynchronous_replica {
            warnings.push(String::from(
                "replication is asynchronous (synchronous_standby_names is empty): a failover \
                 loses the last idempotency records, and their requests can have a second effect",
            ));
        }
        warnings
    }

    fn describe_migration_error(&self, error: &sqlx::Error) -> String {
        let Self { role, database, .. } = self;
        if code(error).as_deref() != Some(INSUFFICIENT_PRIVILEGE) {
            return describe_refusal(error);
        }
        if !self.has_schema && !self.may_create_schema {
            return format!(
                "the role {role:?} cannot create the schema aplomb: execute GRANT CREATE ON \
                 DATABASE \"{database}\" TO \"{role}\", or start once with a role that has this \
                 privilege"
            );
        }
        format!(
            "the role {role:?} cannot create the tables of this version ({}): start once with the \
             owner of the schema aplomb",
            describe(error)
        )
    }

    fn describe_missing(&self, missing: &[String]) -> String {
        let (role, missing) = (&self.role, missing.join(", "));
        format!(
            "the role {role:?} has too few privileges: missing {missing}; execute GRANT USAGE ON \
             SCHEMA aplomb TO \"{role}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN \
             SCHEMA aplomb TO \"{role}\"; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aplomb TO \
             \"{role}\""
        )
    }
}

/// Needs no privileges.
const INSPECT: &str = include_str!("inspect.sql");

/// Returns the privileges on existing tables that the role does not have, such as `SELECT on
/// aplomb.record`.
async fn missing_privileges(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(include_str!("missing_privileges.sql"))
        .persistent(false)
        .fetch_all(connection)
        .await
}

/// Reads the secret that the instances of an API share, or creates it.
async fn secret(connection: &mut PgConnection, namespace: &str) -> Result<Vec<u8>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    sqlx::query(
        "INSERT INTO aplomb.secret (namespace, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .persistent(false)
    .bind(namespace)
    .bind(Secret::random().as_bytes().to_vec())
    .execute(&mut *transaction)
    .await?;
    let secret = sqlx::query_scalar("SELECT secret FROM aplomb.secret WHERE namespace = $1")
        .persistent(false)
        .bind(namespace)
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(secret)
}

/// Describes an error of the start, with a remedy where there is one.
fn describe_refusal(error: &sqlx::Error) -> String {
    let described = describe(error);
    match (error, code(error).as_deref()) {
        (sqlx::Error::Tls(_), _) if described.contains("built without") => String::from(
            "sslmode demands TLS, and this program was built without it: add sqlx 0.9 with the \
             feature tls-rustls-ring-native-roots to its dependencies",
        ),
        (sqlx::Error::Protocol(_), _) => {
            format!("{NOT_POSTGRES} ({described}): check host and port")
        }
        (sqlx::Error::Io(io), _) if io.kind() == ErrorKind::UnexpectedEof => {
            format!("{NOT_POSTGRES} ({described}): check host and port")
        }
        (sqlx::Error::Io(_), _) => format!("cannot connect: {described}"),
        (_, Some("28P01" | "28000")) => {
            format!("the server rejects the user or the password: {described}")
        }
        (_, Some(NO_DATABASE)) => format!("{described}: create it, or correct the URL"),
        (_, Some(TOO_MANY_CONNECTIONS)) => format!(
            "the server has no free connection: {described}; increase max_connections, or use \
             fewer connections"
        ),
        _ => described,
    }
}

const NOT_POSTGRES: &str = "the server does not speak the protocol of PostgreSQL";

/// The codes of errors (SQLSTATE).
const STARTING: &str = "57P03";
const NO_DATABASE: &str = "3D000";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version: 150_018,
            synchronous_commit: String::from("on"),
            fsync: String::from("on"),
            ..Server::default()
        }
    }

    #[test]
    fn a_server_that_cannot_store_records_is_refused() {
        assert_eq!(server().check(), Ok(()));
        let old = Server {
            version: 130_014,
            ..server()
        };
        let error = old.check().expect_err("too old");
        assert_eq!(error, "PostgreSQL 13 is too old; 14 or newer is needed");
    }

    #[test]
    fn settings_that_lose_commits_are_logged() {
        assert_eq!(server().warnings(), Vec::<String>::new());
        let risky = Server {
            synchronous_commit: String::from("off"),
            fsync: String::from("off"),
            has_asynchronous_replica: true,
            ..server()
        };
        assert_eq!(risky.warnings().len(), 3);
    }
}
