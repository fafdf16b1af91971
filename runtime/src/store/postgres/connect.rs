//! The control connections of a store: a small pool, and calls with a deadline.
//!
//! A call takes one connection for one statement. All statements are idempotent, so a call whose
//! connection breaks is repeated once on a new connection. A connection that waits in the pool is
//! therefore not tested before its next use.

use core::fmt;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSeverity,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout_at};

use crate::facet::StoreError;
use crate::store::pools::{PoolMonitor, PoolSource, PoolStatus};

/// The time limit of a call, with the wait for a connection.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two attempts to connect.
pub(super) const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The time after which an idle connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// The settings of a new connection. The functions need the isolation level READ COMMITTED. The
/// server gives up shortly before the client does, so that a statement that waits for a lock has a
/// known outcome.
const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                       SET statement_timeout = '4500ms'; \
                       SET idle_session_timeout = 0";

/// The beginning of the transaction of one statement behind a PgBouncer.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '4500ms'";

/// The location of a database, and the options of its connections.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) options: PgConnectOptions,
    /// Set if the connections go through a PgBouncer that pools transactions. A statement then has
    /// no name, and is in an explicit transaction, because two statements outside of a transaction
    /// can use different connections of the server.
    pub(super) is_pgbouncer: bool,
}

impl Endpoint {
    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.options.clone().disable_statement_logging();
        if self.is_pgbouncer {
            // PgBouncer accepts only few settings at the start of a connection.
            return options.extra_float_digits(None).connect().await;
        }
        let mut connection = options.statement_cache_capacity(100).connect().await?;
        sqlx::raw_sql(SESSION).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Executes a statement.
    async fn execute(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = sqlx::query_with(statement.sql, statement.arguments.clone());
        if !self.is_pgbouncer {
            return query.fetch_all(connection).await;
        }
        // If the statement fails, the connection is dropped, which rolls the transaction back.
        sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
        let rows = query.persistent(false).fetch_all(&mut *connection).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await?;
        Ok(rows)
    }
}

/// A statement with its arguments.
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) arguments: PgArguments,
}

/// The limits of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallLimits {
    pub(super) timeout: Duration,
    pub(super) when_refused: WhenRefused,
}

/// The behaviour of a call while the server refuses connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenRefused {
    /// Fail immediately: for new requests.
    Fail,
    /// Wait until the deadline: for runs that have finished.
    WaitUntilDeadline,
}

/// The rows of a statement.
pub(super) struct Fetched {
    pub(super) rows: Vec<PgRow>,
    /// Set if the statement was sent twice. The server may then execute the first copy later than
    /// the second one.
    pub(super) is_resent: bool,
}

/// The error of one attempt of a call.
enum AttemptError {
    /// The statement was not executed.
    NotExecuted(StoreError),
    /// The connection broke. The statement may have been executed.
    Broken(String),
    /// There was no result until the deadline. The statement may be executed later.
    TimedOut,
}

/// A pool of connections to one database.
pub(super) struct Connections {
    endpoint: Endpoint,
    max: usize,
    permits: Semaphore,
    monitor: PoolMonitor,
    /// The connections that no call uses. The last one was used last.
    idle: Mutex<Vec<IdleConnection>>,
}

struct IdleConnection {
    connection: PgConnection,
    since: Instant,
}

impl Connections {
    /// Creates a pool of at most `max` connections. Connections are opened when a call needs them.
    pub(super) const fn new(endpoint: Endpoint, max: usize) -> Self {
        Self {
            endpoint,
            max,
            permits: Semaphore::const_new(max),
            monitor: PoolMonitor::new("control"),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Adds an open connection.
    pub(super) fn add(&self, connection: PgConnection) {
        let since = Instant::now();
        self.idle().push(IdleConnection { connection, since });
    }

    /// Executes a statement and returns its rows.
    pub(super) async fn fetch(
        &self,
        statement: &Statement,
        limits: CallLimits,
    ) -> Result<Fetched, StoreError> {
        let deadline = Instant::now() + limits.timeout;
        match self.attempt(statement, limits, deadline).await {
            Ok(rows) => {
                let is_resent = false;
                return Ok(Fetched { rows, is_resent });
            }
            Err(AttemptError::Broken(_)) => {}
            Err(error) => return Err(error.into_store_error(limits)),
        }
        // The other idle connections are probably broken as well.
        self.idle().clear();
        match self.attempt(statement, limits, deadline).await {
            Ok(rows) => {
                let is_resent = true;
                Ok(Fetched { rows, is_resent })
            }
            Err(error) => Err(error.into_store_error_after_broken(limits)),
        }
    }

    async fn attempt(
        &self,
        statement: &Statement,
        limits: CallLimits,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, AttemptError> {
        let mut lent = self.acquire(limits, deadline).await?;
        let executed = self.endpoint.execute(&mut lent.connection, statement);
        match timeout_at(deadline, executed).await {
            Ok(Ok(rows)) => {
                self.add(lent.connection);
                Ok(rows)
            }
            // The connection is dropped, because its state is unknown.
            Ok(Err(error)) => Err(AttemptError::from_statement(&error)),
            Err(_) => Err(AttemptError::TimedOut),
        }
    }

    /// Takes a connection that no call uses, or opens one.
    async fn acquire(
        &self,
        limits: CallLimits,
        deadline: Instant,
    ) -> Result<Lent<'_>, AttemptError> {
        let no_connection = |what| {
            let timeout = limits.timeout;
            AttemptError::not_executed(format!("{what} within {timeout:?}"))
        };
        let mut waiting = self.monitor.wait();
        let Ok(permit) = timeout_at(deadline, self.permits.acquire()).await else {
            self.monitor.add_exhausted();
            return Err(no_connection("no connection was free"));
        };
        let permit = permit.expect("the semaphore is never closed");
        waiting.end();
        loop {
            if let Some(connection) = self.take_idle() {
                return Ok(Lent {
                    connection,
                    _permit: permit,
                });
            }
            let Ok(connected) = timeout_at(deadline, self.endpoint.connect()).await else {
                return Err(no_connection("the database accepted no connection"));
            };
            let error = match connected {
                Ok(connection) => {
                    return Ok(Lent {
                        connection,
                        _permit: permit,
                    });
                }
                Err(error) => error,
            };
            // If the server has no free slot, another call may return its connection soon.
            let waits = limits.when_refused == WhenRefused::WaitUntilDeadline
                || code(&error).as_deref() == Some(TOO_MANY_CONNECTIONS);
            if !waits || Instant::now() + CONNECT_PAUSE >= deadline {
                return Err(AttemptError::not_executed(describe(&error)));
            }
            sleep(CONNECT_PAUSE).await;
        }
    }

    fn take_idle(&self) -> Option<PgConnection> {
        self.idle().pop().map(|idle| idle.connection)
    }

    /// Closes the connections that were not used for a long time.
    pub(super) async fn close_idle(&self) {
        let is_old = |idle: &mut IdleConnection| idle.since.elapsed() >= IDLE_TIMEOUT;
        let old: Vec<_> = self.idle().extract_if(.., is_old).collect();
        for idle in old {
            // The server notices a connection that is not closed properly as well.
            let _ = timeout_at(Instant::now() + TIMEOUT, idle.connection.close()).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolSource for Connections {
    fn status(&self) -> PoolStatus {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let in_use = self.max - self.permits.available_permits();
        let idle = self.idle().len();
        self.monitor
            .status(number(self.max), number(in_use + idle), number(idle))
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A connection that a call uses.
struct Lent<'a> {
    connection: PgConnection,
    _permit: SemaphorePermit<'a>,
}

impl AttemptError {
    const fn not_executed(why: String) -> Self {
        Self::NotExecuted(StoreError::NotExecuted(why))
    }

    fn from_statement(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refused) => {
                let refused = refused.downcast_ref::<PgDatabaseError>();
                match refused.code() {
                    DISK_FULL => Self::NotExecuted(StoreError::Full),
                    // PgBouncer has lost its connection to the server.
                    code if code.starts_with(CONNECTION_ERRORS) => Self::Broken(describe(error)),
                    // An error rolls the transaction of the statement back. A fatal error closes
                    // the connection, perhaps after a commit.
                    _ if refused.severity() == PgSeverity::Error => {
                        Self::not_executed(describe(error))
                    }
                    _ => Self::Broken(describe(error)),
                }
            }
            _ => Self::Broken(describe(error)),
        }
    }

    fn into_store_error(self, limits: CallLimits) -> StoreError {
        match self {
            Self::NotExecuted(error) => error,
            Self::Broken(why) => StoreError::Unavailable(why),
            Self::TimedOut => {
                StoreError::Unavailable(format!("no reply within {:?}", limits.timeout))
            }
        }
    }

    /// Returns the error of a call whose first attempt broke, so that the statement may have been
    /// executed.
    fn into_store_error_after_broken(self, limits: CallLimits) -> StoreError {
        match self.into_store_error(limits) {
            StoreError::NotExecuted(why) => StoreError::Unavailable(why),
            StoreError::Full => StoreError::Failed(String::from("the disk is full")),
            error => error,
        }
    }
}

/// The codes of errors (SQLSTATE).
const DISK_FULL: &str = "53100";
pub(super) const TOO_MANY_CONNECTIONS: &str = "53300";
const CONNECTION_ERRORS: &str = "08";

/// Returns the code of an error of the database.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Describes an error in one line.
pub(super) fn describe(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            format!("{} (SQLSTATE {code})", error.message())
        }
        sqlx::Error::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    text.replace('\n', " ")
}
