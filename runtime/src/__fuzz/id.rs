use crate::id::{Id, Resource};

pub(super) struct Payment;

impl Resource for Payment {
    const PREFIX: &'static str = "pay";
}

/// Checks the parser of identifiers. It must accept a text if and only if the reference parser of
/// Crockford's base 32 reads 128 bits from it. The canonical spelling of the identifier must parse
/// to the same identifier.
pub fn id(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let read = text.parse::<Id<Payment>>().ok();
    assert_eq!(read.map(|id| id.ulid().0), reference_parse(text));
    let in_json: Option<Id<Payment>> = serde_json::to_string(text)
        .ok()
        .and_then(|json| serde_json::from_str(&json).ok());
    assert_eq!(in_json, read, "in JSON");
    if let Some(id) = read {
        assert_eq!(
            id.to_string(),
            format!("pay_{}", text[4..].to_ascii_uppercase())
        );
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn reference_parse(text: &str) -> Option<u128> {
    let digits = text.strip_prefix("pay_")?;
    if digits.chars().count() != 26 {
        return None;
    }
    digits.chars().try_fold(0_u128, |bits, digit| {
        let value = ALPHABET.find(digit.to_ascii_uppercase())?;
        bits.checked_mul(32)?.checked_add(value as u128)
    })
}
