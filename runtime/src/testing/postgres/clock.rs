use core::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Mutex;

use crate::testing::Elapse;

/// The clock of a store in a database, which a test advances.
///
/// It replaces the function `aplomb.clock()`, which a store creates when it opens the database. The
/// time runs on, and a test can let more time pass at once.
#[derive(Debug)]
pub struct PostgresClock(Mutex<PgConnection>);

impl PostgresClock {
    /// Replaces the clock of the store in the database with these options.
    ///
    /// # Panics
    ///
    /// Panics if no store has opened the database before.
    pub async fn replace(options: &PgConnectOptions) -> Self {
        let connected = options.connect().await;
        let mut connection = connected.expect("a server that accepts connections");
        sqlx::raw_sql(include_str!("clock.sql"))
            .execute(&mut connection)
            .await
            .expect("a database with the tables of a store");
        Self(Mutex::new(connection))
    }

    /// Lets this much time pass at once.
    ///
    /// # Panics
    ///
    /// Panics if the server was restarted.
    pub async fn advance(&self, time: Duration) {
        let microseconds = i64::try_from(time.as_micros()).expect("less than 290,000 years");
        let time = PgInterval {
            months: 0,
            days: 0,
            microseconds,
        };
        sqlx::query("UPDATE test.clock SET ahead = ahead + $1")
            .bind(time)
            .execute(&mut *self.0.lock().await)
            .await
            .expect("a server that was not restarted");
    }

    /// Removes all records of the database.
    ///
    /// # Panics
    ///
    /// Panics if the server was restarted.
    pub async fn remove_records(&self) {
        sqlx::query("DELETE FROM aplomb.record")
            .execute(&mut *self.0.lock().await)
            .await
            .expect("a server that was not restarted");
    }
}

impl Elapse for PostgresClock {
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.advance(time))
    }
}
