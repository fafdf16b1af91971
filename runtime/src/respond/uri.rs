//! The URI of an endpoint.

use core::fmt;
use core::ops::Deref;

use http::Uri;

/// The URI of an endpoint, as its `uri(…)` returns it. It is a path relative to the path at which
/// the API is mounted.
///
/// It lacks the prefix of an outer router. With `Router::nest("/api", …)`, an endpoint is served at
/// `/api/v1/orders/7` and its URI is `/v1/orders/7`. The prefix is known only during a request.
/// [`Created::with_location`](super::Created::with_location) and
/// [`ResponseLocation`](super::ResponseLocation) add it to the `Location` field. A handler that
/// writes the URI elsewhere, such as in a body, must add the prefix itself. An `EndpointUri` that
/// is converted to a [`Uri`] gets no prefix.
///
/// ```
/// use aplomb::{EndpointUri, Path, endpoint};
///
/// /// Reads an order.
/// #[endpoint(get = "/orders/{id}", version = 1)]
/// async fn get_order(Path(id): Path<u64>) -> String {
///     format!("order {id}")
/// }
///
/// let uri: EndpointUri = get_order::uri(&7);
/// assert_eq!(uri, "/v1/orders/7");
/// assert_eq!(uri.path(), "/v1/orders/7"); // it derefs to `http::Uri`
/// assert_eq!(format!("/api{uri}"), "/api/v1/orders/7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUri(Uri);

impl EndpointUri {
    /// Creates the URI of an endpoint with this path, which includes the version.
    pub(crate) const fn new(path: Uri) -> Self {
        Self(path)
    }
}

impl Deref for EndpointUri {
    type Target = Uri;

    fn deref(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for EndpointUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<EndpointUri> for Uri {
    fn from(uri: EndpointUri) -> Self {
        uri.0
    }
}

impl PartialEq<str> for EndpointUri {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for EndpointUri {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl PartialEq<Uri> for EndpointUri {
    fn eq(&self, other: &Uri) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn uri(path: &'static str) -> EndpointUri {
        EndpointUri::new(Uri::from_static(path))
    }

    #[test]
    fn a_uri_is_compared_displayed_and_converted_as_its_path() {
        let order = uri("/v1/orders/7");
        assert_eq!(order, "/v1/orders/7");
        assert_eq!(order, *"/v1/orders/7");
        assert_eq!(order, Uri::from_static("/v1/orders/7"));
        assert_ne!(order, "/v1/orders/8");
        assert_eq!(order.to_string(), "/v1/orders/7");
        assert_eq!(order.path(), "/v1/orders/7");
        assert_eq!(Uri::from(order), "/v1/orders/7");
    }

    #[test]
    fn equal_uris_have_equal_hashes() {
        let set = HashSet::from([
            uri("/v1/orders/7"),
            uri("/v1/orders/7"),
            uri("/v1/orders/8"),
        ]);
        assert_eq!(set.len(), 2);
    }
}
