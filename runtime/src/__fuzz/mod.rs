//! The functions that the fuzz targets in `fuzz/` call, and tests that run them on the corpora.
//!
//! The module exists only in tests and under `cfg(fuzzing)`. It is not part of the public
//! interface, and can change in any release.

mod cursor;
mod forwarded;
mod id;
mod json;
mod literals;
mod query;

use http::{HeaderMap, HeaderValue};

pub use self::cursor::cursor;
pub use self::forwarded::forwarded;
pub use self::id::id;
use self::json::{Style, Value};
pub use self::literals::literals;
#[cfg(test)]
pub(crate) use self::literals::units;
pub use self::query::query_string;
use crate::policies::idempotency::{IDEMPOTENCY_KEY, canonical, key_from_headers};

/// Checks the parser of idempotency keys. The lines of `data` are `Idempotency-Key` fields. A valid
/// key has one canonical form, which parses to the same key.
pub fn idempotency_key(data: &[u8]) {
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').take(3).collect();
    match key(&lines) {
        Some(Ok(key)) => {
            assert_eq!(lines.len(), 1, "two fields are not a key");
            assert_key(&key);
        }
        Some(Err(code)) => {
            assert_eq!(code, "IDEMPOTENCY_KEY_INVALID");
            assert!(
                lines.len() > 1 || !is_bare(lines[0]),
                "a valid bare key is rejected"
            );
        }
        None => {}
    }
}

/// Returns the key in these fields, or the code of the rejection. Returns `None` if a field is not
/// a valid header value.
fn key(fields: &[&[u8]]) -> Option<Result<String, &'static str>> {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(field).ok()?);
    }
    key_from_headers(&headers)
        .map_err(|problem| problem.code())
        .transpose()
}

fn assert_key(read: &str) {
    assert!(
        (1..=255).contains(&read.len()) && read.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    );
    let quoted = format!("\"{}\"", read.replace('\\', r"\\").replace('"', "\\\""));
    assert_eq!(
        key(&[quoted.as_bytes()]),
        Some(Ok(read.to_owned())),
        "quoted"
    );
    if is_bare(read.as_bytes()) {
        assert_eq!(key(&[read.as_bytes()]), Some(Ok(read.to_owned())), "bare");
    }
}

fn is_bare(field: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~:+/=-".contains(byte);
    (1..=255).contains(&field.len()) && field.iter().all(allowed)
}

/// Checks the canonical form of JSON. `data` is a JSON text, then the byte 255, then choices. The
/// choices determine how the same value is written as another JSON text.
///
/// The canonical form must agree with the reference parser, decode to the value, and be the same
/// for both texts.
pub fn json(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 255);
    let (text, style) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let value = Value::parse(text);
    let form = canonical(text);
    assert_eq!(form, value.as_ref().map(Value::encode));
    let Some(value) = value else { return };
    let rewritten = value.text(&mut Style::new(style));
    assert_eq!(
        canonical(rewritten.as_bytes()),
        form,
        "the same value has another form when written as {rewritten:?}"
    );
    assert_eq!(
        form.and_then(|form| Value::decode(&form)),
        Some(value),
        "another value has the same form"
    );
}

#[cfg(feature = "redis")]
pub use self::record::record;

#[cfg(feature = "redis")]
mod record {
    use core::time::Duration;

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, StatusCode};

    use crate::policies::idempotency::{
        Complete, Fingerprint, Lease, Outcome, RecordKey, StoredResponse, Token,
    };
    use crate::store::redis::codec;

    /// The length of a record's head in bytes.
    const HEAD: usize = 60;

    /// Checks the encoding of records. Each response that was decoded or built is encoded again,
    /// and must then decode to the same response.
    ///
    /// `data` is used in three ways: as a record, as the part of a record after its head, and as
    /// the parts of a response.
    pub fn record(data: &[u8]) {
        let built = build_response(data);
        let head = encode_record(built.clone().unwrap_or_else(|| {
            StoredResponse::restored(StatusCode::OK, Vec::new(), None)
                .expect("a response without fields can be restored")
        }));
        let with_head = codec::stored_response([&head[..HEAD], data].concat());
        for stored in [codec::stored_response(data.to_vec()), with_head, built]
            .into_iter()
            .flatten()
        {
            assert_eq!(
                codec::stored_response(encode_record(stored.clone())),
                Some(stored)
            );
        }
    }

    fn encode_record(response: StoredResponse) -> Vec<u8> {
        let lease = Lease {
            key: RecordKey::new([1; 16], [2; 16]),
            token: Token::from_u128(3),
        };
        let (fingerprint, ttl) = (Fingerprint::new(1, [4; 32]), Duration::from_hours(24));
        codec::encode_completed(&Complete::new(
            lease,
            fingerprint,
            Outcome::Response(response),
            ttl,
        ))
    }

    /// Builds a response from `data`: the status (two bytes), a flag, and lines. The first line is
    /// the body, if the lowest bit of the flag is set. The other lines are header fields.
    fn build_response(data: &[u8]) -> Option<StoredResponse> {
        let ([high, low, flag], lines) = data.split_first_chunk()?;
        let status = StatusCode::from_u16(u16::from_be_bytes([*high, *low])).ok()?;
        let mut lines = lines.split(|byte| *byte == b'\n');
        let body = lines
            .next()
            .filter(|_| flag & 1 == 1)
            .map(Bytes::copy_from_slice);
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) =
                line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
            fields.push((
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(&value[1..]).ok()?,
            ));
        }
        StoredResponse::restored(status, fields, body)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Runs a target on each file of its corpus in `fuzz/corpus`.
    fn replay(name: &str, target: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(name);
        let files: Vec<_> = fs::read_dir(corpus)
            .expect("the corpus")
            .map(|file| file.expect("a file"))
            .collect();
        assert!(!files.is_empty(), "the corpus is empty");
        for file in files {
            target(&fs::read(file.path()).expect("a file of the corpus"));
        }
    }

    #[test]
    fn every_input_of_the_corpora_passes() {
        replay("cursor", cursor);
        replay("forwarded", forwarded);
        replay("idempotency_key", idempotency_key);
        replay("id", id);
        replay("json", json);
        replay("literals", literals);
        replay("query", query_string);
        #[cfg(feature = "redis")]
        replay("record", record);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "null|true|false|-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,2})?"
                .prop_map(Value::Lexeme),
            "[ -~]{0,12}|[a-c\"\\\\/\n\u{0}é😀]{0,4}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(5, 48, 6, |inner| {
            let name = "[a-c]{0,3}|[ab\"\\\\\u{1}é😀]{0,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                prop::collection::btree_map(name, inner, 0..6).prop_map(Value::Members),
            ]
        })
    }

    /// Replaces some bytes of the text. Most of the new bytes have a meaning in JSON.
    fn mutate(mut text: Vec<u8>, changes: &[(prop::sample::Index, usize, Vec<u8>)]) -> Vec<u8> {
        for (index, length, bytes) in changes {
            let start = index.index(text.len() + 1);
            let end = text.len().min(start + length);
            text.splice(start..end, bytes.iter().copied());
        }
        text
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, usize, Vec<u8>)>> {
        let bytes = prop_oneof![
            8 => "[\\[\\]{}\",:\\\\ \t\n\r0-9.eE+a-fu-]{0,3}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, bytes), 1..3)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a06_canonical_forms_agree_with_the_reference_parser(value in value(), style: [u8; 32], changes in changes()) {
            let text = value.text(&mut Style::new(&style));
            prop_assert_eq!(Value::parse(text.as_bytes()), Some(value));
            json(&[text.as_bytes(), &[255], &style].concat());
            json(&mutate(text.into_bytes(), &changes));
        }

        #[test]
        fn a06_canonical_forms_are_equal_if_and_only_if_the_values_are_equal(left in value(), right in value(), style: [u8; 32]) {
            let form = |value: &Value, style| canonical(value.text(&mut Style::new(style)).as_bytes());
            prop_assert_eq!(form(&left, &style[..9]) == form(&right, &style[9..]), left == right);
            prop_assert_eq!(form(&left, &style[..9]), form(&left, &style[9..]));
        }

        #[test]
        fn b01_the_attribute_and_the_environment_accept_the_same_rates(
            text in "[0-9]{0,21}/?(s|sec|min|h|hour|day|m|d|[a-z]{0,4})(:burst=[0-9]{1,3})?|[0-9]{1,22}(ms|B|KiB|MB|d)?",
        ) {
            literals(text.as_bytes());
        }

        #[test]
        fn h02_identifiers_agree_with_the_reference_parser(text in "(pay_|acc_|pay)?[0-9A-Za-z]{24,27}|pay_[0-8][0-9A-HJKMNP-TV-Za-z]{25}") {
            id(text.as_bytes());
        }

        #[test]
        fn f04_queries_agree_with_the_reference_parser(
            text in "((tag|name|year|id|limit|cursor|x)=?[a-z0-9+%=]{0,6}&?|%[0-9A-Fa-f]{0,3}|[&=+;]){0,8}",
        ) {
            query_string(text.as_bytes());
        }

        #[test]
        fn d03_a_valid_cursor_is_written_again_with_the_same_text(
            position in 0_u8..4, number in 0_u8..130, text in "[a-c]{0,3}", tag: [u8; 2], flag in 3_u8..5,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..6), 0..3),
        ) {
            let length = u8::try_from(text.len()).expect("short");
            let text = [&[1, length], text.as_bytes()].concat();
            let mut data = [&[position, 0, number][..], &text, &[2, 2], &tag, &[flag]].concat();
            cursor(&data);
            for (index, byte) in changes {
                let index = index.index(data.len());
                data[index] = byte;
            }
            cursor(&data);
        }

        #[test]
        fn a02_a_valid_key_parses_again_from_its_canonical_form(data in "[a-c0-9;=,\"\\\\ \t*?()-]{0,12}(\n[a\"]{0,2})?") {
            idempotency_key(data.as_bytes());
        }
    }
}
