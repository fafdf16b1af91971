//! Responses with the status that they are for.

mod location;
mod uri;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::extract::Json;

pub use location::ResponseLocation;
pub(crate) use location::add_outer_prefix;
pub use uri::EndpointUri;

/// A 201 with the new thing as JSON, and `Location` where it has a URI of its own (RFC 9110
/// §15.3.2).
///
/// ```
/// use aplomb::{Created, Path, endpoint};
///
/// /// Reads a payment.
/// #[endpoint(get = "/payments/{id}", version = 1)]
/// async fn get_payment(Path(id): Path<u64>) -> String {
///     format!("payment {id}")
/// }
///
/// let created = Created::new("paid").at(get_payment::uri(&7));
/// assert_eq!(created.location(), Some("/v1/payments/7"));
/// let elsewhere = Created::new("paid").at("https://other.example/payments/7");
/// assert_eq!(elsewhere.location(), Some("https://other.example/payments/7"));
/// ```
#[derive(Debug, Clone)]
pub struct Created<T> {
    body: T,
    location: Option<ResponseLocation>,
}

impl<T> Created<T> {
    /// The new thing.
    pub const fn new(body: T) -> Self {
        Self {
            body,
            location: None,
        }
    }

    /// Sets `Location`, where the new thing is: the `uri(…)` of the endpoint that reads it, or any
    /// other URI or text. Where the API is nested below a prefix of another router, the prefix is put
    /// before an endpoint's `uri(…)`; a [`Uri`](http::Uri) or text stays as it is.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<ResponseLocation>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Returns where the new thing is. An endpoint's `uri(…)` has no prefix yet.
    pub fn location(&self) -> Option<&str> {
        self.location.as_ref().map(ResponseLocation::as_str)
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
        (self.location, response).into_response()
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
