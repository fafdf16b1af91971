use core::fmt::Write;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::problem::Location;

/// A JSON pointer as a URI fragment (RFC 6901 §6), built one name at a time.
pub(super) struct Pointer(String);

/// The characters that must be percent-encoded in a fragment (RFC 3986 §3.5).
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Pointer {
    /// Returns the pointer to the whole document.
    pub(super) fn new() -> Self {
        Self(String::from("#"))
    }

    /// Appends a member's name or a list index.
    pub(super) fn push(&mut self, name: &str) {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        // Writing to a `String` cannot fail.
        let _ = write!(self.0, "/{}", utf8_percent_encode(&escaped, ENCODED));
    }
}

impl From<Pointer> for Location {
    fn from(pointer: Pointer) -> Self {
        Self::Pointer(pointer.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f04_names_are_escaped_as_rfc_6901_requires() {
        for (name, text) in [
            ("foo", "#/foo"),
            ("", "#/"),
            ("a/b", "#/a~1b"),
            ("c%d", "#/c%25d"),
            ("e^f", "#/e%5Ef"),
            ("g|h", "#/g%7Ch"),
            ("i\\j", "#/i%5Cj"),
            ("k\"l", "#/k%22l"),
            (" ", "#/%20"),
            ("m~n", "#/m~0n"),
            ("~1", "#/~01"),
            ("é", "#/%C3%A9"),
        ] {
            let mut pointer = Pointer::new();
            pointer.push(name);
            assert_eq!(pointer.0, text);
        }
    }
}
