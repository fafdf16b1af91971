//! The values in requests. An existing value is valid, because only `TryFrom` and `FromStr` create
//! one. Serde calls these functions, so the rejection of a body points to the invalid member.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A positive amount of money in minor units, such as cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

/// A currency by its three upper-case letters, as in ISO 4217.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(String);

/// The name on an account: 1 to 100 characters, not only white space, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

/// The number of an account at a bank: 15 to 34 upper-case letters and digits, as in ISO 13616. Its
/// check digits are not checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Iban(String);

/// The error of an invalid value: a description of the expected values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct InvalidValue(&'static str);

impl Amount {
    /// Returns the amount in minor units, at least 1.
    pub const fn minor_units(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = InvalidValue;

    fn try_from(minor_units: i64) -> Result<Self, InvalidValue> {
        if minor_units > 0 {
            Ok(Self(minor_units))
        } else {
            Err(InvalidValue(
                "a positive number of minor units, such as 1250",
            ))
        }
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl FromStr for Currency {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue("three upper-case letters, such as EUR"))
        }
    }
}

/// The longest name on an account, in characters.
const MAX_OWNER_CHARS: usize = 100;

impl FromStr for Owner {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let blank = text.trim().is_empty();
        if blank || text.chars().count() > MAX_OWNER_CHARS || text.chars().any(char::is_control) {
            Err(InvalidValue(
                "a name of 1 to 100 characters, such as \"Alice\"",
            ))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl FromStr for Iban {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let is_iban = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if (15..=34).contains(&text.len()) && text.bytes().all(is_iban) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidValue(
                "15 to 34 upper-case letters and digits, such as DE89370400440532013000",
            ))
        }
    }
}

macro_rules! impl_text_type {
    ($name:ident) => {
        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, InvalidValue> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

impl_text_type!(Currency);
impl_text_type!(Owner);
impl_text_type!(Iban);
