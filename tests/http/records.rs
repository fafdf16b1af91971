//! The store of records of a service under test: in memory, or in a database that an environment
//! variable names.

use core::time::Duration;
use std::sync::{Arc, mpsc};
use std::thread;

use aplomb::policies::idempotency::IdempotencyStore;
use aplomb::store::{MemoryRecords, PostgresRecords, SqliteRecords};
use aplomb::testing::{PostgresClock, TestClock};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

/// The environment variable with `sqlite`, or the URL of a PostgreSQL server.
pub(crate) const VARIABLE: &str = "TEST_RECORDS";

/// The clock of a service and of its store of records.
#[derive(Clone)]
pub(crate) struct ServiceClock {
    clock: TestClock,
    /// The clock of a database; `None` if the store reads `clock`.
    database: Option<mpsc::Sender<Advance>>,
    /// The directory of a SQLite file, which is removed when the last clone is dropped.
    _directory: Option<Arc<TempDir>>,
}

/// A time to let pass, and the channel of the reply.
type Advance = (Duration, mpsc::Sender<()>);

impl ServiceClock {
    /// Returns the clock of the service.
    pub(crate) fn test_clock(&self) -> TestClock {
        self.clock.clone()
    }

    /// Lets this much time pass at once.
    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
        if let Some(database) = &self.database {
            let (reply, advanced) = mpsc::channel();
            database
                .send((time, reply))
                .expect("the thread of the clock");
            advanced.recv().expect("a database that replies");
        }
    }
}

/// Creates an empty store of records, and its clock.
pub(crate) async fn new_records() -> (Arc<dyn IdempotencyStore>, ServiceClock) {
    match std::env::var(VARIABLE).ok().as_deref() {
        None => {
            let clock = TestClock::new();
            let memory = MemoryRecords::with_bounds(1000, 1 << 24, Arc::new(clock.clone()));
            (Arc::new(memory), service_clock(clock, None, None))
        }
        Some("sqlite") => in_sqlite().await,
        Some(url) => in_postgres(url).await,
    }
}

async fn in_sqlite() -> (Arc<dyn IdempotencyStore>, ServiceClock) {
    let directory = TempDir::new().expect("a directory");
    let file = SqliteConnectOptions::new().filename(directory.path().join("test.db"));
    let clock = TestClock::new();
    let records = SqliteRecords::open(file, Arc::new(clock.clone())).await;
    let records = records.expect("a new file");
    (
        Arc::new(records),
        service_clock(clock, None, Some(directory)),
    )
}

async fn in_postgres(server: &str) -> (Arc<dyn IdempotencyStore>, ServiceClock) {
    let options: PgConnectOptions = server.parse().expect("the URL of a server");
    let database = format!("test_{:032x}", rand::random::<u128>());
    let create = AssertSqlSafe(format!("CREATE DATABASE {database}"));
    let mut connection = options.connect().await.expect("a running server");
    let created = sqlx::raw_sql(create).execute(&mut connection).await;
    created.expect("a new database");
    let options = options.database(&database);
    let records = PostgresRecords::open(options.clone()).await;
    let records = records.expect("a new database");
    let database = start_clock(options);
    let clock = service_clock(TestClock::new(), Some(database), None);
    (Arc::new(records), clock)
}

fn service_clock(
    clock: TestClock,
    database: Option<mpsc::Sender<Advance>>,
    directory: Option<TempDir>,
) -> ServiceClock {
    ServiceClock {
        clock,
        database,
        _directory: directory.map(Arc::new),
    }
}

/// Starts a thread that advances the clock of a database, so that a test can wait for it without a
/// runtime of its own.
fn start_clock(options: PgConnectOptions) -> mpsc::Sender<Advance> {
    let (sender, receiver) = mpsc::channel::<Advance>();
    let (started, has_started) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let clock = runtime.block_on(PostgresClock::replace(&options));
        started.send(()).expect("the test waits");
        for (time, reply) in receiver {
            runtime.block_on(clock.advance(time));
            // The test may have ended.
            let _ = reply.send(());
        }
    });
    has_started.recv().expect("a database that replies");
    sender
}
