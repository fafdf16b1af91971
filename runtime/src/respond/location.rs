//! The `Location` field of a response.

use core::convert::Infallible;

use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::header::LOCATION;
use http::{HeaderValue, Uri};

use super::EndpointUri;
use crate::extract::reference;

/// The `Location` field of a response (RFC 9110 §10.2.2): an endpoint of this API, or any other URI
/// reference.
///
/// - An [`EndpointUri`] gets the prefix of an outer router, such as `/api` for
///   `Router::nest("/api", …)`. The prefix is added once, before the response is stored under an
///   idempotency key. Responses to GET and DELETE get no prefix.
/// - A [`Uri`] or a text is not changed. Only characters that cannot be in a URI reference are
///   percent-encoded: spaces, control characters, non-ASCII characters, and ``"<>\^`{|}``.
///
/// [`Created::with_location`](super::Created::with_location) accepts both. In other responses,
/// return a `ResponseLocation` as one of the parts of the response:
///
/// ```
/// use aplomb::{Path, ResponseLocation, endpoint};
/// use axum::http::StatusCode;
///
/// /// Reads a report.
/// #[endpoint(get = "/reports/{id}", version = 1)]
/// async fn get_report(Path(id): Path<u64>) -> String {
///     format!("report {id}")
/// }
///
/// /// Creates a report.
/// #[endpoint(post = "/reports", version = 1, not_idempotent = "a report changes nothing")]
/// async fn make_report() -> (StatusCode, ResponseLocation) {
///     (StatusCode::SEE_OTHER, get_report::uri(&7).into())
/// }
///
/// let location = ResponseLocation::from(get_report::uri(&7));
/// assert_eq!(location.as_str(), "/v1/reports/7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResponseLocation {
    reference: String,
    /// `true` if the reference is a path that still needs the prefix of an outer router.
    is_relative: bool,
}

impl ResponseLocation {
    /// Returns the URI reference. The reference of an [`EndpointUri`] has no prefix yet.
    pub fn as_str(&self) -> &str {
        &self.reference
    }

    fn verbatim(text: &str) -> Self {
        Self {
            reference: reference(text).into_owned(),
            is_relative: false,
        }
    }
}

impl From<EndpointUri> for ResponseLocation {
    fn from(uri: EndpointUri) -> Self {
        Self {
            reference: uri.to_string(),
            is_relative: true,
        }
    }
}

impl From<Uri> for ResponseLocation {
    fn from(uri: Uri) -> Self {
        Self::verbatim(&uri.to_string())
    }
}

impl From<&str> for ResponseLocation {
    fn from(text: &str) -> Self {
        Self::verbatim(text)
    }
}

impl From<String> for ResponseLocation {
    fn from(text: String) -> Self {
        Self::verbatim(&text)
    }
}

impl IntoResponseParts for ResponseLocation {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        // Percent-encoded text is always a valid field value.
        let Ok(value) = HeaderValue::try_from(self.reference) else {
            return Ok(parts);
        };
        if self.is_relative {
            parts
                .extensions_mut()
                .insert(RelativeLocation(value.clone()));
        }
        parts.headers_mut().insert(LOCATION, value);
        Ok(parts)
    }
}

impl IntoResponse for ResponseLocation {
    fn into_response(self) -> Response {
        (self, ()).into_response()
    }
}

/// Adds the prefix of an outer router to a `Location` that lacks it.
///
/// Only the first call for a response has an effect. The pipeline calls this function for every
/// response of a handler, also without a prefix. A handler may return the response of another API,
/// whose pipeline has already called this function. The prefix is then not added a second time.
#[inline]
pub(crate) fn add_outer_prefix(response: &mut Response, prefix: Option<&str>) {
    // Most responses have no extensions, so they skip the look-up.
    if !response.extensions().is_empty() {
        insert_prefix(response, prefix);
    }
}

fn insert_prefix(response: &mut Response, prefix: Option<&str>) {
    let Some(RelativeLocation(relative)) = response.extensions_mut().remove() else {
        return;
    };
    let (Some(prefix), Some(location)) = (prefix, response.headers_mut().get_mut(LOCATION)) else {
        return;
    };
    // A handler may have replaced the field after the location was set.
    if *location == relative
        && let Ok(prefixed) = HeaderValue::from_bytes(&join_path(prefix, relative.as_bytes()))
    {
        *location = prefixed;
    }
}

/// Joins a prefix and a path. A router that is nested at `/api` serves its route `/` as `/api`.
fn join_path(prefix: &str, path: &[u8]) -> Vec<u8> {
    let path = if path == b"/" { b"" } else { path };
    [prefix.as_bytes(), path].concat()
}

/// A response extension that marks a `Location` without the prefix of an outer router. It contains
/// the value of the field, so that a later change of the field is noticed.
#[derive(Debug, Clone)]
struct RelativeLocation(HeaderValue);

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(path: &'static str) -> Response {
        let uri = EndpointUri::new(Uri::from_static(path));
        ResponseLocation::from(uri).into_response()
    }

    fn location(response: &Response) -> &str {
        response.headers()[LOCATION].to_str().expect("plain ASCII")
    }

    #[test]
    fn a_relative_location_gets_the_prefix_only_once() {
        let mut response = relative("/v1/things/7");
        for prefix in ["/api", "/api", "/other"] {
            add_outer_prefix(&mut response, Some(prefix));
            assert_eq!(location(&response), "/api/v1/things/7");
        }
    }

    #[test]
    fn a_location_sent_without_a_prefix_gets_no_prefix_later() {
        let mut response = relative("/v1/things/7");
        add_outer_prefix(&mut response, None);
        add_outer_prefix(&mut response, Some("/api"));
        assert_eq!(location(&response), "/v1/things/7");
        assert!(response.extensions().is_empty());
    }

    #[test]
    fn a_path_that_starts_like_the_prefix_still_gets_the_prefix() {
        let mut response = relative("/api/v1/things/7");
        add_outer_prefix(&mut response, Some("/api"));
        assert_eq!(location(&response), "/api/api/v1/things/7");
    }

    #[test]
    fn the_root_of_a_nested_api_is_the_prefix() {
        let mut response = relative("/");
        add_outer_prefix(&mut response, Some("/api"));
        assert_eq!(location(&response), "/api");
    }

    #[test]
    fn uris_and_text_are_not_changed() {
        for text in [
            "/v1/things/7",
            "https://other.example/v1/things/7?a=b#c",
            "../things/7",
            "",
            "/a%2Fb",
        ] {
            let mut response = ResponseLocation::from(text).into_response();
            add_outer_prefix(&mut response, Some("/api"));
            assert_eq!(location(&response), text);
        }
        let uri = Uri::from_static("/v1/things/7");
        let mut response = ResponseLocation::from(uri).into_response();
        add_outer_prefix(&mut response, Some("/api"));
        assert_eq!(location(&response), "/v1/things/7");
    }

    #[test]
    fn characters_outside_of_uri_references_are_percent_encoded() {
        for (text, reference) in [
            ("/a\r\nset-cookie: x", "/a%0D%0Aset-cookie:%20x"),
            ("/\u{fc}\u{7f}<>", "/%C3%BC%7F%3C%3E"),
        ] {
            let response = ResponseLocation::from(text.to_owned()).into_response();
            assert_eq!(location(&response), reference);
        }
    }

    #[test]
    fn a_location_that_the_handler_replaced_is_not_changed() {
        let mut response = ([(LOCATION, "/files/7")], relative("/v1/things/7")).into_response();
        add_outer_prefix(&mut response, Some("/api"));
        assert_eq!(location(&response), "/files/7");
        response = relative("/v1/things/7");
        response.headers_mut().remove(LOCATION);
        add_outer_prefix(&mut response, Some("/api"));
        assert!(!response.headers().contains_key(LOCATION));
    }
}
