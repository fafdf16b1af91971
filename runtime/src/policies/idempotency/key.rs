//! The `Idempotency-Key` field. The draft may still change; its syntax stands only here.

use core::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Item, Parser};

use crate::problem::{FieldError, Location, Problem, registry};

/// The request's field (draft-ietf-httpapi-idempotency-key-header §2.1).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const MAX_LENGTH: usize = 255;

/// The key of a request: `"k"` and `k` are the same key. `None` without the field.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(invalid(
            "the request has more than one Idempotency-Key field",
        ));
    }
    let text = field
        .to_str()
        .map_err(|_| invalid("the key has characters outside of ASCII"))?
        .trim();
    let key = if text.starts_with('"') {
        quoted(text)
    } else {
        bare(text)
    };
    match key {
        Some(key) if (1..=MAX_LENGTH).contains(&key.len()) => Ok(Some(key)),
        Some(key) if key.is_empty() => Err(invalid("the key is empty")),
        Some(_) => Err(invalid("the key is longer than 255 characters")),
        None => Err(invalid(
            "expected one key: a quoted string, or characters of [A-Za-z0-9._~:+/=-]",
        )),
    }
}

/// An sf-string (RFC 9651 §3.3.3); its parameters are ignored.
fn quoted(text: &str) -> Option<String> {
    let item: Item = Parser::new(text).parse().ok()?;
    match item.bare_item {
        BareItem::String(key) => Some(key.as_str().to_owned()),
        _ => None,
    }
}

/// What many clients send instead, such as a bare UUID; what follows a semicolon is ignored.
fn bare(text: &str) -> Option<String> {
    let key = text.split(';').next().unwrap_or_default().trim_end();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:+/=-".contains(&byte);
    key.bytes().all(allowed).then(|| key.to_owned())
}

/// Tells the client also for how long a retry gets the first answer: it must have given up by then.
pub(crate) fn missing(ttl: Duration) -> Problem {
    Problem::new(&registry::IDEMPOTENCY_KEY_MISSING).with_detail(format!(
        "send an Idempotency-Key, new for each operation and the same for each retry of it; its answer is kept for {}",
        visible_character(ttl)
    ))
}

/// A time in the largest unit that it is a whole number of; days from two of them on.
fn visible_character(time: Duration) -> String {
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

/// On a public endpoint whose keys belong to callers.
pub(crate) fn without_caller() -> Problem {
    Problem::new(&registry::UNAUTHENTICATED)
        .with_detail("an Idempotency-Key belongs to a caller here: send credentials, or no key")
}

/// A key of a caller without identity must not be guessable: at least 128 bits, which are 22
/// characters of base 64.
pub(crate) fn check_anonymous(key: &str) -> Result<(), Problem> {
    if key.len() >= 22 {
        return Ok(());
    }
    Err(invalid(
        "without credentials a key needs 22 characters or more, of at least 128 random bits, such as a UUID",
    ))
}

fn invalid(detail: &'static str) -> Problem {
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
        key_of(&headers)
    }

    #[test]
    fn a02_quoted_and_bare_are_one_key() {
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
    fn a03_what_is_not_one_key_is_refused() {
        let long = [b'a'; 256];
        let wrong: [&[&[u8]]; 12] = [
            &[b"a", b"a"],
            &[b"a, b"],
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
    fn a22_a_time_is_told_in_the_largest_unit_that_fits() {
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
            assert_eq!(visible_character(Duration::from_secs(seconds)), text);
        }
        assert_eq!(visible_character(Duration::from_millis(30_500)), "30500 ms");
    }

    #[test]
    fn a01_no_field_is_no_key() {
        assert_eq!(key(&[]).expect("absent"), None);
    }
}
