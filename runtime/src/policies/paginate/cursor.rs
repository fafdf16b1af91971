use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::{CursorKey, Direction, SortColumn};
use super::payload;
use super::position::Position;
use crate::problem::{Problem, registry};
use crate::request::Caller;
use crate::secret::{Key, KeyedHash, Secret};

/// The version of the cursor's form, and the number of the key that signs: one byte each.
pub(crate) const HEAD: [u8; 2] = [2, 0];
const MAC_BYTES: usize = 16;
const MAX_LENGTH: usize = 4096;

/// Makes and reads cursors: base64url of version, key id, payload and MAC.
///
/// The payload says in which direction the list is read. The MAC is over it and over what the cursor is bound
/// to, which stands nowhere in it.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    key: Key,
    /// What cursors were signed with before the secret was changed.
    previous: Option<Key>,
}

/// What a cursor belongs to; it is read nowhere else.
#[derive(Debug, Clone)]
pub(crate) struct Binding<'a> {
    pub(crate) route: &'a str,
    /// With the values of its parameters: the items of one order are not those of another.
    pub(crate) path: &'a str,
    pub(crate) filters: &'a [(String, String)],
    pub(crate) caller: Option<&'a Caller>,
}

/// The values of a key take too much room for a cursor.
#[derive(Debug)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the sort columns of a row are too long for a cursor, which has up to {MAX_LENGTH} characters"
        )
    }
}

impl std::error::Error for TooLong {}

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
    ) -> Result<String, TooLong> {
        let mut bytes = HEAD.to_vec();
        payload::write(&position.map(K::to_values), &mut bytes);
        let text = self.sign::<K>(bytes, binding);
        if text.len() > MAX_LENGTH {
            Err(TooLong)
        } else {
            Ok(text)
        }
    }

    /// The cursor of these bytes.
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
        self.try_read(text, binding).ok_or_else(invalid)
    }

    fn try_read<K: CursorKey>(&self, text: &str, binding: &Binding<'_>) -> Option<Position<K>> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let payload = signed.strip_prefix(&HEAD)?;
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

/// A cursor that does not belong to the list: the text is always the same.
pub(super) fn invalid() -> Problem {
    Problem::new(&registry::INVALID_CURSOR)
        .with_detail("the cursor does not belong to this list; start again without a cursor")
}

fn mac(key: &Key, signed: &[u8], binding: &Binding<'_>, columns: &[SortColumn]) -> KeyedHash {
    let (kind, id) = binding
        .caller
        .map_or(("anonymous", ""), |caller| ("caller", caller.id()));
    let mut hash = key
        .hash()
        .part(binding.route.as_bytes())
        .part(binding.path.as_bytes());
    hash.add(kind.as_bytes());
    hash.add(id.as_bytes());
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
