//! The request's id.

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use ulid::{ULID_LEN, Ulid};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// The id under which a request stands in logs and problem documents: the client's `X-Request-Id`,
/// where it is up to 128 characters of `[A-Za-z0-9._-]`, else a new ULID.
#[derive(Debug, Clone)]
pub(crate) enum RequestId {
    Made([u8; ULID_LEN]),
    Given(HeaderValue),
}

impl RequestId {
    pub(crate) fn of(request: &Request) -> Self {
        match request.headers().get(X_REQUEST_ID) {
            Some(value) if is_plain(value.as_bytes()) => Self::Given(value.clone()),
            _ => Self::new(),
        }
    }

    pub(crate) fn new() -> Self {
        let mut text = [0; ULID_LEN];
        Ulid::generate().array_to_str(&mut text);
        Self::Made(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        let bytes = match self {
            Self::Made(text) => text.as_slice(),
            Self::Given(value) => value.as_bytes(),
        };
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) fn to_value(&self) -> HeaderValue {
        match self {
            Self::Made(text) => HeaderValue::from_bytes(text).expect("a ULID is plain ASCII"),
            Self::Given(value) => value.clone(),
        }
    }
}

fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_plain_id_of_the_client_is_taken() {
        let id = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).expect("a field");
            let request = Request::builder().header(X_REQUEST_ID, value).body(Body::empty());
            RequestId::of(&request.expect("a request")).as_str().to_owned()
        };
        assert_eq!(id(b"abc-1.2_3"), "abc-1.2_3");
        for wrong in [&b""[..], b"a b", b"\"<script>", &[b'a'; 129], "é".as_bytes()] {
            assert_eq!(id(wrong).len(), ULID_LEN);
        }
    }
}
