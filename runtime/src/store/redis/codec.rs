//! Records as bytes: a head of fixed length that the scripts read, and, of a run that is done, its
//! answer in the [form](StoredResponse::to_bytes) that all stores share.
//!
//! | bytes | |
//! |---|---|
//! | 1 | format, 1 |
//! | 1 | state: `R`unning, `D`one, `U`nknown |
//! | 16 | token |
//! | 1 + 32 | fingerprint: its rule's version, its digest |
//! | 1 | what a lapsed run means: `R`erun, `U`nknown |
//! | 8 | time to live in milliseconds, big-endian |
//!
//! A running record's key expires a lease and a time to live after its last heartbeat, so that its
//! lease is told from what is left of the key's life.

use core::time::Duration;

use bytes::{BufMut, Bytes};

use crate::policies::idempotency::{
    Begin, Complete, Fingerprint, OnCrash, Outcome, StoredResponse, Token,
};

const FORMAT: u8 = 1;
const HEAD: usize = 60;

/// The record of a run that begins.
pub(super) fn running(begin: &Begin) -> Vec<u8> {
    head(
        b'R',
        begin.token,
        &begin.fingerprint,
        begin.on_crash,
        begin.ttl,
    )
}

/// The record of a run that has ended.
pub(crate) fn ended(complete: &Complete) -> Vec<u8> {
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
    if let Outcome::Response(kept) = &complete.outcome {
        kept.write_to(&mut record);
    }
    record
}

/// Fingerprints one behind the other.
pub(super) fn fingerprints<'a>(all: impl IntoIterator<Item = &'a Fingerprint>) -> Vec<u8> {
    let mut bytes = Vec::new();
    all.into_iter()
        .for_each(|one| put_fingerprint(&mut bytes, one));
    bytes
}

/// The answer of a record that is done.
pub(crate) fn kept(record: Vec<u8>) -> Option<StoredResponse> {
    let is_done = record.len() >= HEAD && record.starts_with(&[FORMAT, b'D']);
    is_done
        .then(|| Bytes::from(record).split_off(HEAD))
        .and_then(StoredResponse::from_bytes)
}

/// Whole milliseconds, rounded up, of at most a hundred years, as a script takes them.
pub(super) fn millis(duration: Duration) -> u64 {
    const LONGEST: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
    u64::try_from(duration.as_micros().div_ceil(1000)).map_or(LONGEST, |millis| millis.min(LONGEST))
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

    fn done(kept: StoredResponse) -> Complete {
        let lease = Lease {
            key: RecordKey::new([1; 16], [2; 16]),
            token: Token::from_u128(3),
        };
        let (fingerprint, ttl) = (Fingerprint::new(1, [4; 32]), Duration::from_hours(24));
        Complete::new(lease, fingerprint, Outcome::Response(kept), ttl)
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
        .expect("kept fields")
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let without_body =
            StoredResponse::restored(StatusCode::OK, Vec::new(), None).expect("kept fields");
        for kept in [response(), without_body] {
            assert_eq!(super::kept(ended(&done(kept.clone()))), Some(kept));
        }
    }

    #[test]
    fn a_truncated_record_is_none() {
        let record = ended(&done(response()));
        for length in 0..record.len() {
            assert_eq!(kept(record[..length].to_vec()), None, "{length} bytes");
        }
        assert_eq!(kept([record, vec![0]].concat()), None, "a byte too many");
    }

    #[test]
    fn times_are_rounded_up_to_milliseconds() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(300)), 300);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }

    proptest! {
        #[test]
        fn whatever_bytes_there_are_reading_them_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(kept(bytes.clone()));
            let record = ended(&done(response()));
            bytes.splice(0..0, record[..HEAD].iter().copied());
            drop(kept(bytes));
        }
    }
}
