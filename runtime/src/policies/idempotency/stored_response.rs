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

/// A response as it is kept for replays: without the fields that belong to one transfer only. Cheap to
/// clone.
///
/// On its way to a store it may be [sealed](super::EncryptionKeys): then only its status can be read. What is
/// shown of it for debugging never tells more.
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
            .field("sealed_with", &self.encrypted_with())
            .finish()
    }
}

#[derive(PartialEq, Eq)]
struct Response {
    status: StatusCode,
    /// No map: a record takes half as much room without one.
    fields: Vec<Field>,
    content: Content,
}

/// A field line.
pub(super) type Field = (HeaderName, HeaderValue);

#[derive(PartialEq, Eq)]
enum Content {
    Body(Bytes),
    /// The body was too large.
    NoBody,
    /// The fields, too, are in here.
    Sealed(EncryptedResponse),
}

impl StoredResponse {
    /// A response; `None` for a body that is too large to keep.
    pub fn new(head: &Parts, body: Option<Bytes>) -> Self {
        let mut fields = Vec::with_capacity(head.headers.len());
        let kept = head
            .headers
            .iter()
            .filter(|(name, _)| is_stored_field(name) && !is_nominated(name, &head.headers));
        fields.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        Self::of(
            head.status,
            fields,
            body.map_or(Content::NoBody, Content::Body),
        )
    }

    /// An answer that was kept before; `None` if it has a field that is never kept, or more than a
    /// response can have.
    pub(crate) fn restored(
        status: StatusCode,
        fields: Vec<Field>,
        body: Option<Bytes>,
    ) -> Option<Self> {
        let possible =
            fields.len() <= MAX_FIELDS && fields.iter().all(|(name, _)| is_stored_field(name));
        let content = body.map_or(Content::NoBody, Content::Body);
        possible.then(|| Self::of(status, fields, content))
    }

    pub(super) fn from_encrypted(status: StatusCode, sealed: EncryptedResponse) -> Self {
        Self::of(status, Vec::new(), Content::Sealed(sealed))
    }

    fn of(status: StatusCode, fields: Vec<Field>, content: Content) -> Self {
        Self(Arc::new(Response {
            status,
            fields,
            content,
        }))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The header fields that a replay repeats, in their order; none can be read of what is sealed.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.fields.iter().map(|(name, value)| (name, value))
    }

    /// The body; `None` if it was too large to keep, or is sealed.
    pub fn body(&self) -> Option<&Bytes> {
        match &self.0.content {
            Content::Body(body) => Some(body),
            Content::NoBody | Content::Sealed(_) => None,
        }
    }

    /// The id of the key with which fields and body are sealed; `None` where they can be read.
    pub fn encrypted_with(&self) -> Option<&str> {
        self.encrypted().map(EncryptedResponse::key_id)
    }

    pub(super) fn encrypted(&self) -> Option<&EncryptedResponse> {
        match &self.0.content {
            Content::Sealed(sealed) => Some(sealed),
            Content::Body(_) | Content::NoBody => None,
        }
    }

    /// About how many bytes it takes to keep.
    pub fn size(&self) -> usize {
        let fields: usize = self
            .headers()
            .map(|(name, value)| name.as_str().len() + value.len() + 72)
            .sum();
        let content = match &self.0.content {
            Content::Body(body) => body.len(),
            Content::NoBody => 0,
            Content::Sealed(sealed) => sealed.size(),
        };
        fields + content
    }
}

/// As many as a map of fields takes beside those that a response gets on its way out.
pub(super) const MAX_FIELDS: usize = 24_576 - 64;

/// Whether a `Connection` field says that this one is for one hop only (RFC 9110 §7.6.1).
fn is_nominated(name: &HeaderName, headers: &HeaderMap) -> bool {
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

/// Not kept: hop-by-hop fields (RFC 9110 §7.6.1), what tells of one moment, and what tells of one
/// request.
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
    fn a20_fields_of_one_transfer_are_not_kept() {
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
        let kept = StoredResponse::new(&head, None);
        let mut names: Vec<_> = kept.headers().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "link", "link", "location", "x-own"]);
    }

    #[test]
    fn a26_nothing_of_an_answer_is_shown() {
        let response = http::Response::builder()
            .header("location", "/v1/payments/1")
            .body(());
        let (head, ()) = response.expect("a response").into_parts();
        let kept = StoredResponse::new(&head, Some(Bytes::from_static(b"secret")));
        assert_eq!(
            format!("{kept:?}"),
            "StoredResponse { status: 200, fields: 1, body: Some(6), sealed_with: None }"
        );
    }
}
