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

fn answer(body: Option<&'static [u8]>) -> StoredResponse {
    let fields = vec![
        (LOCATION, HeaderValue::from_static("/v1/payments/1")),
        (LINK, HeaderValue::from_static("</a>")),
        (
            LINK,
            HeaderValue::from_bytes(b"</\xe4>").expect("obs-text is a value"),
        ),
    ];
    StoredResponse::restored(StatusCode::CREATED, fields, body.map(Bytes::from_static))
        .expect("kept fields")
}

fn sealed_bytes() -> Vec<u8> {
    keys("k1", 7)
        .encrypt(&RECORD, &answer(Some(BODY)))
        .to_bytes()
}

/// What these bytes are under a name: nothing, or what opening them gives.
fn read(bytes: &[u8], record: &RecordKey) -> Option<Result<StoredResponse, StoreError>> {
    let kept = StoredResponse::from_bytes(Bytes::copy_from_slice(bytes))?;
    Some(keys("k1", 7).decrypt(kept, record))
}

fn opens(bytes: &[u8], record: &RecordKey) -> bool {
    matches!(read(bytes, record), Some(Ok(_)))
}

fn why(result: Result<StoredResponse, StoreError>) -> (String, String) {
    match result {
        Err(StoreError::Malformed { key, why }) => (key, why),
        other => panic!("{other:?}"),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a26_an_answer_opens_as_it_was_sealed() {
    let bare =
        StoredResponse::restored(StatusCode::NO_CONTENT, Vec::new(), None).expect("no fields");
    for kept in [answer(Some(BODY)), answer(Some(b"")), answer(None), bare] {
        let sealed = keys("k1", 7).encrypt(&RECORD, &kept);
        assert_eq!(
            (sealed.status(), sealed.encrypted_with()),
            (kept.status(), Some("k1"))
        );
        assert!(sealed.headers().len() == 0 && sealed.body().is_none());
        let bytes = sealed.to_bytes();
        assert_eq!(
            StoredResponse::from_bytes(Bytes::from(bytes.clone())),
            Some(sealed)
        );
        assert_eq!(read(&bytes, &RECORD), Some(Ok(kept)));
    }
}

#[test]
fn a26_a_sealed_answer_shows_neither_fields_nor_body() {
    let clear = answer(Some(BODY)).to_bytes();
    let sealed = keys("k1", 7).encrypt(&RECORD, &answer(Some(BODY)));
    for part in [&b"location"[..], b"/v1/payments", BODY, b"link"] {
        assert!(contains(&clear, part) && !contains(&sealed.to_bytes(), part));
    }
    assert!(!format!("{sealed:?}").contains("payments"), "{sealed:?}");
    assert_ne!(
        sealed.to_bytes(),
        sealed_bytes(),
        "each seal draws its own nonce"
    );
}

/// Made by another implementation of the two documents.
#[test]
fn a26_the_sealed_form_stays_as_it_is() {
    let bytes = URL_SAFE_NO_PAD.decode(
        "AMkCAmsxBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF8Lp07RV3yS_VEslwhu_Rp0PKL0TLKFwPyyno1D2vl2dZE_VmaaAwRsb6dhkJrnuSUgDyZIw",
    );
    let fields = vec![(LOCATION, HeaderValue::from_static("/v1/payments/1"))];
    let kept =
        StoredResponse::restored(StatusCode::CREATED, fields, Some(Bytes::from_static(b"{}")));
    assert_eq!(read(&bytes.expect("base64"), &RECORD), kept.map(Ok));
}

#[test]
fn a26_no_changed_byte_opens() {
    let bytes = sealed_bytes();
    assert!(opens(&bytes, &RECORD));
    for index in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= change;
            assert!(!opens(&changed, &RECORD), "byte {index} ^ {change}");
        }
    }
}

#[test]
fn a26_no_shorter_or_longer_answer_opens() {
    let bytes = sealed_bytes();
    assert!((0..bytes.len()).all(|length| !opens(&bytes[..length], &RECORD)));
    assert!(!opens(&[&bytes[..], &[0]].concat(), &RECORD));
}

#[test]
fn a26_a_sealed_answer_opens_in_its_record_only_and_with_its_status() {
    let mut bytes = sealed_bytes();
    assert!(!opens(&bytes, &OTHER));
    assert!(
        !opens(&bytes, &RecordKey::new([9; 16], [2; 16])),
        "another caller's"
    );
    bytes[..2].copy_from_slice(&202_u16.to_be_bytes());
    let (key, why) = why(read(&bytes, &RECORD).expect("a form"));
    assert_eq!(key, RECORD.to_string());
    assert!(
        why.starts_with("an answer sealed with the key `k1` does not open: it was changed"),
        "{why}"
    );
}

#[test]
fn a26_all_keys_open_and_an_unknown_one_is_named() {
    let sealed = keys("old", 1).encrypt(&RECORD, &answer(Some(BODY)));
    let both = keys("new", 2).with_key("old", [1; 32]).expect("another id");
    assert_eq!(
        both.decrypt(sealed.clone(), &RECORD),
        Ok(answer(Some(BODY)))
    );
    assert_eq!(
        both.encrypt(&RECORD, &answer(None)).encrypted_with(),
        Some("new")
    );
    let (key, said) = why(keys("new", 2).decrypt(sealed.clone(), &RECORD));
    assert_eq!(key, RECORD.to_string());
    assert_eq!(
        said,
        "an answer is sealed with the key `old`, which this instance does not have"
    );
    let (_, said) = why(keys("old", 3).decrypt(sealed, &RECORD));
    assert!(said.ends_with("or that id has another key here"), "{said}");
}

#[test]
fn a26_what_is_in_the_clear_stays_so_when_opened() {
    let clear = answer(Some(BODY));
    assert_eq!(
        keys("k1", 7).decrypt(clear.clone(), &RECORD),
        Ok(clear.clone())
    );
    assert_eq!(
        readable(BeginOutcome::Done(clear.clone()), &RECORD),
        Ok(BeginOutcome::Done(clear.clone()))
    );
    let sealed = keys("k1", 7).encrypt(&RECORD, &clear);
    assert!(
        readable(BeginOutcome::Done(sealed), &RECORD).is_err_and(|error| error.is_about_the_key())
    );
}

#[test]
fn a26_what_is_sealed_can_be_sealed_again() {
    let once = keys("k1", 7).encrypt(&RECORD, &answer(None));
    let twice = keys("k2", 8).encrypt(&RECORD, &once);
    assert_eq!(keys("k2", 8).decrypt(twice, &RECORD), Ok(once));
}

proptest! {
    #[test]
    fn a26_no_other_bytes_open(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        kept in 0_usize..32,
    ) {
        prop_assert!(!matches!(read(&bytes, &RECORD), Some(Ok(kept)) if kept.encrypted_with().is_some()));
        bytes.splice(0..0, sealed_bytes()[..kept].iter().copied());
        if kept > 2 {
            prop_assert!(!opens(&bytes, &RECORD));
        }
    }
}

#[test]
fn a26_keys_that_only_open_read_what_others_seal() {
    let (kept, keys) = (answer(Some(BODY)), keys("k1", 7));
    let reader = keys.clone().decrypt_only();
    assert_eq!(reader.encrypt(&RECORD, &kept), kept);
    assert_eq!(
        reader.decrypt(keys.encrypt(&RECORD, &kept), &RECORD),
        Ok(kept)
    );
}
