//! PostgreSQL servers for tests, and a connection pooler in front of them.

mod bouncer;
mod clock;
mod command;
mod process;

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

pub use self::bouncer::PgBouncer;
pub use self::clock::PostgresClock;
use self::process::{Cluster, FailedStart, Process};
use super::port::Port;

/// A PostgreSQL server on a free port of the loopback interface, which a test can pause, kill and
/// restart.
///
/// Its data is in a temporary directory. It does not wait for the disk (`fsync = off`), but a kill
/// of its processes loses no commit. The port stays the same after a restart. When the server is
/// dropped, its processes end and the directory is removed. A `static` is never dropped.
///
/// The user `postgres` is a superuser and needs no password. A role with the name `guarded` needs
/// its password.
///
/// PostgreSQL refuses to run as root. If the tests run as root, the server runs as the user
/// `postgres` of the system.
///
/// Methods that are not async block the thread, for up to thirty seconds if the server hangs.
/// Methods panic if the server does not start, stop or reply in time.
///
/// ```no_run
/// use aplomb::testing::PostgresServer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = PostgresServer::start();
/// server.execute("CREATE TABLE item (id int)").await;
/// server.kill();
/// server.restart();
/// assert_eq!(server.query("SELECT count(*) FROM item").await, "0");
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    // Fields are dropped in this order: the processes must have ended before their directory is
    // removed.
    process: Mutex<Option<Process>>,
    port: Port,
    settings: Vec<String>,
    cluster: Cluster,
}

impl PostgresServer {
    /// Starts a server, and returns after it accepts connections.
    ///
    /// # Panics
    ///
    /// Panics if PostgreSQL is not installed, or does not accept connections within thirty seconds.
    /// In the second case the message has the end of its log.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more settings, such as `&["max_connections=5"]`. A restart uses the
    /// same settings.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`start`](Self::start).
    #[track_caller]
    pub fn start_with(settings: &[&str]) -> Self {
        let settings = settings.iter().copied().map(String::from).collect();
        expect_started(Cluster::create().and_then(|cluster| Self::start_on(cluster, settings)))
    }

    /// Starts a server that follows this server as a streaming replica.
    ///
    /// # Panics
    ///
    /// Panics in the same cases as [`start`](Self::start), and if this server does not run.
    #[must_use]
    #[track_caller]
    pub fn start_replica(&self) -> Self {
        let copy = Cluster::copy_of(self.address());
        expect_started(copy.and_then(|cluster| Self::start_on(cluster, Vec::new())))
    }

    /// Starts a server. If another process takes the port before the server listens, tries the next
    /// port.
    fn start_on(cluster: Cluster, settings: Vec<String>) -> Result<Self, FailedStart> {
        for _ in 0..MAX_PORTS {
            let port = Port::free();
            match Process::start(&cluster, port.address(), &settings) {
                Ok(process) => {
                    return Ok(Self {
                        process: Mutex::new(Some(process)),
                        port,
                        settings,
                        cluster,
                    });
                }
                Err(FailedStart::PortTaken) => {}
                Err(failed) => return Err(failed),
            }
        }
        Err(FailedStart::PortTaken)
    }

    /// Makes a replica the primary, and returns after it accepts writes.
    ///
    /// # Panics
    ///
    /// Panics if the server is not a replica.
    pub async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
    }

    /// Returns the address of the server. It stays the same after a kill and a restart.
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the URL of the database `postgres`: `postgres://postgres@127.0.0.1:<port>/postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Returns the URL of a database of the server.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }

    /// Returns the options of a connection to a database of the server.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        let address = self.address();
        PgConnectOptions::new_without_pgpass()
            .host(&address.ip().to_string())
            .port(address.port())
            .username("postgres")
            .database(database)
            .disable_statement_logging()
    }

    /// Creates a database.
    ///
    /// # Panics
    ///
    /// Panics if the database exists.
    pub async fn create_database(&self, name: &str) {
        self.execute(&format!(r#"CREATE DATABASE "{name}""#)).await;
    }

    /// Returns the process id of the server; `None` after [`kill`](Self::kill). The id changes with
    /// each restart.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Stops the processes of the server (SIGSTOP), and returns after they have stopped.
    ///
    /// Its connections stay open, and the operating system accepts new ones. Statements get no
    /// reply.
    ///
    /// # Panics
    ///
    /// Panics if the server was killed and not restarted.
    #[track_caller]
    pub fn pause(&self) {
        self.process().as_ref().expect(RUNNING).pause();
    }

    /// Continues the processes of a paused server (SIGCONT). The server first executes the
    /// statements that were sent during the pause.
    ///
    /// # Panics
    ///
    /// Panics if the server was killed and not restarted.
    #[track_caller]
    pub fn resume(&self) {
        self.process().as_ref().expect(RUNNING).resume();
    }

    /// Kills the processes of the server (SIGKILL), and returns after they have ended. Connections
    /// are then refused. Does nothing if the server was killed before.
    pub fn kill(&self) {
        if let Some(running) = self.process().take() {
            running.kill();
        }
    }

    /// Starts the server with its data, and returns after it accepts connections. A running server
    /// is first stopped as by `pg_ctl stop -m immediate`: it closes all connections and does not
    /// write its data, so that the next start recovers it from the log.
    #[track_caller]
    pub fn restart(&self) {
        let mut process = self.process();
        // Dropping the running process stops it.
        process.take();
        *process = Some(expect_started(Process::start(
            &self.cluster,
            self.address(),
            &self.settings,
        )));
    }

    /// Ends all sessions of clients with `pg_terminate_backend`.
    pub async fn terminate_backends(&self) {
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
        .await;
    }

    /// Executes statements in the database `postgres`, on a new connection.
    ///
    /// # Panics
    ///
    /// Panics if a statement fails.
    pub async fn execute(&self, statements: &str) {
        self.execute_in("postgres", statements).await;
    }

    /// Executes statements in a database, on a new connection.
    ///
    /// # Panics
    ///
    /// Panics if a statement fails.
    pub async fn execute_in(&self, database: &str, statements: &str) {
        let mut connection = self.connect(database).await;
        let executed = sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut connection)
            .await;
        if let Err(error) = executed {
            panic!("{error}: {statements}");
        }
    }

    /// Executes a query in the database `postgres`, on a new connection. Returns the first column
    /// of the only row as text.
    ///
    /// # Panics
    ///
    /// Panics if the query fails, or if it does not return one row.
    pub async fn query(&self, query: &str) -> String {
        self.query_in("postgres", query).await
    }

    /// Executes a query in a database, on a new connection. Returns the first column of the only
    /// row as text.
    ///
    /// # Panics
    ///
    /// Panics if the query fails, or if it does not return one row.
    pub async fn query_in(&self, database: &str, query: &str) -> String {
        let mut connection = self.connect(database).await;
        let row = sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_one(&mut connection)
            .await;
        let text = row.and_then(|row| row.try_get_unchecked::<String, _>(0));
        text.unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    async fn connect(&self, database: &str) -> PgConnection {
        let connected = self.options(database).connect().await;
        connected.unwrap_or_else(|error| panic!("{error}: {}", self.url_of(database)))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[track_caller]
fn expect_started<T>(started: Result<T, FailedStart>) -> T {
    match started {
        Ok(started) => started,
        Err(failed) => panic!("{failed}"),
    }
}

/// The maximum number of ports that a start tries. A tried port was free shortly before, so it
/// fails only if another process binds it at the same moment.
const MAX_PORTS: usize = 8;

/// The time limit of a start and of a stop. It is longer than both take on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(30);

const RUNNING: &str = "the PostgreSQL server was killed and not started again";
