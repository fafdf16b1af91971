//! The cases of all databases. `super` is the module of the database.

mod faults;
mod outcomes;
mod pitfalls;
mod start;

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use aplomb::Result;
use aplomb::prelude::*;
use aplomb::testing::{Client, ClientRequest, ClientResponse, TestServer};
use sqlx::{AssertSqlSafe, Pool};
use tokio::sync::Notify;

use super::{Db, TestDatabase};

pub(super) const ALICE: &str = "sk_test_alice";

/// The longest duration of a transaction in the tests of the time limit.
pub(super) const TIME_LIMIT: Duration = Duration::from_millis(300);

/// The state of the handlers.
#[derive(Clone, Default)]
pub(super) struct App {
    /// Lets a test hold a handler.
    pub(super) entered: Arc<Notify>,
    pub(super) released: Arc<Notify>,
    /// The result of a statement after the end of a transaction.
    late: Arc<Notify>,
    /// The pool of the application.
    pool: Arc<OnceLock<Pool<Db>>>,
}

impl App {
    fn pool(&self) -> &Pool<Db> {
        self.pool.get().expect("set at the start of the service")
    }

    /// Holds the handler until the test releases it.
    pub(super) async fn hold(&self) {
        self.entered.notify_one();
        self.released.notified().await;
    }
}

/// Writes an effect.
pub(super) async fn write(tx: &mut Tx<Db>, name: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO effect (name) VALUES ($1)")
        .bind(name)
        .execute(tx)
        .await
        .map(|_| ())
}

/// A service with its database.
pub(super) struct Service {
    pub(super) database: TestDatabase,
    _server: TestServer,
    pub(super) client: Client,
    pub(super) app: App,
}

impl Service {
    pub(super) async fn start(routes: Routes<App>) -> Self {
        Self::start_with(routes, |api| api).await
    }

    pub(super) async fn start_with(
        routes: Routes<App>,
        adjust: impl FnOnce(Api<App>) -> Api<App>,
    ) -> Self {
        Self::start_on(TestDatabase::new().await, routes, adjust).await
    }

    pub(super) async fn start_on(
        database: TestDatabase,
        routes: Routes<App>,
        adjust: impl FnOnce(Api<App>) -> Api<App>,
    ) -> Self {
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS effect (name TEXT NOT NULL UNIQUE)")
            .execute(&database.pool)
            .await
            .expect("a table");
        let app = App::default();
        app.pool.set(database.pool.clone()).expect("a new state");
        let api = Api::new("test", routes)
            .store(database.store())
            .auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
        let server = TestServer::start(adjust(api), app.clone()).await;
        let server = server.expect("a valid API");
        Self {
            client: server.client(),
            database,
            _server: server,
            app,
        }
    }

    /// Returns a PUT without a key.
    pub(super) fn put(&self, path: &str) -> ClientRequest {
        self.client.request(http::Method::PUT, path)
    }

    /// Returns a POST with an idempotency key.
    pub(super) fn post(&self, path: &str, key: &str) -> ClientRequest {
        self.client.post(path).bearer(ALICE).idempotency_key(key)
    }

    /// Sends a POST with the key `k`.
    pub(super) async fn send(&self, path: &str) -> ClientResponse {
        self.post(path, "k").send().await
    }

    /// Returns the names of the committed effects, in alphabetical order.
    pub(super) async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM effect ORDER BY name")
            .fetch_all(&self.database.pool)
            .await
            .expect("the effects")
    }

    /// Returns the number of records.
    pub(super) async fn records(&self) -> i64 {
        let count = format!(
            "SELECT count(*) FROM {} WHERE {}",
            super::RECORDS,
            super::IS_RECORD
        );
        sqlx::query_scalar(AssertSqlSafe(count))
            .fetch_one(&self.database.pool)
            .await
            .expect("a count")
    }
}
