//! The rules for the bodies of the requests to one endpoint.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue};

use super::body_memory::BodyMemory;
use super::pace::BodyPace;
use crate::problem::{Problem, registry};

/// The rules for the bodies of the requests to one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct BodyRules {
    /// The size of the largest body in bytes.
    pub(crate) limit: u64,
    pub(crate) pace: BodyPace,
    pub(crate) argument: BodyArgument,
    /// The memory that the bodies of all requests share.
    pub(crate) memory: Arc<BodyMemory>,
}

/// The use of the body by the handler's last argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyArgument {
    /// No argument reads the body.
    Unread,
    /// The argument is made from the whole body.
    Buffered,
    /// The handler reads the decoded body part by part, such as a form with axum's `Multipart`.
    Streamed,
    /// The argument is the request or its body as it arrived. The handler reads the head and the
    /// bytes itself.
    Raw,
}

impl BodyRules {
    /// Refuses a body before it is read: a body over the limit, or a body that the argument cannot
    /// decode.
    ///
    /// # Errors
    ///
    /// 413 `BODY_TOO_LARGE`, or 415 `UNSUPPORTED_MEDIA_TYPE` with `Accept-Encoding: identity` (RFC
    /// 9110 §12.5.3).
    pub(crate) fn check(&self, headers: &HeaderMap, body: &Body) -> Result<(), Problem> {
        if body.size_hint().lower() > self.limit {
            return Err(too_large(self.limit));
        }
        let is_decoded = matches!(
            self.argument,
            BodyArgument::Buffered | BodyArgument::Streamed
        );
        if is_decoded && is_coded(headers) {
            return Err(unsupported_coding());
        }
        Ok(())
    }
}

/// Returns the problem for a body over the limit.
pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(&registry::BODY_TOO_LARGE).with_detail(format!(
        "the body is larger than the limit of {limit} bytes"
    ))
}

/// Returns `true` if a `Content-Encoding` field lists a coding other than `identity`. All field
/// lines together are one list, whose empty elements are ignored (RFC 9110 §5.6.1).
fn is_coded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cold]
fn unsupported_coding() -> Problem {
    Problem::new(&registry::UNSUPPORTED_MEDIA_TYPE)
        .with_detail(
            "this endpoint decodes no content coding: send the body without `Content-Encoding`",
        )
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_except_identity_is_found_in_all_field_lines() {
        let is_coded = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            is_coded(&headers)
        };
        for lines in [
            &[][..],
            &[""],
            &["identity"],
            &["Identity", " IDENTITY ,"],
            &[", ,", ""],
        ] {
            assert!(!is_coded(lines), "{lines:?}");
        }
        for lines in [
            &["gzip"][..],
            &["identity, gzip"],
            &["gzip, identity"],
            &["identity", "br"],
            &["", "x-unknown"],
            &["identity;q=1"],
            &["identity gzip"],
        ] {
            assert!(is_coded(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_coding_that_is_not_ascii_is_refused() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(b"\xff").expect("an opaque value");
        headers.insert(CONTENT_ENCODING, value);
        assert!(is_coded(&headers));
    }
}
