use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aplomb::prelude::*;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use payments::app::App;
use payments::ledger::Ledger;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const ALICE: &str = "sk_test_alice";
pub(crate) const BOB: &str = "sk_test_bob";

/// The service over a ledger of its own.
pub(crate) struct Service {
    router: Router,
    directory: TempDir,
    keys: AtomicU64,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let ledger = Ledger::open(&directory.path().join("ledger.sqlite")).await.expect("a ledger");
        let api = Api::new("payments", payments::api::routes())
            .store(Store::memory())
            .auth(ApiKeys::parse("alice:sk_test_alice,bob:sk_test_bob").expect("keys"));
        let router = api.into_router(App::new(ledger)).await.expect("a router");
        Self { router, directory, keys: AtomicU64::new(0) }
    }

    /// The ledger's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("ledger.sqlite")
    }

    pub(crate) async fn get(&self, caller: &str, path: &str) -> Answer {
        self.send(request("GET", caller, path), Body::empty()).await
    }

    /// Posts with a key that was never used.
    pub(crate) async fn post(&self, caller: &str, path: &str, body: &Value) -> Answer {
        let key = self.keys.fetch_add(1, Ordering::Relaxed).to_string();
        self.post_with(&key, caller, path, body).await
    }

    pub(crate) async fn post_with(&self, key: &str, caller: &str, path: &str, body: &Value) -> Answer {
        let request = request("POST", caller, path)
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        self.send(request, Body::from(body.to_string())).await
    }

    pub(crate) async fn send(&self, request: axum::http::request::Builder, body: Body) -> Answer {
        let request = request.body(body).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&bytes).expect("JSON");
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// An account in EUR with this balance: its identifier.
    pub(crate) async fn account(&self, caller: &str, balance: i64) -> String {
        self.account_in(caller, "EUR", balance).await
    }

    pub(crate) async fn account_in(&self, caller: &str, currency: &str, balance: i64) -> String {
        let new = json!({ "owner": "Somebody", "currency": currency });
        let id = self.post(caller, "/v1/accounts", &new).await.text("id");
        if balance > 0 {
            let path = format!("/v1/accounts/{id}/deposit");
            self.post(caller, &path, &json!({ "amount": balance })).await.expect(201);
        }
        id
    }

    pub(crate) async fn balance(&self, caller: &str, id: &str) -> i64 {
        let account = self.get(caller, &format!("/v1/accounts/{id}")).await.expect(200);
        account.body["balance"].as_i64().expect("an integer")
    }

    pub(crate) async fn pay(&self, caller: &str, from: &str, to: &str, amount: i64) -> Answer {
        self.post(caller, "/v1/payments", &json!({ "from": from, "to": to, "amount": amount })).await
    }
}

pub(crate) fn request(method: &str, caller: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {caller}"))
}

impl Answer {
    /// The answer, which must have this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {:#}", self.body)).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The status and the code of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        (self.status, self.text("code"))
    }

    /// Where the first mistake in the body is.
    pub(crate) fn pointer(&self) -> Option<&str> {
        self.body["errors"][0]["pointer"].as_str()
    }
}
