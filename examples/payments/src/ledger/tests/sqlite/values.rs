use serde::Deserialize;

use super::super::ledger::tests::amount;
use super::super::ledger::{Amount, Currency, Iban, Owner};

#[derive(Debug, Deserialize)]
struct Body {
    #[expect(dead_code, reason = "the test only deserializes it")]
    amount: Amount,
}

#[test]
fn amounts_are_positive_integers() {
    for json in ["1", "1250", "9223372036854775807"] {
        assert!(serde_json::from_str::<Amount>(json).is_ok(), "{json}");
    }
    for json in [
        "0",
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "1.0",
        "1e3",
        "\"1\"",
        "null",
    ] {
        assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
    }
}

#[test]
fn the_error_of_an_invalid_value_describes_the_expected_values() {
    let error = serde_json::from_str::<Body>(r#"{"amount": -5}"#).expect_err("negative");
    assert!(
        error
            .to_string()
            .starts_with("expected a positive number of minor units, such as 1250")
    );
}

#[test]
fn currencies_are_three_upper_case_letters() {
    assert_eq!(
        "EUR".parse::<Currency>().expect("a currency").as_str(),
        "EUR"
    );
    for text in ["", "EU", "EURO", "eur", "EU1", "EU ", "ÄU", "€"] {
        assert!(text.parse::<Currency>().is_err(), "{text}");
    }
}

#[test]
fn owners_have_a_name_of_1_to_100_characters() {
    for text in ["A", "Alice & Sons", &"ä".repeat(100)] {
        assert_eq!(text.parse::<Owner>().expect("a name").as_str(), text);
    }
    for text in ["", " ", "\u{3000}\t", "a\nb", "a\0", &"a".repeat(101)] {
        assert!(text.parse::<Owner>().is_err(), "{text:?}");
    }
}

#[test]
fn ibans_are_15_to_34_upper_case_letters_and_digits() {
    for text in ["NO9386011117947", "DE89370400440532013000", &"A".repeat(34)] {
        assert_eq!(text.parse::<Iban>().expect("an IBAN").as_str(), text);
    }
    for text in [
        "",
        "NO938601111794",
        "de89370400440532013000",
        "DE89 3704 0044 0532",
        &"A".repeat(35),
    ] {
        assert!(text.parse::<Iban>().is_err(), "{text:?}");
    }
}

#[test]
fn values_are_serialized_as_they_are_deserialized() {
    for json in ["\"EUR\"", "\"CHF\""] {
        let currency: Currency = serde_json::from_str(json).expect("a currency");
        assert_eq!(serde_json::to_string(&currency).expect("JSON"), json);
    }
    assert_eq!(serde_json::to_string(&amount(7)).expect("JSON"), "7");
}
