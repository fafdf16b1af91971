use core::str;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::problem::TYPE_BASE;

/// A response with its complete body.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientResponse {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, without a transfer coding.
    pub body: Bytes,
}

impl ClientResponse {
    /// Returns the first value of a header field.
    ///
    /// # Panics
    ///
    /// Panics if the value is not visible ASCII.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("visible ASCII"))
    }

    /// Returns all values of a header field, in their order.
    ///
    /// # Panics
    ///
    /// Panics if a value is not visible ASCII.
    #[track_caller]
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().expect("visible ASCII"))
            .collect()
    }

    /// Returns the value of a header field that is an integer of at least 0, such as `Retry-After`.
    ///
    /// # Panics
    ///
    /// Panics if the field is missing or is not an integer.
    #[track_caller]
    pub fn header_number(&self, name: &str) -> u64 {
        self.header(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{name} is not an integer: {:?}", self.header(name)))
    }

    /// Returns the body as text.
    ///
    /// # Panics
    ///
    /// Panics if the body is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_else(|_| panic!("not UTF-8: {:?}", self.body))
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// Returns whether the response is a replay of a stored response (`Idempotent-Replayed: true`).
    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Checks that the response is a [problem](crate::problem) with this status and code, and
    /// returns the document.
    ///
    /// It also checks the media type and the members that every problem has. The members must agree
    /// with the header fields: `request_id` with `X-Request-Id`, and `retryable` with
    /// `Retry-After`.
    ///
    /// # Panics
    ///
    /// Panics if one of the checks fails.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        assert_eq!(
            (self.status.as_u16(), &document["code"]),
            (status, &Value::from(code)),
            "{document}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(document["status"], status);
        let problem_type = document["type"].as_str().unwrap_or_default();
        let is_of_the_api =
            !problem_type.starts_with("urn:aplomb:") && problem_type.ends_with(code);
        assert!(
            is_of_the_api || problem_type == format!("{TYPE_BASE}{code}"),
            "type in {document}"
        );
        let id = self
            .header("x-request-id")
            .expect("every response has an id");
        // A replay has the document of the first response, with its request id, and its own
        // `X-Request-Id`.
        if !self.replayed() {
            assert_eq!(document["request_id"], id);
            assert_eq!(document["instance"], format!("urn:aplomb:request:{id}"));
        }
        for member in ["title", "category"] {
            assert!(document[member].is_string(), "{member} in {document}");
        }
        assert!(
            document["retryable"].is_boolean(),
            "retryable in {document}"
        );
        let retry_after = self.header("retry-after");
        assert!(
            retry_after.is_none() || document["retryable"] == true,
            "Retry-After without retryable"
        );
        document
    }
}
