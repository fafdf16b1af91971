//! The `Idempotency-Key` header field: its syntax and the problems about it.
//!
//! The draft may still change, so its syntax is implemented only in this file.

use core::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

use crate::problem::{FieldError, Location, Problem, registry};

/// The name of the header field (draft-ietf-httpapi-idempotency-key-header §2.1).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The maximum length of a key in characters. It is enough for any UUID or hash in text form.
const MAX_LENGTH: usize = 255;

/// Parses the key of a request; `None` without the header field. `"k"` and `k` are the same key.
///
/// # Errors
///
/// Returns a 400 `IDEMPOTENCY_KEY_INVALID` for several fields, or for a value that is not one key.
pub(crate) fn key_from_headers(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(invalid_key(
            "the request has more than one Idempotency-Key header field; send exactly one",
        ));
    }
    let text = field
        .to_str()
        .map_err(|_| invalid_key("the key contains a character that is not visible ASCII"))?
        .trim();
    let key = if text.starts_with('"') {
        parse_quoted(text)
    } else {
        parse_bare(text)
    };
    match key {
        Some(key) if (1..=MAX_LENGTH).contains(&key.len()) => Ok(Some(key)),
        Some(key) if key.is_empty() => Err(invalid_key(
            "the key is empty; expected 1 to 255 characters",
        )),
        Some(_) => Err(invalid_key(
            "the key is longer than 255 characters; expected 1 to 255 characters",
        )),
        None => Err(invalid_key(
            "expected one key, either a quoted string or characters of [A-Za-z0-9._~:+/=-]",
        )),
    }
}

/// Parses an sf-string (RFC 9651 §3.3.3) and ignores its parameters.
fn parse_quoted(text: &str) -> Option<String> {
    let item: Item = Parser::new(text).parse().ok()?;
    match item.bare_item {
        BareItem::String(key) => Some(key.as_str().to_owned()),
        _ => None,
    }
}

/// Parses a key without quotes, such as the bare UUID that many clients send. Parameters after it
/// are ignored (RFC 9651 §3.1.2). If the text after a semicolon is not a parameter, the key is
/// refused. That text could be a part of the key: if it were ignored, `order;1` and `order;2` would
/// be the same key.
fn parse_bare(text: &str) -> Option<String> {
    let (key, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
    let key = key.trim_end();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:+/=-".contains(&byte);
    let has_valid_parameters = || parse_quoted(&format!("\"\"{parameters}")).is_some();
    (key.bytes().all(is_allowed) && has_valid_parameters()).then(|| key.to_owned())
}

/// Creates the problem for a missing key. Its detail contains the time to live, because a client
/// must stop retrying before that time has passed.
pub(crate) fn missing_key(ttl: Duration) -> Problem {
    Problem::new(&registry::IDEMPOTENCY_KEY_MISSING).with_detail(format!(
        "send an Idempotency-Key header field, with a new key for each operation and the same key \
         for each retry; the response is stored for {}",
        format_duration(ttl)
    ))
}

/// Formats a duration in the largest unit that divides it. Days are used only for two days or more,
/// so that the usual 24 hours are written as `24 h`.
fn format_duration(time: Duration) -> String {
    const UNITS: [(u128, u128, &str); 4] = [
        (86_400_000, 2, "days"),
        (3_600_000, 1, "h"),
        (60_000, 1, "min"),
        (1_000, 1, "s"),
    ];
    let millis = time.as_millis();
    let fits = |(unit, least, _): &&(u128, u128, &str)| {
        millis.is_multiple_of(*unit) && millis / unit >= *least
    };
    let (unit, _, name) = UNITS.iter().find(fits).unwrap_or(&(1, 0, "ms"));
    format!("{} {name}", millis / unit)
}

/// Creates the problem for a key without a caller, on a public endpoint without `anonymous`.
pub(crate) fn key_without_caller() -> Problem {
    Problem::new(&registry::UNAUTHENTICATED).with_detail(
        "this endpoint accepts an Idempotency-Key only with credentials; \
         send credentials or remove the key",
    )
}

/// Rejects a short key of a request without a caller.
///
/// All requests without a caller share one space of keys, so a key must not be guessable. It needs
/// at least 128 bits, which are 22 characters of base64.
pub(crate) fn check_anonymous_key(key: &str) -> Result<(), Problem> {
    if key.len() >= 22 {
        return Ok(());
    }
    Err(invalid_key(
        "without credentials the key needs at least 22 characters with 128 random bits, \
         such as a UUID",
    ))
}

fn invalid_key(detail: &'static str) -> Problem {
    Problem::new(&registry::IDEMPOTENCY_KEY_INVALID)
        .with_detail(detail)
        .with_error(FieldError::new(
            Location::Header("Idempotency-Key".into()),
            "INVALID",
            detail,
        ))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(fields: &[&[u8]]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(
                IDEMPOTENCY_KEY,
                HeaderValue::from_bytes(field).expect("a field"),
            );
        }
        key_from_headers(&headers)
    }

    #[test]
    fn a02_a_quoted_and_a_bare_key_are_the_same_key() {
        for field in [
            &b"\"abc-1\""[..],
            b"abc-1",
            b" abc-1 ",
            b"abc-1;v=1",
            b"\"abc-1\"; v=1",
        ] {
            assert_eq!(key(&[field]).expect("valid").as_deref(), Some("abc-1"));
        }
        assert_eq!(
            key(&[br#""a \"b\" \\""#]).expect("valid").as_deref(),
            Some(r#"a "b" \"#)
        );
    }

    #[test]
    fn a03_a_value_that_is_not_one_key_is_refused() {
        let long = [b'a'; 256];
        let wrong: [&[&[u8]]; 16] = [
            &[b"a", b"a"],
            &[b"a, b"],
            &[b"order;123"],
            &[b"order;"],
            &[b"order;v=1;"],
            &[b"order; v=1 x"],
            &[b"\"a\", \"b\""],
            &[b""],
            &[b"\"\""],
            &[b";v=1"],
            &[&long],
            &["clé".as_bytes()],
            &[b"\"open"],
            &[b"a b"],
            &[b"(a)"],
            &[b"\"a\" b"],
        ];
        for fields in wrong {
            assert_eq!(
                key(fields).expect_err("not a key").code(),
                "IDEMPOTENCY_KEY_INVALID",
                "{fields:?}"
            );
        }
        assert_eq!(
            key(&[&long[1..]]).expect("valid").map(|key| key.len()),
            Some(255)
        );
    }

    #[test]
    fn a22_a_duration_is_formatted_in_the_largest_unit_that_fits() {
        for (seconds, text) in [
            (30, "30 s"),
            (90, "90 s"),
            (1_800, "30 min"),
            (3_600, "1 h"),
            (5_400, "90 min"),
            (86_400, "24 h"),
            (129_600, "36 h"),
            (172_800, "2 days"),
            (604_800, "7 days"),
        ] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format_duration(Duration::from_millis(30_500)), "30500 ms");
    }

    #[test]
    fn a01_a_request_without_the_field_has_no_key() {
        assert_eq!(key(&[]).expect("no error"), None);
    }
}
