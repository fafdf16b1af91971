use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{LINK, LOCATION};
use proptest::prelude::*;

use super::*;

const RECORD: RecordKey = RecordKey::new([1; 16], [2; 16]);
const OTHER: RecordKey = RecordKey::new([1; 16], [3; 16]);
const BODY: &[u8] = b"{\"iban\":\"DE02120300000000202051\"}";

fn keys(id: &str, byte: u8) -> EncryptionKeys {
    EncryptionKeys::new(id, [byte; 32]).expect("a valid id")
}

fn response(body: Option<&'static [u8]>) -> StoredResponse {
    let fields = vec![
        (LOCATION, HeaderValue::from_static("/v1/payments/1")),
        (LINK, HeaderValue::from_static("</a>")),
        (
            LINK,
            HeaderValue::from_bytes(b"</\xe4>").expect("obs-text is valid in a header field"),
        ),
    ];
    StoredResponse::restored(StatusCode::CREATED, fields, body.map(Bytes::from_static))
        .expect("storable fields")
}

fn encrypted_bytes() -> Vec<u8> {
    keys("k1", 7)
        .encrypt(&RECORD, &response(Some(BODY)))
        .to_bytes()
}

/// Decodes and decrypts the bytes for a record. Returns `None` if the bytes cannot be decoded.
fn read(bytes: &[u8], record: &RecordKey) -> Option<Result<StoredResponse, StoreError>> {
    let stored = StoredResponse::from_bytes(Bytes::copy_from_slice(bytes))?;
    Some(keys("k1", 7).decrypt(stored, record))
}

fn decrypts(bytes: &[u8], record: &RecordKey) -> bool {
    matches!(read(bytes, record), Some(Ok(_)))
}

fn malformed_value(result: Result<StoredResponse, StoreError>) -> (String, String) {
    match result {
        Err(StoreError::Malformed { key, why }) => (key, why),
        other => panic!("{other:?}"),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a26_an_encrypted_response_decrypts_to_the_original() {
    let bare =
        StoredResponse::restored(StatusCode::NO_CONTENT, Vec::new(), None).expect("no fields");
    for stored in [
        response(Some(BODY)),
        response(Some(b"")),
        response(None),
        bare,
    ] {
        let encrypted = keys("k1", 7).encrypt(&RECORD, &stored);
        assert_eq!(
            (encrypted.status(), encrypted.encrypted_with()),
            (stored.status(), Some("k1"))
        );
        assert!(encrypted.headers().len() == 0 && encrypted.body().is_none());
        let bytes = encrypted.to_bytes();
        assert_eq!(
            StoredResponse::from_bytes(Bytes::from(bytes.clone())),
            Some(encrypted)
        );
        assert_eq!(read(&bytes, &RECORD), Some(Ok(stored)));
    }
}

#[test]
fn a26_an_encrypted_response_shows_neither_fields_nor_body() {
    let plain = response(Some(BODY)).to_bytes();
    let encrypted = keys("k1", 7).encrypt(&RECORD, &response(Some(BODY)));
    for part in [&b"location"[..], b"/v1/payments", BODY, b"link"] {
        assert!(contains(&plain, part) && !contains(&encrypted.to_bytes(), part));
    }
    assert!(
        !format!("{encrypted:?}").contains("payments"),
        "{encrypted:?}"
    );
    assert_ne!(
        encrypted.to_bytes(),
        encrypted_bytes(),
        "each encryption generates a new nonce"
    );
}

/// The bytes were made by another implementation of the draft and the RFC.
#[test]
fn a26_the_encrypted_form_does_not_change_between_releases() {
    let bytes = URL_SAFE_NO_PAD.decode(
        "AMkCAmsxBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF8Lp07RV3yS_VEslwhu_Rp0PKL0TLKFwPyyno1D2vl2dZE_VmaaAwRsb6dhkJrnuSUgDyZIw",
    );
    let fields = vec![(LOCATION, HeaderValue::from_static("/v1/payments/1"))];
    let stored =
        StoredResponse::restored(StatusCode::CREATED, fields, Some(Bytes::from_static(b"{}")));
    assert_eq!(read(&bytes.expect("base64"), &RECORD), stored.map(Ok));
}

#[test]
fn a26_a_response_with_a_changed_byte_does_not_decrypt() {
    let bytes = encrypted_bytes();
    assert!(decrypts(&bytes, &RECORD));
    for index in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= change;
            assert!(!decrypts(&changed, &RECORD), "byte {index} ^ {change}");
        }
    }
}

#[test]
fn a26_a_shortened_or_extended_response_does_not_decrypt() {
    let bytes = encrypted_bytes();
    assert!((0..bytes.len()).all(|length| !decrypts(&bytes[..length], &RECORD)));
    assert!(!decrypts(&[&bytes[..], &[0]].concat(), &RECORD));
}

#[test]
fn a26_a_response_decrypts_only_for_its_record_and_with_its_status() {
    let mut bytes = encrypted_bytes();
    assert!(!decrypts(&bytes, &OTHER));
    assert!(
        !decrypts(&bytes, &RecordKey::new([9; 16], [2; 16])),
        "the record of another caller"
    );
    bytes[..2].copy_from_slice(&202_u16.to_be_bytes());
    let (key, why) = malformed_value(read(&bytes, &RECORD).expect("the bytes can be decoded"));
    assert_eq!(key, RECORD.to_string());
    assert!(
        why.starts_with("the response cannot be decrypted with the key `k1`: it was changed"),
        "{why}"
    );
}

#[test]
fn a26_all_keys_decrypt_and_an_error_names_a_missing_key() {
    let encrypted = keys("old", 1).encrypt(&RECORD, &response(Some(BODY)));
    let both = keys("new", 2).with_key("old", [1; 32]).expect("another id");
    assert_eq!(
        both.decrypt(encrypted.clone(), &RECORD),
        Ok(response(Some(BODY)))
    );
    assert_eq!(
        both.encrypt(&RECORD, &response(None)).encrypted_with(),
        Some("new")
    );
    let (key, reason) = malformed_value(keys("new", 2).decrypt(encrypted.clone(), &RECORD));
    assert_eq!(key, RECORD.to_string());
    assert_eq!(
        reason,
        "the response is encrypted with the key `old`, which this instance does not have"
    );
    let (_, reason) = malformed_value(keys("old", 3).decrypt(encrypted, &RECORD));
    assert!(
        reason.ends_with("or this instance has another key with that id"),
        "{reason}"
    );
}

#[test]
fn a26_a_response_in_plain_form_is_returned_unchanged() {
    let plain = response(Some(BODY));
    assert_eq!(
        keys("k1", 7).decrypt(plain.clone(), &RECORD),
        Ok(plain.clone())
    );
    assert_eq!(
        require_decrypted(BeginOutcome::Done(plain.clone()), &RECORD),
        Ok(BeginOutcome::Done(plain.clone()))
    );
    let encrypted = keys("k1", 7).encrypt(&RECORD, &plain);
    assert!(
        require_decrypted(BeginOutcome::Done(encrypted), &RECORD)
            .is_err_and(|error| error.is_malformed())
    );
}

#[test]
fn a26_an_encrypted_response_can_be_encrypted_again() {
    let once = keys("k1", 7).encrypt(&RECORD, &response(None));
    let twice = keys("k2", 8).encrypt(&RECORD, &once);
    assert_eq!(keys("k2", 8).decrypt(twice, &RECORD), Ok(once));
}

proptest! {
    #[test]
    fn a26_arbitrary_bytes_do_not_decrypt(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        prefix in 0_usize..32,
    ) {
        prop_assert!(!matches!(read(&bytes, &RECORD), Some(Ok(read)) if read.encrypted_with().is_some()));
        bytes.splice(0..0, encrypted_bytes()[..prefix].iter().copied());
        if prefix > 2 {
            prop_assert!(!decrypts(&bytes, &RECORD));
        }
    }
}

#[test]
fn a26_decrypt_only_keys_read_responses_of_other_instances() {
    let (stored, keys) = (response(Some(BODY)), keys("k1", 7));
    let reader = keys.clone().decrypt_only();
    assert_eq!(reader.encrypt(&RECORD, &stored), stored);
    assert_eq!(
        reader.decrypt(keys.encrypt(&RECORD, &stored), &RECORD),
        Ok(stored)
    );
}
