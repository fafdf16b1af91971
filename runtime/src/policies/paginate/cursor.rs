use core::fmt;
use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::{CursorKey, Direction, SortColumn};
use super::payload;
use super::position::Position;
use crate::problem::{Problem, registry};
use crate::request::Caller;
use crate::secret::{Key, KeyedHash, Secret};

/// The format version and the key id, one byte each. The key id is always 0. It need not select a
/// key, because a reader tries both the current and the previous key.
pub(crate) const HEADER: [u8; 2] = [2, 0];
const MAC_BYTES: usize = 16;
/// The maximum length of a cursor in characters. A URI with such a cursor stays within the limits
/// of common proxies.
const MAX_LENGTH: usize = 4096;

/// A writer and reader of cursors. A cursor is the base64url form of version, key id, payload and
/// MAC.
///
/// The payload contains the direction. The MAC covers the payload and the binding of the cursor,
/// which is not part of the cursor itself.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    key: Key,
    /// The key before the last change of the secret, for cursors that clients still have.
    previous: Option<Key>,
}

/// The list to which a cursor belongs. The cursor is invalid in any other list.
#[derive(Debug, Clone)]
pub(crate) struct Binding<'a> {
    pub(crate) route: &'a str,
    /// The decoded path with the values of its parameters. It makes a cursor for the items of one
    /// order invalid for another order.
    pub(crate) path: Cow<'a, [u8]>,
    pub(crate) filters: &'a [(String, String)],
    pub(crate) caller: Option<&'a Caller>,
}

/// The error for a sort key whose values are too long for a cursor.
#[derive(Debug)]
pub(crate) struct CursorTooLong;

impl fmt::Display for CursorTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the sort columns of a row are too long for a cursor, which has at most {MAX_LENGTH} characters"
        )
    }
}

impl std::error::Error for CursorTooLong {}

impl Cursors {
    pub(crate) fn new(secret: &Secret, previous: Option<&Secret>, namespace: &str) -> Self {
        let key = |secret: &Secret| secret.key(&format!("cursor/{namespace}"));
        Self {
            key: key(secret),
            previous: previous.map(key),
        }
    }

    pub(crate) fn write<K: CursorKey>(
        &self,
        position: Position<&K>,
        binding: &Binding<'_>,
    ) -> Result<String, CursorTooLong> {
        let mut bytes = HEADER.to_vec();
        payload::write(&position.map(K::to_values), &mut bytes);
        let text = self.sign::<K>(bytes, binding);
        if text.len() > MAX_LENGTH {
            Err(CursorTooLong)
        } else {
            Ok(text)
        }
    }

    /// Appends the MAC to these bytes and encodes them.
    pub(crate) fn sign<K: CursorKey>(&self, mut bytes: Vec<u8>, binding: &Binding<'_>) -> String {
        let mac = mac(&self.key, &bytes, binding, K::COLUMNS).finish_short();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn read<K: CursorKey>(
        &self,
        text: &str,
        binding: &Binding<'_>,
    ) -> Result<Position<K>, Problem> {
        self.try_read(text, binding).ok_or_else(invalid_cursor)
    }

    fn try_read<K: CursorKey>(&self, text: &str, binding: &Binding<'_>) -> Option<Position<K>> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let payload = signed.strip_prefix(&HEADER)?;
        let mut keys = core::iter::once(&self.key).chain(&self.previous);
        if !keys.any(|key| self::mac(key, signed, binding, K::COLUMNS).verify(mac)) {
            return None;
        }
        Some(match payload::read(payload)? {
            Position::Start => Position::Start,
            Position::After(values) => Position::After(K::from_values(values)?),
            Position::Before(values) => Position::Before(K::from_values(values)?),
            Position::End => Position::End,
        })
    }
}

/// Returns the 400 for an invalid cursor. The text is the same for every reason, because a reason
/// could help an attacker.
pub(super) fn invalid_cursor() -> Problem {
    Problem::new(&registry::INVALID_CURSOR)
        .with_detail("the cursor does not belong to this list: start again without a cursor")
}

fn mac(key: &Key, signed: &[u8], binding: &Binding<'_>, columns: &[SortColumn]) -> KeyedHash {
    let (kind, id) = binding
        .caller
        .map_or(("anonymous", ""), |caller| ("caller", caller.id()));
    let mut hash = key
        .hash()
        .part(binding.route.as_bytes())
        .part(&binding.path);
    hash.add(kind.as_bytes());
    hash.add(id.as_bytes());
    // The counts separate the filters from the columns. Without them, a filter and a column could
    // give the same hashed bytes.
    hash.add(&binding.filters.len().to_be_bytes());
    for (name, value) in binding.filters {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    hash.add(&columns.len().to_be_bytes());
    for SortColumn { name, direction } in columns {
        hash.add(name.as_bytes());
        hash.add(if *direction == Direction::Ascending {
            b"asc"
        } else {
            b"desc"
        });
    }
    hash.part(signed)
}

#[cfg(test)]
mod tests;
