use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::encryption::EncryptedResponse;

/// The stored form of a response, for replays. It does not have the header fields that belong to
/// one transfer. A clone is cheap.
///
/// When a store gets the response, it may be [encrypted](super::EncryptionKeys). Then only its
/// status is readable. `Debug` prints the status and sizes, never fields or the body.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse(Arc<Response>);

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Response { status, fields, .. } = &*self.0;
        let (fields, body) = (fields.len(), self.body().map(Bytes::len));
        f.debug_struct("StoredResponse")
            .field("status", status)
            .field("fields", &fields)
            .field("body", &body)
            .field("encrypted_with", &self.encrypted_with())
            .finish()
    }
}

#[derive(PartialEq, Eq)]
struct Response {
    status: StatusCode,
    /// A list, not a `HeaderMap`, which would double the memory of a record.
    fields: Vec<Field>,
    content: Content,
}

/// The name and the value of a header field.
pub(super) type Field = (HeaderName, HeaderValue);

#[derive(PartialEq, Eq)]
enum Content {
    Body(Bytes),
    /// The body was too large to store.
    BodyNotStored,
    /// The fields and the body, encrypted together. `fields` is empty.
    Encrypted(EncryptedResponse),
}

impl StoredResponse {
    /// Creates the stored form of a response. `body` is `None` if the body is too large to store.
    pub fn new(head: &Parts, body: Option<Bytes>) -> Self {
        let mut fields = Vec::with_capacity(head.headers.len());
        let stored = head.headers.iter().filter(|(name, _)| {
            is_stored_field(name) && !is_connection_option(name, &head.headers)
        });
        fields.extend(stored.map(|(name, value)| (name.clone(), value.clone())));
        Self::from_parts(
            head.status,
            fields,
            body.map_or(Content::BodyNotStored, Content::Body),
        )
    }

    /// Restores a stored response. Returns `None` if the response has a field that is never stored,
    /// or more than [`MAX_FIELDS`] fields.
    pub(crate) fn restored(
        status: StatusCode,
        fields: Vec<Field>,
        body: Option<Bytes>,
    ) -> Option<Self> {
        let possible =
            fields.len() <= MAX_FIELDS && fields.iter().all(|(name, _)| is_stored_field(name));
        let content = body.map_or(Content::BodyNotStored, Content::Body);
        possible.then(|| Self::from_parts(status, fields, content))
    }

    pub(super) fn from_encrypted(status: StatusCode, encrypted: EncryptedResponse) -> Self {
        Self::from_parts(status, Vec::new(), Content::Encrypted(encrypted))
    }

    fn from_parts(status: StatusCode, fields: Vec<Field>, content: Content) -> Self {
        Self(Arc::new(Response {
            status,
            fields,
            content,
        }))
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the header fields that a replay repeats, in order. Returns no fields if the response
    /// is encrypted.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.fields.iter().map(|(name, value)| (name, value))
    }

    /// Returns the body; `None` if it was too large to store, or if the response is encrypted.
    pub fn body(&self) -> Option<&Bytes> {
        match &self.0.content {
            Content::Body(body) => Some(body),
            Content::BodyNotStored | Content::Encrypted(_) => None,
        }
    }

    /// Returns the id of the key with which the response is encrypted; `None` if it is not
    /// encrypted.
    pub fn encrypted_with(&self) -> Option<&str> {
        self.encrypted().map(EncryptedResponse::key_id)
    }

    pub(super) fn encrypted(&self) -> Option<&EncryptedResponse> {
        match &self.0.content {
            Content::Encrypted(encrypted) => Some(encrypted),
            Content::Body(_) | Content::BodyNotStored => None,
        }
    }

    /// Estimates the memory that the stored response takes, in bytes.
    pub fn size(&self) -> usize {
        let fields: usize = self
            .headers()
            // A `HeaderName` and a `HeaderValue` take 72 bytes, plus their text.
            .map(|(name, value)| name.as_str().len() + value.len() + 72)
            .sum();
        let content = match &self.0.content {
            Content::Body(body) => body.len(),
            Content::BodyNotStored => 0,
            Content::Encrypted(encrypted) => encrypted.size(),
        };
        fields + content
    }
}

/// The maximum number of stored fields. A `HeaderMap` can contain 24,576 distinct names, and 64 of
/// them are reserved for the fields that the pipeline adds to a replay.
pub(super) const MAX_FIELDS: usize = 24_576 - 64;

/// Returns `true` if a `Connection` field names this field as hop-by-hop (RFC 9110 §7.6.1).
fn is_connection_option(name: &HeaderName, headers: &HeaderMap) -> bool {
    let mut options = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    options.any(|options| {
        options
            .split(',')
            .any(|option| option.trim().eq_ignore_ascii_case(name.as_str()))
    })
}

/// Returns `false` for fields that a replay must not repeat: hop-by-hop fields (RFC 9110 §7.6.1),
/// times, cookies, rate limits, and identifiers of one request.
fn is_stored_field(name: &HeaderName) -> bool {
    const DROPPED: [HeaderName; 14] = [
        CONNECTION,
        CONTENT_LENGTH,
        DATE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        RETRY_AFTER,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("x-request-id"),
    ];
    const PREFIXES: [&str; 4] = ["ratelimit", "x-ratelimit", "traceparent", "tracestate"];
    !DROPPED.contains(name)
        && !PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a20_fields_of_one_transfer_are_not_stored() {
        let response = http::Response::builder()
            .header("location", "/v1/payments/1")
            .header("content-type", "application/json")
            .header("link", "</a>; rel=up")
            .header("link", "</b>; rel=next")
            .header("x-own", "x")
            .header("set-cookie", "a=b")
            .header("date", "now")
            .header("content-length", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("proxy-authorization", "Basic")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c")
            .header("ratelimit", "x")
            .header("ratelimit-policy", "x")
            .header("x-ratelimit-remaining", "1")
            .header("retry-after", "1")
            .header("x-request-id", "r")
            .header("traceparent", "t")
            .header("tracestate", "s")
            .header("connection", "close, X-Hop")
            .header("x-hop", "1")
            .header("proxy-connection", "close");
        let (head, ()) = response.body(()).expect("a response").into_parts();
        let stored = StoredResponse::new(&head, None);
        let mut names: Vec<_> = stored.headers().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "link", "link", "location", "x-own"]);
    }

    #[test]
    fn a26_debug_shows_no_part_of_a_response() {
        let response = http::Response::builder()
            .header("location", "/v1/payments/1")
            .body(());
        let (head, ()) = response.expect("a response").into_parts();
        let stored = StoredResponse::new(&head, Some(Bytes::from_static(b"secret")));
        assert_eq!(
            format!("{stored:?}"),
            "StoredResponse { status: 200, fields: 1, body: Some(6), encrypted_with: None }"
        );
    }
}
