//! The canonical form of a JSON text: texts with the same content have the same bytes.
//!
//! Members are sorted, white space is dropped, and escapes are decoded. Numbers stay as written, so
//! that 9007199254740993 and 9007199254740992 differ. A text that is not JSON, or that has
//! duplicate members, has no canonical form; it is compared byte by byte.
//!
//! | value | canonical form |
//! |---|---|
//! | string | `s`, its length, its decoded bytes |
//! | number | `n`, its length, its characters as written |
//! | `true`, `false`, `null` | `t`, `f`, `z` |
//! | array | the forms of its items between brackets |
//! | object | its members between braces: for each the form of its name, then of its value |
//!
//! A length below 255 is one byte. A longer length is written as the byte 255 and eight bytes,
//! big-endian.
//!
//! Stored fingerprints are hashes of the canonical form. If the form changes, increase the version
//! of the fingerprints.
//!
//! One pass reads the text (RFC 8259) and writes the form. The module does not use `serde_json`,
//! because features of `serde_json` change which texts it accepts, and any crate of a program may
//! enable these features.

use core::ops::Range;

use smallvec::SmallVec;

/// Returns the canonical form, or `None` if the text has no canonical form.
#[cfg(any(test, fuzzing))]
pub(crate) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::new();
    write_canonical(text, &mut form).map(|()| form)
}

/// Appends the canonical form to `into`. If the text has no canonical form, returns `None`, and
/// `into` contains an incomplete form.
pub(super) fn write_canonical(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader {
        text: core::str::from_utf8(text).ok()?.as_bytes(),
        at: 0,
    };
    // `sort_members` appends sorted copies of the members before it replaces the originals. So the
    // form can need twice the length of the text.
    into.reserve(2 * text.len());
    let mut form = Canonical {
        bytes: into,
        members: SmallVec::new(),
        containers: SmallVec::new(),
    };
    // A loop instead of recursion, so that a deeply nested text cannot exhaust the stack.
    while form.begin_value(&mut reader)? || form.end_value(&mut reader)? {}
    // Only white space may follow the value.
    reader.peek().is_none().then_some(())
}

/// The deepest nesting of a text with a canonical form. This is the limit of `serde_json`, so a
/// handler cannot parse a deeper text either.
const MAX_DEPTH: usize = 128;

/// The canonical form of the text that was read so far.
struct Canonical<'a> {
    bytes: &'a mut Vec<u8>,
    /// The members of all open objects. The members of the innermost object are last.
    members: SmallVec<[Member; 16]>,
    /// The arrays and objects that have not ended. The innermost one is last.
    containers: SmallVec<[Container; 8]>,
}

/// The position of a member in the canonical form.
struct Member {
    /// The decoded bytes of the name.
    name: Range<usize>,
    /// The form of name and value. Its end is known when the next member begins.
    form: Range<usize>,
}

/// An array or object that has not ended.
struct Container {
    /// The bracket or brace at the end of the container.
    end: u8,
    /// The index of the first member of the container.
    first_member: usize,
    /// `true` while the members are in ascending order without duplicates.
    sorted: bool,
}

impl Canonical<'_> {
    /// Reads a scalar value, or the start of an array or object. Returns `true` if a value inside
    /// the array or object follows.
    fn begin_value(&mut self, reader: &mut Reader<'_>) -> Option<bool> {
        match reader.peek()? {
            b'{' => return self.open_container(reader, b'}'),
            b'[' => return self.open_container(reader, b']'),
            b'"' => {
                self.string(reader)?;
            }
            b't' => self.bytes.push(reader.literal(b"true").map(|()| b't')?),
            b'f' => self.bytes.push(reader.literal(b"false").map(|()| b'f')?),
            b'n' => self.bytes.push(reader.literal(b"null").map(|()| b'z')?),
            _ => put_with_length(self.bytes, b'n', reader.number()?),
        }
        Some(false)
    }

    fn open_container(&mut self, reader: &mut Reader<'_>, end: u8) -> Option<bool> {
        if self.containers.len() == MAX_DEPTH {
            return None;
        }
        self.bytes.push(reader.byte()?);
        self.containers.push(Container {
            end,
            first_member: self.members.len(),
            sorted: true,
        });
        if reader.peek()? == end {
            return Some(false);
        }
        self.before_value(reader, end)
    }

    /// Reads the text after a value: a comma, or the ends of arrays and objects. Returns `true` if
    /// another value follows.
    fn end_value(&mut self, reader: &mut Reader<'_>) -> Option<bool> {
        while let Some(&Container { end, .. }) = self.containers.last() {
            reader.peek()?;
            match reader.byte()? {
                b',' => return self.before_value(reader, end),
                byte if byte == end => self.close_container()?,
                _ => return None,
            }
        }
        Some(false)
    }

    /// Reads the text before a value. In an object, this text is the name of the member and the
    /// colon. In an array, it is empty.
    fn before_value(&mut self, reader: &mut Reader<'_>, end: u8) -> Option<bool> {
        if end == b'}' {
            reader.peek()?;
            self.member_name(reader)?;
        }
        Some(true)
    }

    fn member_name(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let start = self.bytes.len();
        let name = self.string(reader)?;
        reader.peek()?;
        reader.expect(b':')?;
        let object = self.containers.last_mut()?;
        if let Some(previous) = self.members[object.first_member..].last_mut() {
            previous.form.end = start;
            object.sorted &= self.bytes[previous.name.clone()] < self.bytes[name.clone()];
        }
        self.members.push(Member {
            name,
            form: start..start,
        });
        Some(())
    }

    /// Reads a string and appends its form. Returns the position of its decoded bytes.
    fn string(&mut self, reader: &mut Reader<'_>) -> Option<Range<usize>> {
        let length = match reader.plain_string() {
            Some(plain) => {
                put_with_length(self.bytes, b's', plain);
                plain.len()
            }
            None => {
                let string = reader.escaped_string()?;
                put_with_length(self.bytes, b's', &string);
                string.len()
            }
        };
        Some(self.bytes.len() - length..self.bytes.len())
    }

    fn close_container(&mut self) -> Option<()> {
        let container = self.containers.pop()?;
        if !container.sorted {
            self.sort_members(container.first_member)?;
        }
        self.members.truncate(container.first_member);
        self.bytes.push(container.end);
        Some(())
    }

    /// Sorts the members from index `first` on. Returns `None` if two members have the same name.
    fn sort_members(&mut self, first: usize) -> Option<()> {
        let Self { bytes, members, .. } = self;
        let (members, end) = (&mut members[first..], bytes.len());
        let start = members.first()?.form.start;
        members.last_mut()?.form.end = end;
        let name = |member: &Member| &bytes[member.name.clone()];
        members.sort_unstable_by(|left, right| name(left).cmp(name(right)));
        if members
            .windows(2)
            .any(|pair| name(&pair[0]) == name(&pair[1]))
        {
            return None;
        }
        // The members are appended to the form in sorted order. These copies then replace the
        // unsorted members.
        for member in &*members {
            bytes.extend_from_within(member.form.clone());
        }
        bytes.copy_within(end.., start);
        bytes.truncate(end);
        Some(())
    }
}

/// A reader of the tokens of a JSON text in UTF-8.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Skips white space and returns the next byte without taking it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes the next byte if it equals `byte`.
    fn take_if(&mut self, byte: u8) -> bool {
        let next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(next);
        next
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take_if(byte).then_some(())
    }

    fn literal(&mut self, literal: &'static [u8]) -> Option<()> {
        let follows = self.text[self.at..].starts_with(literal);
        self.at += literal.len();
        follows.then_some(())
    }

    fn number(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.take_if(b'-');
        if !self.take_if(b'0') {
            self.digits()?;
        }
        if self.take_if(b'.') {
            self.digits()?;
        }
        if self.take_if(b'e') || self.take_if(b'E') {
            let _sign = self.take_if(b'+') || self.take_if(b'-');
            self.digits()?;
        }
        Some(&self.text[start..self.at])
    }

    /// Takes one or more digits.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Takes a string without escapes. For any other string returns `None` and takes nothing.
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        let inside = self.text[self.at..].strip_prefix(b"\"")?;
        let (plain, rest) = inside.split_at(unescaped_length(inside));
        if rest.first() != Some(&b'"') {
            return None;
        }
        self.at += plain.len() + 2;
        Some(plain)
    }

    /// Takes a string and decodes its escapes.
    fn escaped_string(&mut self) -> Option<Vec<u8>> {
        self.expect(b'"')?;
        let mut decoded = self.plain().to_vec();
        while !self.take_if(b'"') {
            self.expect(b'\\')?;
            decoded.extend_from_slice(self.escape()?.encode_utf8(&mut [0; 4]).as_bytes());
            decoded.extend_from_slice(self.plain());
        }
        Some(decoded)
    }

    /// Takes the bytes of a string up to its end, an escape, or a control character.
    fn plain(&mut self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let plain = &rest[..unescaped_length(rest)];
        self.at += plain.len();
        plain
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.byte()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.code_point(),
            _ => return None,
        })
    }

    /// Takes the code unit of a `\u` escape, or both code units of a surrogate pair. Returns `None`
    /// for half of a pair.
    fn code_point(&mut self) -> Option<char> {
        let first = self.code_unit()?;
        if let Some(single) = char::from_u32(u32::from(first)) {
            return Some(single);
        }
        self.literal(b"\\u")?;
        let second = self.code_unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }

    fn code_unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let unit = digits
            .iter()
            .try_fold(0, |unit, byte| Some(unit << 4 | digit(byte)?))?;
        u16::try_from(unit).ok()
    }
}

/// Returns the number of bytes before the first quote, backslash or control character.
///
/// Compares eight bytes at a time, in one 64-bit number.
fn unescaped_length(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let ends = string_end_bits(u64::from_le_bytes(*word));
        if ends != 0 {
            return 8 * index + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    8 * words.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Finds the first quote, backslash or control character among eight bytes. The lowest byte is the
/// first byte.
///
/// The lowest set bit of the result is the high bit of the first such byte. Higher bits can be
/// wrong: the borrow of a subtraction spreads upwards, never downwards.
const fn string_end_bits(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (quote, backslash) = (bytes ^ (ONES * b'"' as u64), bytes ^ (ONES * b'\\' as u64));
    let control = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & ONES << 7
}

/// Appends a tag, the length of `bytes`, and `bytes`.
#[inline]
fn put_with_length(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) if length < u8::MAX => out.extend_from_slice(&[tag, length]),
        _ => {
            out.extend_from_slice(&[tag, u8::MAX]);
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn is_same(left: &str, right: &str) -> bool {
        let form = canonical(left.as_bytes());
        form.is_some() && form == canonical(right.as_bytes())
    }

    #[test]
    fn a06_the_order_of_members_white_space_and_escapes_do_not_matter() {
        assert!(is_same(
            r#"{"a":1,"b":[true,null]}"#,
            " {\"b\" : [ true ,\n null ], \"a\":1 } "
        ));
        assert!(is_same(r#""\u00e9\/""#, "\"é/\""));
        assert!(is_same(r#"{"\u0061":1}"#, r#"{"a":1}"#));
    }

    #[test]
    fn a06_numbers_are_compared_as_written() {
        assert!(!is_same("9007199254740993", "9007199254740992"));
        assert!(!is_same("1", "1.0"));
        assert!(!is_same("\"1\"", "1"));
        assert!(!is_same("[1,2]", "[12]"));
        assert!(!is_same("[[1],2]", "[[1,2]]"));
    }

    #[test]
    fn a06_invalid_or_ambiguous_json_has_no_canonical_form() {
        for text in [
            "",
            "{",
            "[1,]",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#""\ud800""#,
            "nul",
            "[1] 2",
        ] {
            assert_eq!(canonical(text.as_bytes()), None, "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(canonical(deep.as_bytes()), None);
    }

    /// Stored fingerprints are hashes of these forms: if a form changes, increase the version of
    /// the fingerprints.
    #[test]
    fn a07_canonical_forms_do_not_change_between_releases() {
        let forms = [
            ("null", "z"),
            (" true", "t"),
            ("false ", "f"),
            ("-0.50E+7", "n\u{8}-0.50E+7"),
            (r#""a\u00e9\ud83d\ude00\n""#, "s\u{8}a\u{e9}\u{1f600}\n"),
            (r#""""#, "s\0"),
            (" [ ] ", "[]"),
            ("{}", "{}"),
            ("[1,[true,\t\"x\"],{}]", "[n\u{1}1[ts\u{1}x]{}]"),
            (
                r#"{"b":{"d":1,"c":[2]},"":0,"a":"x"}"#,
                "{s\0n\u{1}0s\u{1}as\u{1}xs\u{1}b{s\u{1}c[n\u{1}2]s\u{1}dn\u{1}1}}",
            ),
            (
                r#"{"twelve bytes":false,"\u0061":-1}"#,
                "{s\u{1}an\u{2}-1s\u{c}twelve bytesf}",
            ),
        ];
        for (text, form) in forms {
            assert_eq!(
                canonical(text.as_bytes()).as_deref(),
                Some(form.as_bytes()),
                "{text}"
            );
        }
        for (length, before) in [
            (254, &[b's', 254][..]),
            (255, &[b's', 255, 0, 0, 0, 0, 0, 0, 0, 255]),
        ] {
            let text = "x".repeat(length);
            let form = canonical(format!("\"{text}\"").as_bytes());
            assert_eq!(form, Some([before, text.as_bytes()].concat()));
        }
    }

    #[test]
    fn a06_a_text_has_a_canonical_form_up_to_depth_128() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            assert!(canonical(nested(128).as_bytes()).is_some());
            assert_eq!(canonical(nested(129).as_bytes()), None);
        }
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
        fn unescaped_length_agrees_with_a_search_byte_by_byte(text in prop::collection::vec(prop_oneof![Just(b'a'), Just(0x80), Just(0x7f), any::<u8>()], 0..40)) {
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let length = text.iter().position(ends).unwrap_or(text.len());
            prop_assert_eq!(unescaped_length(&text), length);
        }

        #[test]
        fn a06_compact_and_pretty_json_have_the_same_canonical_form(value in json()) {
            let compact = serde_json::to_string(&value).expect("JSON");
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert!(is_same(&compact, &pretty));
        }

        #[test]
        fn a06_different_values_have_different_canonical_forms(left in json(), right in json()) {
            let (l, r) = (left.to_string(), right.to_string());
            prop_assert_eq!(is_same(&l, &r), left == right);
        }

        #[test]
        fn arbitrary_bytes_cause_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = canonical(&bytes);
        }
    }
}
