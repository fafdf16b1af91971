//! Responses for common status codes: 201, 204 and the `Location` field.

mod location;
mod uri;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::extract::Json;

pub use axum::response::NoContent;
pub use location::ResponseLocation;
pub(crate) use location::add_outer_prefix;
pub use uri::EndpointUri;

/// A 201 response: the new resource as JSON, and `Location` if the resource has a URI (RFC 9110
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
/// let created = Created::new("paid").with_location(get_payment::uri(&7));
/// assert_eq!(created.location(), Some("/v1/payments/7"));
/// let elsewhere = Created::new("paid").with_location("https://other.example/payments/7");
/// assert_eq!(elsewhere.location(), Some("https://other.example/payments/7"));
/// ```
#[derive(Debug, Clone)]
pub struct Created<T> {
    body: T,
    location: Option<ResponseLocation>,
}

impl<T> Created<T> {
    /// Creates a response with the new resource, without `Location`.
    pub const fn new(body: T) -> Self {
        Self {
            body,
            location: None,
        }
    }

    /// Sets `Location` to the URI of the new resource: the `uri(…)` of the endpoint that reads it,
    /// or any other URI or text. If the API is nested in another router, an endpoint's `uri(…)`
    /// gets the prefix of that router. A [`Uri`](http::Uri) or a text is not changed.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<ResponseLocation>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// Returns the URI of the new resource. The `uri(…)` of an endpoint has no prefix yet.
    pub fn location(&self) -> Option<&str> {
        self.location.as_ref().map(ResponseLocation::as_str)
    }

    /// Returns the new resource.
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
