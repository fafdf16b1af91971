//! The encoding of records as bytes.
//!
//! A record has a head of fixed length, which the scripts read. A DONE record contains its response
//! after the head, in the [encoding](StoredResponse::to_bytes) that all stores share.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format, 1 |
//! | 1 | state: `R`unning, `D`one, `U`nknown |
//! | 16 | token |
//! | 1 + 32 | fingerprint: the version of the comparison rule, and the hash |
//! | 1 | state after the lease has lapsed: `R`erun, `U`nknown |
//! | 8 | time to live in milliseconds, big-endian |
//!
//! The key of a RUNNING record expires one lease and one time to live after the last heartbeat. So
//! the remaining time of the lease needs no field: it is the remaining life of the key minus the
//! time to live.

use core::time::Duration;

use bytes::{BufMut, Bytes};

use crate::policies::idempotency::{
    Begin, Complete, Fingerprint, OnCrash, Outcome, StoredResponse, Token,
};

const FORMAT: u8 = 1;
/// The length of the head in bytes.
const HEAD: usize = 60;

/// Encodes the record of a run that begins.
pub(super) fn running(begin: &Begin) -> Vec<u8> {
    head(
        b'R',
        begin.token,
        &begin.fingerprint,
        begin.on_crash,
        begin.ttl,
    )
}

/// Encodes the record of a run that has ended.
pub(crate) fn encode_completed(complete: &Complete) -> Vec<u8> {
    let state = if matches!(complete.outcome, Outcome::Response(_)) {
        b'D'
    } else {
        b'U'
    };
    let mut record = head(
        state,
        complete.lease.token,
        &complete.fingerprint,
        OnCrash::Unknown,
        complete.ttl,
    );
    if let Outcome::Response(response) = &complete.outcome {
        response.write_to(&mut record);
    }
    record
}

/// Encodes several fingerprints one after the other.
pub(super) fn fingerprints<'a>(all: impl IntoIterator<Item = &'a Fingerprint>) -> Vec<u8> {
    let mut bytes = Vec::new();
    all.into_iter()
        .for_each(|one| put_fingerprint(&mut bytes, one));
    bytes
}

/// Decodes the response of a DONE record; `None` for any other record and for damaged bytes.
pub(crate) fn stored_response(record: Vec<u8>) -> Option<StoredResponse> {
    let is_done = record.len() >= HEAD && record.starts_with(&[FORMAT, b'D']);
    is_done
        .then(|| Bytes::from(record).split_off(HEAD))
        .and_then(StoredResponse::from_bytes)
}

/// Converts a duration to whole milliseconds for a script, rounded up, and at most a hundred years.
pub(super) fn millis(duration: Duration) -> u64 {
    // A script can add this number to the current time without an overflow.
    const MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
    u64::try_from(duration.as_micros().div_ceil(1000)).map_or(MAX, |millis| millis.min(MAX))
}

fn head(
    state: u8,
    token: Token,
    fingerprint: &Fingerprint,
    on_crash: OnCrash,
    ttl: Duration,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD);
    head.extend([FORMAT, state]);
    head.put_u128(token.as_u128());
    put_fingerprint(&mut head, fingerprint);
    head.push(if on_crash == OnCrash::Rerun {
        b'R'
    } else {
        b'U'
    });
    head.put_u64(millis(ttl));
    head
}

fn put_fingerprint(bytes: &mut Vec<u8>, fingerprint: &Fingerprint) {
    bytes.push(fingerprint.version());
    bytes.extend(fingerprint.digest());
}

#[cfg(test)]
mod tests {
    use http::header::{LINK, LOCATION};
    use http::{HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::policies::idempotency::{Lease, RecordKey};

    fn done(response: StoredResponse) -> Complete {
        let lease = Lease {
            key: RecordKey::new([1; 16], [2; 16]),
            token: Token::from_u128(3),
        };
        let (fingerprint, ttl) = (Fingerprint::new(1, [4; 32]), Duration::from_hours(24));
        Complete::new(lease, fingerprint, Outcome::Response(response), ttl)
    }

    fn response() -> StoredResponse {
        let fields = vec![
            (LOCATION, HeaderValue::from_static("/v1/payments/1")),
            (LINK, HeaderValue::from_static("</a>")),
            (
                LINK,
                HeaderValue::from_bytes(b"</\xe4>").expect("obs-text is a value"),
            ),
        ];
        StoredResponse::restored(
            StatusCode::CREATED,
            fields,
            Some(Bytes::from_static(b"{\"a\":1}")),
        )
        .expect("storable fields")
    }

    #[test]
    fn an_encoded_response_decodes_to_the_original() {
        let without_body =
            StoredResponse::restored(StatusCode::OK, Vec::new(), None).expect("storable fields");
        for response in [response(), without_body] {
            assert_eq!(
                stored_response(encode_completed(&done(response.clone()))),
                Some(response)
            );
        }
    }

    #[test]
    fn a_truncated_or_extended_record_is_not_decoded() {
        let record = encode_completed(&done(response()));
        for length in 0..record.len() {
            assert_eq!(
                stored_response(record[..length].to_vec()),
                None,
                "{length} bytes"
            );
        }
        assert_eq!(
            stored_response([record, vec![0]].concat()),
            None,
            "a byte too many"
        );
    }

    #[test]
    fn times_are_rounded_up_to_milliseconds() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(300)), 300);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_cause_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(stored_response(bytes.clone()));
            let record = encode_completed(&done(response()));
            bytes.splice(0..0, record[..HEAD].iter().copied());
            drop(stored_response(bytes));
        }
    }
}
