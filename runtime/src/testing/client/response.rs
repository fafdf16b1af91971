use core::str;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::problem::TYPE_BASE;

/// A response, with its whole body.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientResponse {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, without any transfer coding.
    pub body: Bytes,
}

impl ClientResponse {
    /// The first value of a header field.
    ///
    /// # Panics
    ///
    /// If the value is not visible ASCII.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("visible ASCII"))
    }

    /// All values of a header field, in their order.
    ///
    /// # Panics
    ///
    /// If a value is not visible ASCII.
    #[track_caller]
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().expect("visible ASCII"))
            .collect()
    }

    /// A header field that is a whole number, such as `Retry-After`.
    ///
    /// # Panics
    ///
    /// If the field is missing or no whole number.
    #[track_caller]
    pub fn header_number(&self, name: &str) -> u64 {
        self.header(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{name} is no number: {:?}", self.header(name)))
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_else(|_| panic!("not UTF-8: {:?}", self.body))
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// Whether the response repeats an earlier one: `Idempotent-Replayed: true`.
    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Checks that the response is a [problem](crate::problem) with this status and code, and that the
    /// document and the header fields agree; returns the document.
    ///
    /// # Panics
    ///
    /// If it is not.
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
        let kind = document["type"].as_str().unwrap_or_default();
        let of_the_api = !kind.starts_with("urn:aplomb:") && kind.ends_with(code);
        assert!(
            of_the_api || kind == format!("{TYPE_BASE}{code}"),
            "type in {document}"
        );
        let id = self
            .header("x-request-id")
            .expect("every response has an id");
        // A repeated response has the document of the first, and an id of its own.
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
        let wait = self.header("retry-after");
        assert!(
            wait.is_none() || document["retryable"] == true,
            "Retry-After without retryable"
        );
        document
    }
}
