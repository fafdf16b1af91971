//! A client that retries as it is told to.

use core::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::bench::PATIENCE;

/// A client of one instance. Every request has a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: String,
}

/// A request. The key of an order is its item.
#[derive(Clone)]
pub(crate) struct Order {
    method: Method,
    path: &'static str,
    item: &'static str,
    held: bool,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    headers: HeaderMap,
}

impl Order {
    pub(crate) const fn of(item: &'static str) -> Self {
        Self { method: Method::POST, path: "/v1/orders", item, held: false }
    }

    /// A look at the prices.
    pub(crate) const fn prices() -> Self {
        Self::get("/v1/prices")
    }

    /// A look at something.
    pub(crate) const fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path, item: "", held: false }
    }

    pub(crate) const fn to(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    /// Whose run waits.
    pub(crate) const fn held(mut self) -> Self {
        self.held = true;
        self
    }

    fn request(&self, address: &str) -> Request<Full<Bytes>> {
        let body = json!({ "item": self.item, "held": self.held }).to_string();
        let builder = Request::builder().method(&self.method).uri(format!("http://{address}{}", self.path));
        let builder = builder.header("authorization", "Bearer sk_test_alice");
        let request = match self.method {
            Method::GET => builder.body(Full::default()),
            _ => builder
                .header("idempotency-key", self.item)
                .header("content-type", "application/json")
                .body(Full::from(body)),
        };
        request.expect("a request")
    }
}

impl Client {
    pub(crate) fn new(address: String) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http(), address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Nothing comes back from a process that ends meanwhile.
    pub(crate) async fn send(&self, order: &Order) -> Option<Reply> {
        let response = timeout(PATIENCE, self.pool.request(order.request(&self.address))).await;
        let (head, body) = response.expect("an end in time").ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Sends again while the answer says so. The waits are shorter than it says.
    pub(crate) async fn retry(&self, order: &Order) -> Option<Reply> {
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = self.send(order).await?;
            if !reply.is_retryable() {
                return Some(reply);
            }
            assert!(Instant::now() < end, "in vain: {reply:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("plain ASCII"))
    }

    /// Checks that an order was placed by this request.
    #[track_caller]
    pub(crate) fn placed(&self) {
        assert!(self.status == 201 && !self.is_replay(), "{self:?}");
    }

    /// Checks that this repeats an answer.
    #[track_caller]
    pub(crate) fn replays(&self, first: &Self) {
        assert!(self.is_replay(), "{self:?}");
        assert_eq!((self.status, &self.body), (first.status, &first.body));
    }

    /// Checks what a problem says, and when to come back.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str, retryable: bool) {
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem document");
        let said = (self.status, &problem["code"], &problem["retryable"]);
        assert_eq!(said, (status, &json!(code), &json!(retryable)), "{problem}");
        let wait: Option<u64> =
            self.header("retry-after").map(|wait| wait.parse().expect("a number of seconds"));
        assert_eq!(wait.is_some_and(|seconds| seconds >= 1), retryable, "Retry-After: {wait:?}");
    }

    #[track_caller]
    pub(crate) fn in_flight(&self) {
        self.problem(409, "IDEMPOTENCY_IN_FLIGHT", true);
    }

    #[track_caller]
    pub(crate) fn unknown(&self) {
        self.problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN", false);
    }

    #[track_caller]
    pub(crate) fn no_store(&self) {
        self.problem(503, "STORE_UNAVAILABLE", true);
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Whether it tells of limits.
    pub(crate) fn tells_limits(&self) -> bool {
        self.headers.keys().any(|name| name.as_str().contains("ratelimit"))
    }

    fn is_retryable(&self) -> bool {
        let problem: Option<Value> = serde_json::from_slice(&self.body).ok();
        problem.is_some_and(|problem| problem["retryable"] == true)
    }
}

impl core::fmt::Debug for Reply {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}
