//! The canonical form of a path, by which requests are compared.

use std::borrow::Cow;

/// Decodes a path, so that all paths with the same decoded segments become equal.
///
/// An encoded slash within a segment stays `%2F`, and a percent sign becomes `%25`, so that
/// different paths stay different.
pub(crate) fn normalize_path(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return Cow::Borrowed(path.as_bytes());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len() + 8), path.as_bytes());
    while let [first, after @ ..] = rest {
        let decoded = decode_escape(rest);
        match decoded.unwrap_or(*first) {
            b'/' if decoded.is_some() => bytes.extend(b"%2F"),
            b'%' => bytes.extend(b"%25"),
            byte => bytes.push(byte),
        }
        rest = if decoded.is_some() { &rest[3..] } else { after };
    }
    Cow::Owned(bytes)
}

/// Decodes a percent-encoded byte such as `%2F` at the start (RFC 3986 §2.1); `None` if the bytes
/// do not start with one.
fn decode_escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_the_same_decoded_segments_are_equal() {
        for (one, other) in [
            ("/sh%C3%A9lf", "/sh%c3%a9l%66"),
            ("/a%2Fb", "/a%2fb"),
            ("/%25", "/%"),
            ("/a%7Eb", "/a~b"),
        ] {
            assert_eq!(normalize_path(one), normalize_path(other), "{one} {other}");
        }
        for (one, other) in [("/a%2Fb", "/a/b"), ("/%252F", "/%2F"), ("/a", "/A")] {
            assert_ne!(normalize_path(one), normalize_path(other), "{one} {other}");
        }
    }
}
