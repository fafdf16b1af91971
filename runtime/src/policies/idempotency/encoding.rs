//! The encoding of a stored response as bytes. All stores that store bytes use it.
//!
//! | bytes | content |
//! |---|---|
//! | 2 | status, big-endian like all numbers here |
//! | 1 | format: 0 without the body, which was too large to store; 1 with the body; 2 [encrypted](super::encryption) |
//! | 2 | number of fields; then for each field the length of its name (2), the length of its value (4), name and value |
//! | 4 | length of the body; then the body |

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};

use super::encryption::EncryptedResponse;
use super::stored_response::{Field, StoredResponse};

const WITHOUT_BODY: u8 = 0;
const WITH_BODY: u8 = 1;

impl StoredResponse {
    /// Encodes the response as bytes, which [`from_bytes`](Self::from_bytes) decodes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes);
        bytes
    }

    /// Decodes bytes that [`to_bytes`](Self::to_bytes) has written, in this or an earlier release.
    /// Returns `None` for any other bytes.
    pub fn from_bytes(mut bytes: Bytes) -> Option<Self> {
        let status = StatusCode::from_u16(bytes.try_get_u16().ok()?).ok()?;
        read_content(status, bytes)
    }

    pub(crate) fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.reserve(self.size());
        bytes.put_u16(self.status().as_u16());
        put_content(bytes, self);
    }
}

/// Encodes everything except the status.
pub(super) fn put_content(bytes: &mut Vec<u8>, stored: &StoredResponse) {
    match stored.encrypted() {
        Some(encrypted) => encrypted.write_to(bytes),
        None => put_plain(bytes, stored),
    }
}

/// Decodes the result of [`put_content`]. Returns a response with this status.
pub(super) fn read_content(status: StatusCode, bytes: Bytes) -> Option<StoredResponse> {
    match bytes.first() {
        Some(&EncryptedResponse::FORMAT) => EncryptedResponse::from_bytes(bytes)
            .map(|encrypted| StoredResponse::from_encrypted(status, encrypted)),
        _ => read_plain(status, bytes),
    }
}

fn put_plain(bytes: &mut Vec<u8>, stored: &StoredResponse) {
    let body = stored.body().map_or(&[][..], |body| body);
    bytes.push(if stored.body().is_some() {
        WITH_BODY
    } else {
        WITHOUT_BODY
    });
    bytes.put_u16(length(stored.headers().len()));
    for (name, value) in stored.headers() {
        bytes.put_u16(length(name.as_str().len()));
        bytes.put_u32(length(value.len()));
        bytes.extend(name.as_str().as_bytes());
        bytes.extend(value.as_bytes());
    }
    bytes.put_u32(length(body.len()));
    bytes.extend(body);
}

fn read_plain(status: StatusCode, mut rest: Bytes) -> Option<StoredResponse> {
    let format = rest
        .try_get_u8()
        .ok()
        .filter(|format| [WITHOUT_BODY, WITH_BODY].contains(format))?;
    let fields = take_fields(&mut rest)?;
    let length = rest.try_get_u32().ok()?;
    let body = take(&mut rest, usize::try_from(length).ok()?)?;
    let body = (format == WITH_BODY).then_some(body);
    if rest.is_empty() {
        StoredResponse::restored(status, fields, body)
    } else {
        None
    }
}

fn length<N: TryFrom<usize>>(length: usize) -> N {
    N::try_from(length)
        .ok()
        .expect("the limits of header maps and stored bodies are far lower")
}

fn take_fields(rest: &mut Bytes) -> Option<Vec<Field>> {
    let count = rest.try_get_u16().ok()?;
    // A forged count must not reserve much memory. So at most 64 fields are reserved in advance,
    // and the list grows if there are more.
    let mut fields = Vec::with_capacity(usize::from(count.min(64)));
    for _ in 0..count {
        let name_length = usize::from(rest.try_get_u16().ok()?);
        let value_length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let name = HeaderName::from_bytes(&take(rest, name_length)?).ok()?;
        let value = HeaderValue::from_maybe_shared(take(rest, value_length)?).ok()?;
        fields.push((name, value));
    }
    Some(fields)
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use http::header::LOCATION;

    use super::*;

    fn response() -> StoredResponse {
        let fields = vec![(LOCATION, HeaderValue::from_static("/v1/payments/1"))];
        StoredResponse::restored(StatusCode::CREATED, fields, Some(Bytes::from_static(b"{}")))
            .expect("stored fields")
    }

    #[test]
    fn the_encoding_does_not_change_between_releases() {
        let expected = b"\0\xc9\x01\0\x01\0\x08\0\0\0\x0elocation/v1/payments/1\0\0\0\x02{}";
        assert_eq!(response().to_bytes(), expected);
        assert_eq!(
            StoredResponse::from_bytes(Bytes::from_static(expected)),
            Some(response())
        );
    }

    #[test]
    fn an_unknown_format_is_not_decoded() {
        let mut bytes = response().to_bytes();
        for format in 2..=255 {
            bytes[2] = format;
            assert_eq!(
                StoredResponse::from_bytes(Bytes::from(bytes.clone())),
                None,
                "{format}"
            );
        }
    }

    #[test]
    fn forged_fields_are_not_decoded() {
        let is_none = |names: &[String]| {
            let mut bytes = vec![0, 200, WITH_BODY];
            bytes.put_u16(length(names.len()));
            for name in names {
                bytes.put_u16(length(name.len()));
                bytes.put_u32(1);
                bytes.extend(name.bytes());
                bytes.push(b'1');
            }
            bytes.put_u32(0);
            StoredResponse::from_bytes(Bytes::from(bytes)).is_none()
        };
        assert!(!is_none(&[String::from("link"), String::from("link")]));
        for forged in ["content-length", "transfer-encoding", "a b", ""] {
            assert!(is_none(&[forged.to_owned()]), "{forged:?}");
        }
        let more_than_a_map_takes: Vec<_> =
            (0..40_000).map(|number| format!("x{number}")).collect();
        assert!(is_none(&more_than_a_map_takes));
    }
}
