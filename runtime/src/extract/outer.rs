//! The prefix of an outer router, and the percent-encoding of paths in responses.

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::original_uri;

/// Returns the prefix that an outer router has removed from the request's path, percent-encoded for
/// a response. Without an outer router it is empty.
pub(crate) fn outer_path(head: &Parts) -> Cow<'_, str> {
    outer(original_uri(head).path(), head.uri.path())
}

/// Returns the part of `original` before `inner`. A router that is nested at `/api` serves `/api`
/// as `/`.
pub(crate) fn outer<'a>(original: &'a str, inner: &str) -> Cow<'a, str> {
    reference(match original.strip_suffix(inner) {
        Some(outer) => outer,
        None if inner == "/" => original,
        None => "",
    })
}

/// Percent-encodes the characters of a path that servers accept but that cannot be in a URI
/// reference.
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
    fn the_prefix_is_the_part_that_an_outer_router_has_removed() {
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
