//! Tests of a full disk. The connections of the service have a limit for the pages of the file,
//! because SQLite then returns `SQLITE_FULL`, as on a full disk.

use aplomb::prelude::*;
use aplomb::testing::{ClientRequest, ClientResponse, TestServer, eventually};
use serde_json::json;
use sqlx::{AssertSqlSafe, SqlitePool};
use tempfile::TempDir;

use super::super::{api, app::App, ledger};
use super::TestDatabase;
use crate::bank::Bank;

/// A service on a disk that a test can fill.
struct Service {
    database: TestDatabase,
    server: TestServer,
    _bank: TempDir,
}

impl Service {
    async fn start() -> Self {
        let database = TestDatabase::new().await;
        ledger::create_tables(&database.pool).await.expect("tables");
        let execute = async |statement: &'static str| {
            let done = sqlx::raw_sql(statement).execute(&database.pool).await;
            done.expect("executed");
        };
        // The tables of the store take free pages.
        execute("CREATE TABLE filler (padding BLOB NOT NULL)").await;
        execute(FILL).await;
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count")
            .fetch_one(&database.pool)
            .await
            .expect("a number");
        execute("DELETE FROM filler").await;
        let options = (*database.pool.connect_options()).clone();
        let limited = options.pragma("max_page_count", pages.to_string());
        let limited = SqlitePool::connect_with(limited).await.expect("a pool");
        let bank = TempDir::new().expect("a directory");
        let api = Api::new("payments", api::routes())
            .store(Store::sqlite(&limited))
            .auth(ApiKeys::parse("alice:sk_test_alice").expect("a key"));
        let app = App::open(limited, Bank::open(bank.path()).expect("a bank"));
        let server = TestServer::start(api, app.await.expect("a ledger")).await;
        Self {
            database,
            server: server.expect("a valid API"),
            _bank: bank,
        }
    }

    /// Takes all free pages.
    async fn fill_disk(&self) {
        self.execute(FILL).await;
    }

    async fn free_disk(&self) {
        self.execute("DELETE FROM filler").await;
    }

    async fn execute(&self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        let done = sqlx::raw_sql(statement).execute(&self.database.pool).await;
        done.expect("executed");
    }

    fn open_account(&self, key: usize) -> ClientRequest {
        let request = self.server.client().post("/v2/accounts");
        let request = request.bearer("sk_test_alice");
        request
            .idempotency_key(&format!("key-{key}"))
            .json(json!({ "owner": "A".repeat(64), "currency": "EUR" }).to_string())
    }

    async fn accounts(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM accounts")
            .fetch_one(&self.database.pool)
            .await
            .expect("a count")
    }

    async fn health(&self) -> ClientResponse {
        self.server.client().get("/v2/health").send().await
    }
}

/// Takes more pages than the tables of the store.
const FILL: &str = "WITH RECURSIVE row (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM row \
    WHERE number < 100) INSERT INTO filler SELECT zeroblob(4096) FROM row";

#[tokio::test]
async fn on_a_full_disk_keys_stay_free_and_after_it_has_room_the_service_writes_without_a_restart()
{
    let service = Service::start().await;
    let opened = service.open_account(0).send().await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    assert_eq!(service.health().await.status, 200);
    service.fill_disk().await;
    let mut opened = 1;
    let refused = loop {
        let key = usize::try_from(opened).expect("a small number");
        let response = service.open_account(key).send().await;
        if response.status != 201 {
            break key;
        }
        opened += 1;
        assert!(opened < 10_000, "the disk is not full");
    };
    for _ in 0..3 {
        let response = service.open_account(refused).send().await;
        response.problem(503, "STORE_UNAVAILABLE");
    }
    eventually("the service is not healthy", async || {
        service.health().await.status == 503
    })
    .await;
    service.health().await.problem(503, "LEDGER_UNAVAILABLE");
    assert_eq!(service.accounts().await, opened);

    service.free_disk().await;
    let response = service.open_account(refused).send().await;
    assert!(
        response.status == 201 && !response.replayed(),
        "{response:?}"
    );
    eventually("the service is healthy", async || {
        service.health().await.status == 200
    })
    .await;
    assert_eq!(service.accounts().await, opened + 1);
}
