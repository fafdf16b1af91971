//! Requests of the tests, and checks of their responses.

use core::time::Duration;
use std::io;

use aplomb::testing::{Client, ClientRequest, ClientResponse};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// A request. The idempotency key of an order is its item.
#[derive(Clone)]
pub(crate) struct Order {
    method: Method,
    path: &'static str,
    item: &'static str,
    held: bool,
}

impl Order {
    pub(crate) const fn of(item: &'static str) -> Self {
        Self {
            method: Method::POST,
            path: "/v1/orders",
            item,
            held: false,
        }
    }

    /// Returns a request for the prices.
    pub(crate) const fn prices() -> Self {
        Self::get("/v1/prices")
    }

    /// Returns a GET.
    pub(crate) const fn get(path: &'static str) -> Self {
        Self {
            method: Method::GET,
            path,
            item: "",
            held: false,
        }
    }

    pub(crate) const fn to(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    /// Lets the run of this order wait until the test releases it.
    pub(crate) const fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// Sends the request. Returns `None` if the process ends before it responds.
    pub(crate) async fn send(&self, client: &Client) -> Option<ClientResponse> {
        match self.request(client).try_send().await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                panic!("the request timed out")
            }
            response => response.ok(),
        }
    }

    /// Repeats the request while the response is retryable. The delays are shorter than
    /// `Retry-After`.
    pub(crate) async fn retry(&self, client: &Client) -> Option<ClientResponse> {
        let end = Instant::now() + RETRY_TIMEOUT;
        loop {
            let response = self.send(client).await?;
            if !is_retryable(&response) {
                return Some(response);
            }
            assert!(
                Instant::now() < end,
                "still retryable after all retries: {response:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn request(&self, client: &Client) -> ClientRequest {
        let request = client
            .request(self.method.clone(), self.path)
            .bearer("sk_test_alice");
        match self.method {
            Method::GET => request,
            _ => request
                .idempotency_key(self.item)
                .json(json!({ "item": self.item, "held": self.held }).to_string()),
        }
    }
}

/// Checks of a response.
pub(crate) trait ResponseChecks {
    /// Checks that this request placed an order.
    fn assert_placed(&self);

    /// Checks that this response is a replay of `first`.
    fn assert_replay_of(&self, first: &ClientResponse);

    /// Checks a problem and its `Retry-After`.
    fn assert_problem(&self, status: u16, code: &str, retryable: bool);

    #[track_caller]
    fn assert_in_flight(&self) {
        self.assert_problem(409, "IDEMPOTENCY_IN_FLIGHT", true);
    }

    #[track_caller]
    fn assert_unknown(&self) {
        self.assert_problem(500, "IDEMPOTENCY_OUTCOME_UNKNOWN", false);
    }

    #[track_caller]
    fn assert_store_unavailable(&self) {
        self.assert_problem(503, "STORE_UNAVAILABLE", true);
    }

    /// Returns whether the response has limit fields.
    fn has_limit_fields(&self) -> bool;
}

impl ResponseChecks for ClientResponse {
    #[track_caller]
    fn assert_placed(&self) {
        assert!(self.status == 201 && !self.replayed(), "{self:?}");
    }

    #[track_caller]
    fn assert_replay_of(&self, first: &Self) {
        assert!(self.replayed(), "{self:?}");
        assert_eq!((self.status, &self.body), (first.status, &first.body));
    }

    #[track_caller]
    fn assert_problem(&self, status: u16, code: &str, retryable: bool) {
        let problem = self.problem(status, code);
        assert_eq!(problem["retryable"], retryable, "{problem}");
        let wait: Option<u64> = self
            .header("retry-after")
            .map(|wait| wait.parse().expect("a number of seconds"));
        assert_eq!(
            wait.is_some_and(|seconds| seconds >= 1),
            retryable,
            "Retry-After: {wait:?}"
        );
    }

    fn has_limit_fields(&self) -> bool {
        self.headers
            .keys()
            .any(|name| name.as_str().contains("ratelimit"))
    }
}

fn is_retryable(response: &ClientResponse) -> bool {
    let problem: Option<Value> = serde_json::from_slice(&response.body).ok();
    problem.is_some_and(|problem| problem["retryable"] == true)
}

/// The time after which a retry fails the test. It is longer than any retry takes on a slow
/// machine. It is shorter than the default lease of 30 s, so that a blocked key fails the test.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
