//! Paths of requests in responses: what stands before them, and what cannot.

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::original_uri;

/// What an outer router has taken from the front of the request's path, as it can stand in a
/// response; nothing outside of one.
pub(crate) fn outer_path(head: &Parts) -> Cow<'_, str> {
    outer(original_uri(head).path(), head.uri.path())
}

/// What stands before `inner` in `original`. A router that is nested at `/api` serves `/api` as `/`.
pub(crate) fn outer<'a>(original: &'a str, inner: &str) -> Cow<'a, str> {
    reference(match original.strip_suffix(inner) {
        Some(outer) => outer,
        None if inner == "/" => original,
        None => "",
    })
}

/// A part of a request's path as it can stand in a URI reference: what servers bear and a reference
/// does not is percent-encoded.
pub(crate) fn reference(path: &str) -> Cow<'_, str> {
    utf8_percent_encode(path, OUTSIDE_OF_REFERENCES).into()
}

const OUTSIDE_OF_REFERENCES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_an_outer_router_has_taken() {
        for (original, inner, prefix) in [
            ("/v1/things", "/v1/things", ""),
            ("/api/v1/things", "/v1/things", "/api"),
            ("/api", "/", "/api"),
            ("/api/", "/", "/api"),
            ("/", "/", ""),
            (
                "/tenants/\u{fc}\"/v1/things",
                "/v1/things",
                "/tenants/%C3%BC%22",
            ),
            ("/rewritten", "/v1/things", ""),
        ] {
            assert_eq!(outer(original, inner), prefix, "{original} {inner}");
        }
    }
}
