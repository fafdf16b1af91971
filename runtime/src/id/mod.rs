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

use self::source::Source;

/// A kind of thing that has identifiers of its own.
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
    /// What stands before the `_`: `[a-z][a-z0-9_]{0,30}`.
    const PREFIX: &'static str;
}

/// The identifier of a `T`: its prefix and a ULID. Upper case out, any case in.
///
/// It reads and writes itself as text: in paths, queries, JSON (also as the name of a member) and wherever
/// else serde, [`FromStr`] or [`Display`](fmt::Display) is asked. A text that is not one is refused where it is
/// read: in a path or query with 400 `INVALID_PARAMETER`, in a JSON body with 422 `VALIDATION_FAILED`, each naming
/// the place. Identifiers of different resources are different types.
///
/// Identifiers rise within a process, also within one millisecond and when the clock steps back, so
/// they sort by the time of their birth, as text, too. They are not secrets: each tells that time, and whoever
/// has one can guess at those made in the same millisecond.
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

/// That of the process, for all kinds of resources.
static SOURCE: Source = Source::new();

impl<T> Id<T> {
    /// The next identifier.
    ///
    /// # Errors
    ///
    /// [`IdOverflow`] if 2^80 identifiers were made in one millisecond.
    pub fn generate() -> Result<Self, IdOverflow> {
        SOURCE
            .next(SystemTime::now(), &mut rand::rng())
            .map(Self::from_ulid)
    }

    /// The next identifier.
    ///
    /// # Panics
    ///
    /// Where [`generate`](Self::generate) fails: if the random part of the last identifier of this
    /// millisecond cannot be raised, which no service lives to see.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs each time would mislead"
    )]
    pub fn new() -> Self {
        Self::generate().expect("fewer than 2^80 identifiers a millisecond")
    }

    /// The identifier with this ULID.
    pub const fn from_ulid(ulid: Ulid) -> Self {
        Self {
            ulid,
            resource: PhantomData,
        }
    }

    /// The ULID.
    pub const fn ulid(&self) -> Ulid {
        self.ulid
    }

    /// When it was made, in milliseconds since 1970.
    pub const fn timestamp_ms(&self) -> u64 {
        self.ulid.timestamp_ms()
    }
}

impl<T: Resource> Id<T> {
    /// What an identifier looks like as it is written, as a regular expression that descriptions of APIs take.
    ///
    /// It describes what a client gets and should send back. Lower case is read, too, and is left out, so
    /// that a client that checks the pattern sends each identifier in its one spelling.
    pub fn pattern() -> String {
        format!("^{}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}$", T::PREFIX)
    }
}

/// The random part of an identifier could not be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdOverflow;

impl fmt::Display for IdOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no identifier left in this millisecond")
    }
}

impl std::error::Error for IdOverflow {}

/// A text that is no identifier of the kind that was asked for.
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

/// Refuses what decoders differ on: more than 128 bits, and the letters that Crockford's base 32
/// leaves out or reads as digits.
fn parse_ulid(text: &str) -> Option<Ulid> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(&byte);
    let fits = text.len() == 26 && text.as_bytes()[0] <= b'7' && text.bytes().all(plain);
    if fits {
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
