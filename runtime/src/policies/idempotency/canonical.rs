//! The form of a JSON text in which equal requests are equal bytes.
//!
//! Members are sorted, white space is dropped, escapes are decoded; numbers stay as written, so
//! that 9007199254740993 and 9007199254740992 differ. A text with duplicate members, or that is not
//! JSON, has no such form and is compared as it is.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// The canonical form; `None` where there is none.
pub(crate) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    // The scanner below trusts its input: whether it is JSON is decided by a JSON parser.
    serde_json::from_slice::<IgnoredAny>(text).ok()?;
    let mut scanner = Scanner { rest: text };
    let mut out = Vec::with_capacity(text.len());
    scanner.value(&mut out, MAX_DEPTH)?;
    Some(out)
}

/// Deeper texts are compared as they are, as `serde_json` would not read them either.
const MAX_DEPTH: usize = 128;

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        match self.next_byte()? {
            b'{' => self.object(out, depth.checked_sub(1)?),
            b'[' => self.array(out, depth.checked_sub(1)?),
            b'"' => {
                let text = self.string()?;
                out.push(b's');
                sized(out, text.as_bytes());
                Some(())
            }
            _ => {
                sized(out, self.lexeme());
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.skip(1);
        let mut members = Vec::new();
        while self.next_byte()? != b'}' {
            let name = self.string()?;
            self.next_byte()?;
            self.skip(1);
            let mut value = Vec::new();
            self.value(&mut value, depth)?;
            members.push((name, value));
            self.comma()?;
        }
        self.skip(1);
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        out.push(b'{');
        for (name, value) in members {
            sized(out, name.as_bytes());
            out.extend_from_slice(&value);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.skip(1);
        out.push(b'[');
        while self.next_byte()? != b']' {
            self.value(out, depth)?;
            self.comma()?;
        }
        self.skip(1);
        out.push(b']');
        Some(())
    }

    /// A string, decoded. `None` for one that is no text, such as a lone surrogate.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let mut end = 1;
        while *self.rest.get(end)? != b'"' {
            end += if self.rest[end] == b'\\' { 2 } else { 1 };
        }
        let quoted = self.rest.get(..=end)?;
        self.skip(end + 1);
        let plain = quoted.get(1..end)?;
        if plain.contains(&b'\\') {
            serde_json::from_slice(quoted).ok().map(Cow::Owned)
        } else {
            core::str::from_utf8(plain).ok().map(Cow::Borrowed)
        }
    }

    /// A number or a literal.
    fn lexeme(&mut self) -> &'a [u8] {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
        let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (lexeme, rest) = self.rest.split_at(length);
        self.rest = rest;
        lexeme
    }

    fn comma(&mut self) -> Option<()> {
        if self.next_byte()? == b',' {
            self.skip(1);
        }
        Some(())
    }

    /// The next byte that is no white space, not yet taken.
    fn next_byte(&mut self) -> Option<u8> {
        let space = self.rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.skip(space);
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count.min(self.rest.len())..];
    }
}

/// Bytes with their length in front, so that no two lists of them read alike.
fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let form = canonical(left.as_bytes());
        form.is_some() && form == canonical(right.as_bytes())
    }

    #[test]
    fn a06_order_space_and_escapes_do_not_matter() {
        assert!(same(r#"{"a":1,"b":[true,null]}"#, " {\"b\" : [ true ,\n null ], \"a\":1 } "));
        assert!(same(r#""\u00e9\/""#, "\"é/\""));
        assert!(same(r#"{"\u0061":1}"#, r#"{"a":1}"#));
    }

    #[test]
    fn a06_number_lexemes_are_kept() {
        assert!(!same("9007199254740993", "9007199254740992"));
        assert!(!same("1", "1.0"));
        assert!(!same("\"1\"", "1"));
        assert!(!same("[1,2]", "[12]"));
        assert!(!same("[[1],2]", "[[1,2]]"));
    }

    #[test]
    fn a06_texts_without_a_canonical_form() {
        for text in
            ["", "{", "[1,]", r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#""\ud800""#, "nul", "[1] 2"]
        {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(canonical(deep.as_bytes()), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é]{0,2}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a06_layout_never_matters(value in json()) {
            let compact = serde_json::to_string(&value).expect("JSON");
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert!(same(&compact, &pretty));
        }

        #[test]
        fn a06_different_values_differ(left in json(), right in json()) {
            let (l, r) = (left.to_string(), right.to_string());
            prop_assert_eq!(same(&l, &r), left == right);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = canonical(&bytes);
        }
    }
}
