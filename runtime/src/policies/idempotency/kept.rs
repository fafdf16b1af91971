use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode};

/// A response as it is kept for replays: without the fields that belong to one transfer only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Kept {
    /// A response; `None` for a body that is too large to keep.
    pub fn new(head: &Parts, body: Option<Bytes>) -> Self {
        let headers = head.headers.iter().filter(|(name, _)| is_kept(name));
        Self {
            status: head.status,
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            body,
        }
    }

    /// What a store gives back, as it was; `None` if it has a field that is never kept.
    #[cfg(feature = "redis")]
    pub(crate) fn restored(status: StatusCode, headers: HeaderMap, body: Option<Bytes>) -> Option<Self> {
        headers.keys().all(is_kept).then_some(Self { status, headers, body })
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields that a replay repeats.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; `None` if it was too large to keep.
    pub const fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// About how many bytes it takes to keep.
    pub fn size(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        fields + self.body.as_ref().map_or(0, Bytes::len)
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
            .header("connection", "close");
        let (head, ()) = response.body(()).expect("a response").into_parts();
        let kept = Kept::new(&head, None);
        let mut names: Vec<_> = kept.headers().iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "link", "link", "location", "x-own"]);
    }
}
