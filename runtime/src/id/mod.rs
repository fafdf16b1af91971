//! Identifiers: `<prefix>_<ULID>`, such as `pay_01HZQK7P3WVXBN4Y9MRDTJC8E6`.

mod source;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(test)]
mod tests;

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::str::FromStr;
use std::time::SystemTime;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use ulid::Ulid;

use self::source::UlidSource;

/// A type of resource that has its own kind of identifier.
///
/// ```
/// use aplomb::{Id, Resource};
///
/// #[derive(Resource)]
/// #[resource(prefix = "pay")]
/// struct Payment;
///
/// let id: Id<Payment> = "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6".parse().unwrap();
/// assert_eq!(id.to_string(), "pay_01HZQK7P3WVXBN4Y9MRDTJC8E6");
/// assert!("acc_01HZQK7P3WVXBN4Y9MRDTJC8E6".parse::<Id<Payment>>().is_err());
/// ```
pub trait Resource {
    /// The text before the `_`: `[a-z][a-z0-9_]{0,30}`.
    const PREFIX: &'static str;
}

/// The identifier of a resource `T`: its prefix and a ULID. It is written in upper case, and read
/// in upper and lower case.
///
/// An identifier is text in paths, queries and JSON (also as the name of a member), and for serde,
/// [`FromStr`] and [`Display`](fmt::Display). An invalid text is rejected: in a path or query with
/// a 400 `INVALID_PARAMETER`, in a JSON body with a 422 `VALIDATION_FAILED`. Both problems name the
/// invalid parameter or member. Identifiers of different resources are different types.
///
/// Identifiers increase within a process, also within one millisecond and when the clock steps
/// back. So they are sorted by their time of creation, also as text. Identifiers are not secret.
/// Each identifier contains its time of creation, and a client that has one identifier can guess
/// others of the same millisecond.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use aplomb::{Id, Resource};
///
/// #[derive(Resource)]
/// #[resource(prefix = "acc")]
/// struct Account;
///
/// let (first, second) = (Id::<Account>::new(), Id::<Account>::new());
/// assert!(first < second && first.to_string() < second.to_string());
///
/// let balances = BTreeMap::from([(first, 7)]);
/// assert_eq!(serde_json::to_string(&balances).unwrap(), format!("{{\"{first}\":7}}"));
/// assert_eq!(Id::<Account>::pattern(), "^acc_[0-7][0-9A-HJKMNP-TV-Z]{25}$");
/// ```
pub struct Id<T> {
    ulid: Ulid,
    resource: PhantomData<fn() -> T>,
}

/// The source of all identifiers of the process.
static SOURCE: UlidSource = UlidSource::new();

impl<T> Id<T> {
    /// Generates the next identifier.
    ///
    /// # Errors
    ///
    /// Returns [`IdOverflow`] if the random part of the last identifier cannot be incremented. This
    /// is unlikely in practice, because the random part has 80 bits.
    pub fn generate() -> Result<Self, IdOverflow> {
        SOURCE
            .next(SystemTime::now(), &mut rand::rng())
            .map(Self::from_ulid)
    }

    /// Generates the next identifier.
    ///
    /// # Panics
    ///
    /// Panics if [`generate`](Self::generate) fails.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would mislead"
    )]
    pub fn new() -> Self {
        Self::generate().expect("fewer than 2^80 identifiers a millisecond")
    }

    /// Creates the identifier with this ULID.
    pub const fn from_ulid(ulid: Ulid) -> Self {
        Self {
            ulid,
            resource: PhantomData,
        }
    }

    /// Returns the ULID.
    pub const fn ulid(&self) -> Ulid {
        self.ulid
    }

    /// Returns the time of creation in milliseconds since 1970.
    pub const fn timestamp_ms(&self) -> u64 {
        self.ulid.timestamp_ms()
    }
}

impl<T: Resource> Id<T> {
    /// Returns a regular expression for identifiers, for the description of an API.
    ///
    /// The expression matches only upper case, although lower case is also read. A client that
    /// checks the pattern therefore always sends the same spelling for the same identifier.
    pub fn pattern() -> String {
        format!("^{}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}$", T::PREFIX)
    }
}

/// The error if the random part of an identifier cannot be incremented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdOverflow;

impl fmt::Display for IdOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no identifier is left in this millisecond: try again in the next one")
    }
}

impl std::error::Error for IdOverflow {}

/// The error for a text that is not an identifier of the expected type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    prefix: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected an identifier such as {}_01HZQK7P3WVXBN4Y9MRDTJC8E6",
            self.prefix
        )
    }
}

impl std::error::Error for InvalidId {}

impl<T: Resource> FromStr for Id<T> {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.strip_prefix(T::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(parse_ulid)
            .map(Self::from_ulid)
            .ok_or(InvalidId { prefix: T::PREFIX })
    }
}

/// Parses a ULID. Refuses texts that decoders read differently: texts of more than 128 bits, and
/// letters that Crockford's base 32 excludes or reads as digits.
fn parse_ulid(text: &str) -> Option<Ulid> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(&byte);
    let is_valid = text.len() == 26 && text.as_bytes()[0] <= b'7' && text.bytes().all(is_allowed);
    if is_valid {
        Ulid::from_string(&text.to_ascii_uppercase()).ok()
    } else {
        None
    }
}

impl<T: Resource> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        f.write_str(T::PREFIX)?;
        f.write_str("_")?;
        f.write_str(self.ulid.array_to_str(&mut buffer))
    }
}

impl<T: Resource> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ulid == other.ulid
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ulid.cmp(&other.ulid)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ulid.hash(state);
    }
}

impl<T: Resource> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Resource> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IdVisitor(PhantomData))
    }
}

struct IdVisitor<T>(PhantomData<T>);

impl<T: Resource> Visitor<'_> for IdVisitor<T> {
    type Value = Id<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an identifier such as {}_01HZQK7P3WVXBN4Y9MRDTJC8E6",
            T::PREFIX
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Id<T>, E> {
        text.parse().map_err(E::custom)
    }
}
