//! The parts of a hand-written endpoint that do not depend on a store: authentication, the
//! idempotency key, the fingerprint and the stored response.

use core::error::Error;
use std::collections::HashMap;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::payment::{API_KEY, CALLER, Payment};

/// The callers by the SHA-256 of their API keys.
#[derive(Debug)]
pub struct Callers(HashMap<[u8; 32], String>);

/// A stored response.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredResponse {
    /// The status code.
    pub status: u16,
    /// The value of `Location`.
    pub location: String,
    /// The body, which is JSON.
    pub body: String,
}

/// An error response.
#[derive(Debug)]
pub struct Rejection {
    status: StatusCode,
    detail: String,
}

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

impl Callers {
    /// Returns the callers of the benchmark.
    pub fn of_benchmark() -> Self {
        Self(HashMap::from([(
            Sha256::digest(API_KEY).into(),
            CALLER.to_owned(),
        )]))
    }

    /// Returns the caller of a request.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&str, Rejection> {
        let value = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let key = value.and_then(|value| value.strip_prefix("Bearer "));
        let digest: Option<[u8; 32]> = key.map(|key| Sha256::digest(key).into());
        let caller = digest.and_then(|digest| self.0.get(&digest));
        caller
            .map(String::as_str)
            .ok_or_else(|| Rejection::new(StatusCode::UNAUTHORIZED, "unknown API key"))
    }
}

/// Returns the idempotency key of a request.
pub fn idempotency_key(headers: &HeaderMap) -> Result<&str, Rejection> {
    let key = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    key.filter(|key| (1..=255).contains(&key.len()))
        .ok_or_else(|| {
            Rejection::new(
                StatusCode::BAD_REQUEST,
                "the request has no Idempotency-Key of 1 to 255 characters",
            )
        })
}

/// Returns the fingerprint of the body of a request.
pub fn fingerprint(body: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(body))
}

impl StoredResponse {
    /// Creates the response for a new payment.
    pub fn created(payment: &Payment) -> Result<Self, Rejection> {
        Ok(Self {
            status: 201,
            location: format!("/v1/payments/{}", payment.id),
            body: serde_json::to_string(payment)?,
        })
    }

    /// Returns the response, marked as a replay.
    pub fn replay(self) -> Result<Response, Rejection> {
        let mut response = self.into_axum()?;
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }

    /// Converts the stored response to a response of axum.
    pub fn into_axum(self) -> Result<Response, Rejection> {
        let mut response = Body::from(self.body).into_response();
        *response.status_mut() = StatusCode::from_u16(self.status)?;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(LOCATION, HeaderValue::try_from(self.location)?);
        Ok(response)
    }
}

impl Rejection {
    /// Creates an error response with a text body.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// The rejection of a caller that has used its limit.
    pub fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
    }

    /// The rejection of a key that was used for another request.
    pub fn mismatch() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the key was used for another request",
        )
    }

    /// The rejection of a key whose first request is still running.
    pub fn in_flight() -> Self {
        Self::new(StatusCode::CONFLICT, "the first request is still running")
    }
}

/// Converts an error of the store, or of a record that cannot be parsed.
impl<E: Error> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        (self.status, self.detail).into_response()
    }
}
