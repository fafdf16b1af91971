//! Responses with the status that they are for.

use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;

use crate::extract::Json;

/// A 201 with the new thing as JSON, and `Location` where it has a URI of its own (RFC 9110
/// §15.3.2).
///
/// ```
/// use aplomb::Created;
///
/// # let uri: aplomb::Uri = "/v1/payments/7".parse().unwrap();
/// let created = Created::new("paid").at(uri);
/// # assert_eq!(created.location().unwrap().path(), "/v1/payments/7");
/// ```
#[derive(Debug, Clone)]
pub struct Created<T> {
    body: T,
    location: Option<Uri>,
}

impl<T> Created<T> {
    /// The new thing.
    pub const fn new(body: T) -> Self {
        Self { body, location: None }
    }

    /// Says where the new thing is: the `uri(…)` of the endpoint that reads it. Where the API is nested
    /// below a prefix of another router, the response's `Location` begins with that prefix.
    #[must_use]
    pub fn at(mut self, location: Uri) -> Self {
        self.location = Some(location);
        self
    }

    /// Where the new thing is.
    pub fn location(&self) -> Option<&Uri> {
        self.location.as_ref()
    }

    /// The new thing.
    pub fn into_inner(self) -> T {
        self.body
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if response.status() != StatusCode::OK {
            return response;
        }
        *response.status_mut() = StatusCode::CREATED;
        if let Some(location) = self.location.and_then(|uri| HeaderValue::try_from(uri.to_string()).ok()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

/// A 204: done, nothing to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
