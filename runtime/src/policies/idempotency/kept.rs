use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};

use super::seal::Sealed;

/// A response as it is kept for replays: without the fields that belong to one transfer only.
///
/// On its way to a store it may be [sealed](super::SealKeys): then only its status can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Body(Bytes),
    /// The body was too large.
    NoBody,
    /// The fields, too, are in here.
    Sealed(Sealed),
}

impl Kept {
    /// A response; `None` for a body that is too large to keep.
    pub fn new(head: &Parts, body: Option<Bytes>) -> Self {
        let headers = head.headers.iter().filter(|(name, _)| is_kept(name));
        Self {
            status: head.status,
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            content: body.map_or(Content::NoBody, Content::Body),
        }
    }

    /// An answer that was kept before; `None` if it has a field that is never kept.
    pub(crate) fn restored(status: StatusCode, headers: HeaderMap, body: Option<Bytes>) -> Option<Self> {
        let content = body.map_or(Content::NoBody, Content::Body);
        headers.keys().all(is_kept).then_some(Self { status, headers, content })
    }

    pub(super) fn from_sealed(status: StatusCode, sealed: Sealed) -> Self {
        Self { status, headers: HeaderMap::new(), content: Content::Sealed(sealed) }
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields that a replay repeats; none can be read of what is sealed.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; `None` if it was too large to keep, or is sealed.
    pub const fn body(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Body(body) => Some(body),
            Content::NoBody | Content::Sealed(_) => None,
        }
    }

    /// The id of the key with which fields and body are sealed; `None` where they can be read.
    pub fn sealed_with(&self) -> Option<&str> {
        self.sealed().map(Sealed::key_id)
    }

    pub(super) const fn sealed(&self) -> Option<&Sealed> {
        match &self.content {
            Content::Sealed(sealed) => Some(sealed),
            Content::Body(_) | Content::NoBody => None,
        }
    }

    /// About how many bytes it takes to keep.
    pub fn size(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        let content = match &self.content {
            Content::Body(body) => body.len(),
            Content::NoBody => 0,
            Content::Sealed(sealed) => sealed.size(),
        };
        fields + content
    }
}

/// Not kept: hop-by-hop fields (RFC 9110 §7.6.1), what tells of one moment, and what tells of one
/// request.
fn is_kept(name: &HeaderName) -> bool {
    const DROPPED: [HeaderName; 13] = [
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
        HeaderName::from_static("x-request-id"),
    ];
    const PREFIXES: [&str; 4] = ["ratelimit", "x-ratelimit", "traceparent", "tracestate"];
    !DROPPED.contains(name) && !PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a20_fields_of_one_transfer_are_not_kept() {
        let response = http::Response::builder()
            .header("location", "/v1/payments/1")
            .header("content-type", "application/json")
            .header("set-cookie", "a=b")
            .header("date", "now")
            .header("ratelimit", "x")
            .header("ratelimit-policy", "x")
            .header("x-ratelimit-remaining", "1")
            .header("retry-after", "1")
            .header("x-request-id", "r")
            .header("traceparent", "t")
            .header("connection", "close");
        let (head, ()) = response.body(()).expect("a response").into_parts();
        let kept = Kept::new(&head, None);
        let mut names: Vec<_> = kept.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "location"]);
    }
}
