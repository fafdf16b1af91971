use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aplomb::prelude::*;
use aplomb::testing::{Client, ClientRequest, ClientResponse, TestServer};
use payments::bank::Bank;
use payments::sqlite::api;
use payments::sqlite::app::App;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

pub(crate) const ALICE: &str = "sk_test_alice";
pub(crate) const BOB: &str = "sk_test_bob";

/// The service with a new ledger in a SQLite file, for one test. The tests of the ledger also run
/// on PostgreSQL.
pub(crate) struct Service {
    pub(crate) client: Client,
    /// Connections of another process to the same file.
    pub(crate) pool: SqlitePool,
    _server: TestServer,
    directory: TempDir,
    keys: AtomicU64,
}

/// A response with a JSON body.
#[derive(Debug)]
pub(crate) struct JsonResponse {
    pub(crate) status: u16,
    pub(crate) body: Value,
    response: ClientResponse,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("payments.db"))
            .create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.expect("a database");
        let bank = Bank::open(&directory.path().join("bank")).expect("a bank");
        let app = App::open(pool.clone(), bank).await.expect("a ledger");
        let api = Api::new("payments", api::routes())
            .store(Store::sqlite(&pool))
            .auth(ApiKeys::parse("alice:sk_test_alice,bob:sk_test_bob").expect("keys"));
        let server = TestServer::start(api, app).await.expect("a valid API");
        Self {
            client: server.client(),
            pool,
            _server: server,
            directory,
            keys: AtomicU64::new(0),
        }
    }

    /// Returns the directory of the bank.
    pub(crate) fn bank(&self) -> PathBuf {
        self.directory.path().join("bank")
    }

    /// Returns the transfers that the bank has executed, in the order of their keys.
    pub(crate) fn transfers(&self) -> Vec<Value> {
        let files = fs::read_dir(self.bank()).expect("a directory").flatten();
        let mut paths: Vec<_> = files.map(|file| file.path()).collect();
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        paths.sort();
        let texts = paths.iter().map(|path| fs::read(path).expect("a file"));
        let transfers = texts.map(|text| serde_json::from_slice(&text).expect("JSON"));
        transfers.collect()
    }

    /// Returns the letters that the bank has sent.
    pub(crate) fn letters(&self) -> Vec<String> {
        let letters = fs::read_to_string(self.bank().join("letters.txt")).unwrap_or_default();
        letters.lines().map(str::to_owned).collect()
    }

    /// Makes every transaction fail after its handler, as a crash before the commit does.
    pub(crate) async fn break_commits(&self) {
        self.execute(
            "CREATE TRIGGER no_response BEFORE UPDATE ON aplomb_record WHEN NEW.response NOTNULL \
             BEGIN SELECT RAISE(ABORT, 'crash'); END",
        )
        .await;
    }

    pub(crate) async fn repair_commits(&self) {
        self.execute("DROP TRIGGER no_response").await;
    }

    async fn execute(&self, statement: &'static str) {
        let done = sqlx::raw_sql(statement).execute(&self.pool).await;
        done.expect("executed");
    }

    pub(crate) async fn get(&self, caller: &str, path: &str) -> JsonResponse {
        self.send(self.client.get(path).bearer(caller)).await
    }

    /// Sends a POST with a new idempotency key.
    pub(crate) async fn post(&self, caller: &str, path: &str, body: &Value) -> JsonResponse {
        let key = self.keys.fetch_add(1, Ordering::Relaxed).to_string();
        self.post_with(&key, caller, path, body).await
    }

    pub(crate) async fn post_with(
        &self,
        key: &str,
        caller: &str,
        path: &str,
        body: &Value,
    ) -> JsonResponse {
        let request = self.client.post(path).bearer(caller).idempotency_key(key);
        self.send(request.json(body.to_string())).await
    }

    pub(crate) async fn send(&self, request: ClientRequest) -> JsonResponse {
        let response = request.send().await;
        JsonResponse {
            status: response.status.as_u16(),
            body: response.json(),
            response,
        }
    }

    /// Opens an account in EUR with this balance. Returns its identifier.
    pub(crate) async fn account(&self, caller: &str, balance: i64) -> String {
        self.account_in(caller, "EUR", balance).await
    }

    pub(crate) async fn account_in(&self, caller: &str, currency: &str, balance: i64) -> String {
        let new = json!({ "owner": "Somebody", "currency": currency });
        let id = self.post(caller, "/v1/accounts", &new).await.text("id");
        if balance > 0 {
            let path = format!("/v1/accounts/{id}/deposit");
            self.post(caller, &path, &json!({ "amount": balance }))
                .await
                .expect(201);
        }
        id
    }

    pub(crate) async fn balance(&self, caller: &str, id: &str) -> i64 {
        let account = self
            .get(caller, &format!("/v1/accounts/{id}"))
            .await
            .expect(200);
        account.body["balance"].as_i64().expect("an integer")
    }

    pub(crate) async fn pay(
        &self,
        caller: &str,
        from: &str,
        to: &str,
        amount: i64,
    ) -> JsonResponse {
        self.post(
            caller,
            "/v1/payments",
            &json!({ "from": from, "to": to, "amount": amount }),
        )
        .await
    }
}

impl JsonResponse {
    /// Checks the status, and returns the response.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// Returns a string member of the body.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("no {member} in {:#}", self.body))
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// Returns the status and the code of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        (self.status, self.text("code"))
    }

    /// Returns the pointer of the first invalid member.
    pub(crate) fn pointer(&self) -> Option<&str> {
        self.body["errors"][0]["pointer"].as_str()
    }
}
