//! The databases: the tables of the endpoints, and the statements that do not use Aplomb.

use aplomb_benches::Failure;
use aplomb_benches::hand_written::StoredResponse;
use aplomb_benches::payment::Payment;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

/// The maximum number of connections to a server. It is the default of Aplomb and of sqlx.
const CONNECTIONS: u32 = 10;

/// A pool of the application.
#[derive(Clone)]
pub(crate) enum Database {
    Postgres(PgPool),
    /// A pool of one connection, because a file has one writer at a time. With more connections,
    /// the writers would poll for the lock of the file.
    Sqlite(SqlitePool),
}

/// The stored row of an idempotency key.
pub(crate) struct StoredKey {
    pub(crate) fingerprint: String,
    /// `None` while the first request is running.
    pub(crate) response: Option<StoredResponse>,
}

/// Evaluates an expression with the pool of each database.
macro_rules! with_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database {
            Database::Postgres($pool) => $body,
            Database::Sqlite($pool) => $body,
        }
    };
}

/// Inserts a payment in a transaction. An expression and not a function, because the bounds of a
/// function for both databases would be longer.
macro_rules! insert_payment {
    ($executor:expr, $payment:expr) => {
        sqlx::query($crate::database::INSERT_PAYMENT)
            .bind($payment.id.to_string())
            .bind($payment.from().to_string())
            .bind($payment.to().to_string())
            .bind($payment.amount().cast_signed())
            .execute($executor)
            .await
    };
}
pub(crate) use insert_payment;

pub(crate) const INSERT_PAYMENT: &str = "INSERT INTO payment (id, from_account, to_account, amount) \
                                         VALUES ($1, $2, $3, $4)";

const CREATE_PAYMENT: &str = "\
CREATE TABLE IF NOT EXISTS payment (id TEXT NOT NULL PRIMARY KEY, from_account TEXT NOT NULL, \
    to_account TEXT NOT NULL, amount BIGINT NOT NULL)";

const CREATE_KEY: &str = "\
CREATE TABLE IF NOT EXISTS idempotency_key (caller TEXT NOT NULL, key TEXT NOT NULL, \
    fingerprint TEXT NOT NULL, status INTEGER, location TEXT, body TEXT, \
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (caller, key))";

const INSERT_KEY: &str = "\
INSERT INTO idempotency_key (caller, key, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const FIND_KEY: &str = "\
SELECT fingerprint, status, location, body FROM idempotency_key WHERE caller = $1 AND key = $2";

const STORE_RESPONSE: &str = "\
UPDATE idempotency_key SET status = $3, location = $4, body = $5 WHERE caller = $1 AND key = $2";

const DELETE_KEY: &str = "DELETE FROM idempotency_key WHERE caller = $1 AND key = $2";

/// The columns that are NULL while the first request is running.
type KeyRow = (String, Option<i32>, Option<String>, Option<String>);

impl Database {
    /// Opens the database of a URL, and creates the tables of the endpoints. With `is_tested`, the
    /// pool tests a connection before each use, which is the default of sqlx.
    pub(crate) async fn open(url: &str, is_tested: bool) -> Result<Self, Failure> {
        let database = if let Some(file) = url.strip_prefix("sqlite:") {
            let pool = SqlitePoolOptions::new().max_connections(1);
            let pool = pool.test_before_acquire(is_tested);
            Self::Sqlite(pool.connect_with(sqlite_options(file)).await?)
        } else {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            let pool = pool.test_before_acquire(is_tested);
            Self::Postgres(pool.connect_with(url.parse::<PgConnectOptions>()?).await?)
        };
        for statement in [CREATE_PAYMENT, CREATE_KEY] {
            with_pool!(&database, pool => { sqlx::query(statement).execute(pool).await?; });
        }
        Ok(database)
    }

    /// Inserts a payment in one transaction.
    pub(crate) async fn insert_payment(&self, payment: &Payment) -> sqlx::Result<()> {
        match self {
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                insert_payment!(&mut *transaction, payment)?;
                transaction.commit().await
            }
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                insert_payment!(&mut *transaction, payment)?;
                transaction.commit().await
            }
        }
    }

    /// Inserts a key without a response. Returns `false` if it exists.
    pub(crate) async fn insert_key(
        &self,
        (caller, key): (&str, &str),
        fingerprint: &str,
    ) -> sqlx::Result<bool> {
        Ok(with_pool!(self, pool => {
            let insert = sqlx::query(INSERT_KEY).bind(caller).bind(key).bind(fingerprint);
            insert.execute(pool).await?.rows_affected() == 1
        }))
    }

    /// Returns the row of a key.
    pub(crate) async fn find_key(
        &self,
        (caller, key): (&str, &str),
    ) -> sqlx::Result<Option<StoredKey>> {
        let row: Option<KeyRow> = with_pool!(self, pool => {
            sqlx::query_as(FIND_KEY).bind(caller).bind(key).fetch_optional(pool).await?
        });
        Ok(row.map(|(fingerprint, status, location, body)| StoredKey {
            fingerprint,
            response: stored_response(status, location, body),
        }))
    }

    /// Stores the response of a key.
    pub(crate) async fn store_response(
        &self,
        (caller, key): (&str, &str),
        response: &StoredResponse,
    ) -> sqlx::Result<()> {
        with_pool!(self, pool => {
            let update = sqlx::query(STORE_RESPONSE).bind(caller).bind(key);
            let update = update.bind(i32::from(response.status)).bind(&response.location);
            update.bind(&response.body).execute(pool).await?;
        });
        Ok(())
    }

    /// Deletes a key whose request has failed.
    pub(crate) async fn delete_key(&self, (caller, key): (&str, &str)) -> sqlx::Result<()> {
        with_pool!(self, pool => {
            sqlx::query(DELETE_KEY).bind(caller).bind(key).execute(pool).await?;
        });
        Ok(())
    }
}

/// Returns the options of a file whose commits are as durable as those of Aplomb.
pub(crate) fn sqlite_options(file: &str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
}

fn stored_response(
    status: Option<i32>,
    location: Option<String>,
    body: Option<String>,
) -> Option<StoredResponse> {
    Some(StoredResponse {
        status: u16::try_from(status?).ok()?,
        location: location?,
        body: body?,
    })
}
