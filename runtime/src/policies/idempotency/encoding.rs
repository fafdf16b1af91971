//! An answer as bytes, in the one form that every store keeps that keeps bytes.
//!
//! | bytes | |
//! |---|---|
//! | 2 | status, big-endian like all numbers here |
//! | 1 | format: 0 without its body, which was too large to keep; 1 with it; 2 [sealed](super::seal) |
//! | 2 | the number of fields; of each the length of its name (2) and of its value (4), and both |
//! | 4 | the length of the body, and the body |

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};

use super::encryption::EncryptedResponse;
use super::stored_response::{Field, StoredResponse};

const WITHOUT_BODY: u8 = 0;
const WITH_BODY: u8 = 1;

impl StoredResponse {
    /// The answer as bytes, for a store that keeps bytes; [`from_bytes`](Self::from_bytes) reads them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes);
        bytes
    }

    /// The answer that [`to_bytes`](Self::to_bytes) wrote, with this release or an earlier one; `None`
    /// for any other bytes.
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

/// All but the status.
pub(super) fn put_content(bytes: &mut Vec<u8>, kept: &StoredResponse) {
    match kept.encrypted() {
        Some(sealed) => sealed.write_to(bytes),
        None => put_clear(bytes, kept),
    }
}

/// Gives the answer of this status.
pub(super) fn read_content(status: StatusCode, bytes: Bytes) -> Option<StoredResponse> {
    match bytes.first() {
        Some(&EncryptedResponse::FORMAT) => EncryptedResponse::from_bytes(bytes)
            .map(|sealed| StoredResponse::from_encrypted(status, sealed)),
        _ => read_clear(status, bytes),
    }
}

fn put_clear(bytes: &mut Vec<u8>, kept: &StoredResponse) {
    let body = kept.body().map_or(&[][..], |body| body);
    bytes.push(if kept.body().is_some() {
        WITH_BODY
    } else {
        WITHOUT_BODY
    });
    bytes.put_u16(length(kept.headers().len()));
    for (name, value) in kept.headers() {
        bytes.put_u16(length(name.as_str().len()));
        bytes.put_u32(length(value.len()));
        bytes.extend(name.as_str().as_bytes());
        bytes.extend(value.as_bytes());
    }
    bytes.put_u32(length(body.len()));
    bytes.extend(body);
}

fn read_clear(status: StatusCode, mut rest: Bytes) -> Option<StoredResponse> {
    let format = rest
        .try_get_u8()
        .ok()
        .filter(|format| [WITHOUT_BODY, WITH_BODY].contains(format))?;
    let fields = fields(&mut rest)?;
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
        .expect("header maps and kept bodies have bounds far below")
}

fn fields(rest: &mut Bytes) -> Option<Vec<Field>> {
    let count = rest.try_get_u16().ok()?;
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
            .expect("kept fields")
    }

    #[test]
    fn the_form_is_that_of_earlier_releases() {
        let expected = b"\0\xc9\x01\0\x01\0\x08\0\0\0\x0elocation/v1/payments/1\0\0\0\x02{}";
        assert_eq!(response().to_bytes(), expected);
        assert_eq!(
            StoredResponse::from_bytes(Bytes::from_static(expected)),
            Some(response())
        );
    }

    #[test]
    fn another_format_is_none() {
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
    fn forged_fields_are_none() {
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
