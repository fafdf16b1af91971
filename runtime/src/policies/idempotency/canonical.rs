//! The form of a JSON text in which equal requests are equal bytes.
//!
//! Members are sorted, white space is dropped, escapes are decoded; numbers stay as written, so
//! that 9007199254740993 and 9007199254740992 differ. A text with duplicate members, or that is not
//! JSON, has no such form and is compared as it is.
//!
//! The form of a string is `s`, its length and its decoded bytes; of a number `n`, its length and what
//! is written; `true`, `false` and `null` are `t`, `f` and `z`; of an array its values' forms between
//! brackets; of an object its members between braces, each its name's form and its value's. A length is
//! one byte, or 255 and eight bytes more. Fingerprints that are kept hash the form: it stays as it is, or
//! their version changes.
//!
//! One pass reads the text (RFC 8259) and writes the form. What JSON is, is decided here and not by
//! `serde_json`, as its features, which any crate of a program may switch on, change what it reads.

use core::ops::Range;

use smallvec::SmallVec;

/// The canonical form; `None` where there is none.
#[cfg(any(test, fuzzing))]
pub(crate) fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let mut form = Vec::new();
    write(text, &mut form).map(|()| form)
}

/// Writes the canonical form behind what is there; `None` where there is none.
pub(super) fn write(text: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader {
        text: core::str::from_utf8(text).ok()?.as_bytes(),
        at: 0,
    };
    // Sorting copies members behind the form, so that there is room for two.
    into.reserve(2 * text.len());
    let mut form = Canonical {
        bytes: into,
        members: SmallVec::new(),
        open: SmallVec::new(),
    };
    while form.begin(&mut reader)? || form.finish_open(&mut reader)? {}
    // Only white space may follow.
    reader.peek().is_none().then_some(())
}

/// Deeper texts are compared as they are, as `serde_json` would not read them either.
const MAX_DEPTH: usize = 128;

/// The form of what was read so far.
struct Canonical<'a> {
    bytes: &'a mut Vec<u8>,
    /// Those of all open objects, the innermost object's last.
    members: SmallVec<[Member; 16]>,
    /// The arrays and objects that have not ended, the innermost last.
    open: SmallVec<[Open; 8]>,
}

/// Where a member stands in the form.
struct Member {
    name: Range<usize>,
    /// Its end is known when the next member begins.
    whole: Range<usize>,
}

/// An array or object that has not ended.
struct Open {
    /// What ends it.
    end: u8,
    /// Its first member.
    first: usize,
    /// Whether each member so far comes after the one before it.
    sorted: bool,
}

impl Canonical<'_> {
    /// Takes a value, or where it begins; whether a value inside of it follows.
    fn begin(&mut self, reader: &mut Reader<'_>) -> Option<bool> {
        match reader.peek()? {
            b'{' => return self.open(reader, b'}'),
            b'[' => return self.open(reader, b']'),
            b'"' => {
                self.string(reader)?;
            }
            b't' => self.bytes.push(reader.literal(b"true").map(|()| b't')?),
            b'f' => self.bytes.push(reader.literal(b"false").map(|()| b'f')?),
            b'n' => self.bytes.push(reader.literal(b"null").map(|()| b'z')?),
            _ => check_size(self.bytes, b'n', reader.number()?),
        }
        Some(false)
    }

    fn open(&mut self, reader: &mut Reader<'_>, end: u8) -> Option<bool> {
        if self.open.len() == MAX_DEPTH {
            return None;
        }
        self.bytes.push(reader.byte()?);
        self.open.push(Open {
            end,
            first: self.members.len(),
            sorted: true,
        });
        if reader.peek()? == end {
            return Some(false);
        }
        self.next(reader, end)
    }

    /// After a value: ends what ends there; whether another value follows.
    fn finish_open(&mut self, reader: &mut Reader<'_>) -> Option<bool> {
        while let Some(&Open { end, .. }) = self.open.last() {
            reader.peek()?;
            match reader.byte()? {
                b',' => return self.next(reader, end),
                byte if byte == end => self.close()?,
                _ => return None,
            }
        }
        Some(false)
    }

    /// Takes what stands before a value: in an object, a name.
    fn next(&mut self, reader: &mut Reader<'_>, end: u8) -> Option<bool> {
        if end == b'}' {
            reader.peek()?;
            self.name(reader)?;
        }
        Some(true)
    }

    fn name(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let start = self.bytes.len();
        let name = self.string(reader)?;
        reader.peek()?;
        reader.expect(b':')?;
        let open = self.open.last_mut()?;
        if let Some(before) = self.members[open.first..].last_mut() {
            before.whole.end = start;
            open.sorted &= self.bytes[before.name.clone()] < self.bytes[name.clone()];
        }
        self.members.push(Member {
            name,
            whole: start..start,
        });
        Some(())
    }

    /// Takes a string; where it stands, decoded.
    fn string(&mut self, reader: &mut Reader<'_>) -> Option<Range<usize>> {
        let length = match reader.plain_string() {
            Some(plain) => {
                check_size(self.bytes, b's', plain);
                plain.len()
            }
            None => {
                let string = reader.escaped_string()?;
                check_size(self.bytes, b's', &string);
                string.len()
            }
        };
        Some(self.bytes.len() - length..self.bytes.len())
    }

    fn close(&mut self) -> Option<()> {
        let open = self.open.pop()?;
        if !open.sorted {
            self.sort(open.first)?;
        }
        self.members.truncate(open.first);
        self.bytes.push(open.end);
        Some(())
    }

    /// Sorts the members from this one on. `None` if two have one name.
    fn sort(&mut self, first: usize) -> Option<()> {
        let Self { bytes, members, .. } = self;
        let (members, end) = (&mut members[first..], bytes.len());
        let start = members.first()?.whole.start;
        members.last_mut()?.whole.end = end;
        let name = |member: &Member| &bytes[member.name.clone()];
        members.sort_unstable_by(|left, right| name(left).cmp(name(right)));
        if members
            .windows(2)
            .any(|pair| name(&pair[0]) == name(&pair[1]))
        {
            return None;
        }
        for member in &*members {
            bytes.extend_from_within(member.whole.clone());
        }
        bytes.copy_within(end.., start);
        bytes.truncate(end);
        Some(())
    }
}

/// Takes JSON's tokens from a text in UTF-8.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space, not yet taken.
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

    /// Takes this byte, if it is the next.
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

    /// Takes one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A string without escapes; else `None`, and nothing is taken.
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        let inside = self.text[self.at..].strip_prefix(b"\"")?;
        let (plain, rest) = inside.split_at(plain_length(inside));
        if rest.first() != Some(&b'"') {
            return None;
        }
        self.at += plain.len() + 2;
        Some(plain)
    }

    /// A string, decoded.
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

    /// What stands in a string before its end, an escape, or a control character.
    fn plain(&mut self) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let plain = &rest[..plain_length(rest)];
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

    /// One code unit of UTF-16, or the two of a surrogate pair. `None` for half a pair.
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

/// How many bytes there are before a quote, a backslash or a control character.
fn plain_length(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let ends = is_end(u64::from_le_bytes(*word));
        if ends != 0 {
            return 8 * index + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    8 * words.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// Of eight bytes, the first in the lowest place, those that end a plain run: the lowest bit set is the
/// high bit of the first of them. (A borrow can set bits above it, never below.)
const fn is_end(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (quote, backslash) = (bytes ^ (ONES * b'"' as u64), bytes ^ (ONES * b'\\' as u64));
    let control = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & ONES << 7
}

/// Bytes with what they are and their length in front.
#[inline]
fn check_size(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
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

    fn same(left: &str, right: &str) -> bool {
        let form = canonical(left.as_bytes());
        form.is_some() && form == canonical(right.as_bytes())
    }

    #[test]
    fn a06_order_space_and_escapes_do_not_matter() {
        assert!(same(
            r#"{"a":1,"b":[true,null]}"#,
            " {\"b\" : [ true ,\n null ], \"a\":1 } "
        ));
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

    /// What stored fingerprints were made of: a change here needs a new version of them.
    #[test]
    fn a07_the_form_stays_as_it_is() {
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
    fn a06_a_text_is_read_to_a_depth_of_128() {
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
        fn a_plain_run_ends_where_it_ends(text in prop::collection::vec(prop_oneof![Just(b'a'), Just(0x80), Just(0x7f), any::<u8>()], 0..40)) {
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let length = text.iter().position(ends).unwrap_or(text.len());
            prop_assert_eq!(plain_length(&text), length);
        }

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
