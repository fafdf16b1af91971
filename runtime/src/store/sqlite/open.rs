//! Opens a file at the start of a service: its tables, its secret and its connections.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, sleep};

use super::schema::{self, SCHEMA};
use super::writer::Writer;
use super::{SqliteFile, SqliteRecords, WriteLock, code};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::start::StartError;
#[cfg(feature = "cli")]
use crate::store::migration::Migration;
use crate::store::migration::{MigrationError, OnMissing};

/// The time for which SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which opening is repeated while the file is locked. The first process switches the
/// file to a write-ahead log, and SQLite does not wait for that.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of connections for reads.
const READERS: u32 = 4;

impl SqliteRecords {
    /// Opens the file with these options, and creates the tables if they are missing. The store
    /// takes the time from `clock`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened or written, if it is not a database, or if a newer
    /// version of Aplomb has written it.
    pub async fn open(
        options: SqliteConnectOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let file = SqliteFile::new(options);
        let (records, _) = file.open(clock, None, OnMissing::Apply).await?;
        Ok(records)
    }
}

impl SqliteFile {
    /// Parses the URL of a file, such as `sqlite:payments.db`.
    pub(crate) fn from_url(url: &str) -> Result<Self, &'static str> {
        let path = url.strip_prefix("sqlite:").unwrap_or(url);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err("expected the path of a file, such as sqlite:payments.db");
        }
        if path.starts_with(":memory:") {
            return Err("expected the path of a file; for a store in memory, use memory:");
        }
        if path.contains(['?', '#']) {
            return Err("parameters are not supported: remove the `?`");
        }
        Ok(Self::new(SqliteConnectOptions::new().filename(path)))
    }

    /// Returns the options of connections that write.
    pub(super) fn connect_options(&self) -> SqliteConnectOptions {
        self.options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
    }

    /// Opens the file. With a namespace, also returns the secret of this API, which is created in
    /// the file if necessary.
    pub(in crate::store) async fn open(
        &self,
        clock: Arc<dyn Clock>,
        namespace: Option<&str>,
        on_missing: OnMissing,
    ) -> Result<(SqliteRecords, Option<Secret>), StartError> {
        let file = self.path().to_owned();
        check_path(&file).map_err(|reason| self.error(&reason))?;
        if on_missing == OnMissing::Refuse && !file.exists() {
            let missing = SCHEMA.check(&[]);
            missing.map_err(|error| self.migration_error(&error))?;
        }
        let options = self.connect_options().disable_statement_logging();
        let connected = connect(&options).await;
        let mut connection = connected.map_err(|failure| self.error(&describe(&failure)))?;
        let secret = prepare(&mut connection, namespace, on_missing).await;
        let secret = secret.map_err(|error| self.migration_error(&error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(options.clone().create_if_missing(false).read_only(true));
        let write_lock = Arc::new(WriteLock::new());
        let lock = Arc::clone(&write_lock);
        let writer = Writer::start(connection, options, Arc::clone(&clock), lock);
        let writer = writer.map_err(|failure| {
            self.error(&format!("cannot start the thread of the writer: {failure}"))
        })?;
        let secret = secret.map(Secret::new).transpose()?;
        let records = SqliteRecords {
            writer,
            readers,
            clock,
            file: Arc::new(file),
            write_lock,
        };
        Ok((records, secret))
    }

    /// Applies the missing migrations, and returns them. Creates the file if it is missing.
    #[cfg(feature = "cli")]
    pub(in crate::store) async fn migrate(&self) -> Result<Vec<&'static Migration>, StartError> {
        check_path(self.path()).map_err(|reason| self.error(&reason))?;
        let migrated = async {
            let options = self.connect_options().disable_statement_logging();
            let mut connection = connect(&options).await?;
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let migrations = schema::migrate(&mut transaction).await?;
            transaction.commit().await?;
            connection.close().await?;
            Ok(migrations)
        };
        migrated.await.map_err(|error| self.migration_error(&error))
    }

    /// Returns a script that applies the missing migrations. Changes nothing, and does not create
    /// the file.
    #[cfg(feature = "cli")]
    pub(in crate::store) async fn migration_script(&self) -> Result<String, StartError> {
        check_path(self.path()).map_err(|reason| self.error(&reason))?;
        let list = async {
            if !self.path().exists() {
                return Ok(schema::empty_list());
            }
            let options = self.options.clone();
            let options = options.create_if_missing(false).read_only(true);
            let options = options.busy_timeout(BUSY_TIMEOUT);
            let mut connection = connect(&options.disable_statement_logging()).await?;
            schema::read_list(&mut connection).await
        };
        let list = list.await.map_err(MigrationError::Database);
        let script = list.and_then(|list| SCHEMA.script(&list));
        script.map_err(|error| self.migration_error(&error))
    }

    fn error(&self, reason: &str) -> StartError {
        let file = self.path().display();
        StartError::new(format!("the SQLite file {file}: {reason}"))
    }

    fn migration_error(&self, error: &MigrationError) -> StartError {
        self.error(&error.describe(describe))
    }
}

/// Refuses a path for which SQLite has only a general message.
fn check_path(file: &Path) -> Result<(), String> {
    if file.as_os_str().is_empty() || file == Path::new(":memory:") {
        let error = "a database in memory cannot be shared by several connections: use a file";
        return Err(String::from(error));
    }
    if file.is_dir() {
        return Err(String::from("it is a directory: expected a file"));
    }
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => {
            Err(format!("the directory {} does not exist", parent.display()))
        }
        _ => Ok(()),
    }
}

/// Opens a connection, and repeats this while the file is locked.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let end = Instant::now() + OPEN_TIMEOUT;
    loop {
        match options.connect().await {
            Err(error) if is_locked(&error) && Instant::now() < end => {
                sleep(Duration::from_millis(50)).await;
            }
            connected => return connected,
        }
    }
}

/// Creates the tables and the secret in one transaction.
async fn prepare(
    connection: &mut SqliteConnection,
    namespace: Option<&str>,
    on_missing: OnMissing,
) -> Result<Option<Vec<u8>>, MigrationError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    match on_missing {
        OnMissing::Apply => drop(schema::migrate(&mut transaction).await?),
        OnMissing::Refuse => {
            let list = schema::read_list(&mut transaction).await?;
            SCHEMA.check(&list.applied)?;
        }
    }
    let secret = match namespace {
        Some(namespace) => Some(secret(&mut transaction, namespace).await?),
        None => None,
    };
    transaction.commit().await?;
    Ok(secret)
}

/// Reads the secret that the processes of an API share, or creates it.
async fn secret(
    connection: &mut SqliteConnection,
    namespace: &str,
) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO aplomb_secret (namespace, secret) VALUES (?1, ?2)")
        .bind(namespace)
        .bind(Secret::random().as_bytes().to_vec())
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT secret FROM aplomb_secret WHERE namespace = ?1")
        .bind(namespace)
        .fetch_one(connection)
        .await
}

fn is_locked(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(5 | 6))
}

/// Describes an error, with a remedy where there is one.
fn describe(error: &sqlx::Error) -> String {
    match code(error) {
        Some(5 | 6) => format!("another process has locked it for {OPEN_TIMEOUT:?}"),
        Some(8) => String::from("it cannot be written: check its permissions"),
        Some(13) => String::from("the disk is full"),
        Some(14) => String::from("it cannot be opened: check the path and its permissions"),
        Some(26) => String::from("it is not a SQLite database"),
        _ => error.to_string(),
    }
}
