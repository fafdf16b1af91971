//! The service's secret, the keys that are derived from it, and keyed hashes.

use core::fmt;

use blake3::Hasher;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::start::StartError;

/// The secret from which the key of cursors is derived (HKDF-SHA-256, RFC 5869).
///
/// All instances of a service should share it: an instance accepts only cursors that were signed
/// with its own secret. Idempotency keys and rate limits do not depend on the secret.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The minimal length of a secret in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Creates a secret from these bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if there are fewer than [`MIN_BYTES`](Self::MIN_BYTES) bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, StartError> {
        let bytes = bytes.into();
        if bytes.len() < Self::MIN_BYTES {
            let length = bytes.len();
            return Err(StartError::new(format!(
                "a secret of {length} bytes is too short; expected at least 32 bytes"
            )));
        }
        Ok(Self(bytes))
    }

    /// Creates a random secret of 32 bytes.
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(bytes.to_vec())
    }

    /// Reads the secret from an environment variable; `None` if the variable is empty or not set.
    pub(crate) fn from_env(variable: &str) -> Result<Option<Self>, StartError> {
        // A secret may be any bytes, also bytes that are not UTF-8. Errors never show the secret.
        let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let bytes = value.into_encoded_bytes();
        if bytes.len() < Self::MIN_BYTES {
            let found = format!("expected at least 32 bytes, found {}", bytes.len());
            return Err(StartError::variable(variable, "…", found));
        }
        Ok(Some(Self(bytes)))
    }

    #[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Derives the key for one purpose.
    pub(crate) fn key(&self, purpose: &str) -> Key {
        let mut okm = [0; 32];
        Hkdf::<Sha256>::new(Some(b"aplomb/1"), &self.0)
            .expand(purpose.as_bytes(), &mut okm)
            .expect("HKDF-SHA-256 can output 32 bytes");
        Key(okm)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key for keyed BLAKE3, which is used for one purpose only.
///
/// Keyed BLAKE3 is a pseudorandom function and a message authentication code ("BLAKE3: one
/// function, fast everywhere", 2020, §5.1 and §2).
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Derives the key of a purpose that needs no secret, with BLAKE3's key derivation over an
    /// empty input. Different purposes have different keys, so their hashes differ. Anyone can
    /// compute such a key.
    pub(crate) fn of_purpose(context: &str) -> Self {
        Self(blake3::derive_key(context, b""))
    }

    /// Creates the key from these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Starts a keyed hash.
    pub(crate) fn hash(&self) -> KeyedHash {
        KeyedHash {
            key: self.0,
            buffer: Vec::with_capacity(BUFFER_CAPACITY),
            hasher: None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A keyed hash over a list of parts.
///
/// Each part is preceded by its length (one byte, or the byte 255 and then eight bytes), so that
/// different lists never have the same bytes.
pub(crate) struct KeyedHash {
    key: [u8; 32],
    /// The parts that are not hashed yet. A short list is hashed fastest in one call.
    buffer: Vec<u8>,
    /// The state of the hash after the first long part; `None` before that part.
    hasher: Option<Box<Hasher>>,
}

const HASH_LENGTH: &str = "a hash has 32 bytes";

/// The initial capacity of the buffer in bytes, which is enough for most hashes.
const BUFFER_CAPACITY: usize = 320;

/// The minimum length in bytes of a part that is hashed without a copy into the buffer.
const LONG_PART: usize = 16 << 10;

impl KeyedHash {
    /// Adds a part and returns the hash, for chains of calls.
    pub(crate) fn part(mut self, bytes: &[u8]) -> Self {
        self.add(bytes);
        self
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(short) if short < u8::MAX => self.buffer.push(short),
            _ => {
                self.buffer.push(u8::MAX);
                self.buffer
                    .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            }
        }
        self.add_without_length(bytes);
    }

    /// Adds bytes without their length. They must be the last part, or always have the same length.
    pub(crate) fn add_without_length(&mut self, bytes: &[u8]) {
        if bytes.len() < LONG_PART {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        let hasher = self
            .hasher
            .get_or_insert_with(|| Box::new(Hasher::new_keyed(&self.key)));
        hasher.update(&self.buffer).update(bytes);
        self.buffer.clear();
    }

    /// Adds the bytes that `write` appends to the buffer, without their length. They must be the
    /// last part. If `write` returns `None`, nothing is added.
    pub(crate) fn add_written(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        let length = self.buffer.len();
        let written = write(&mut self.buffer);
        if written.is_none() {
            self.buffer.truncate(length);
        }
        written
    }

    /// Returns the hash.
    pub(crate) fn finish(self) -> [u8; 32] {
        match self.hasher {
            None => blake3::keyed_hash(&self.key, &self.buffer).into(),
            Some(mut hasher) => hasher.update(&self.buffer).finalize().into(),
        }
    }

    /// Returns the first half of the hash.
    ///
    /// An attacker cannot find an input for a given hash of 128 bits. With 2^64 inputs, an attacker
    /// can find two inputs with the same hash, but both are the attacker's own inputs, so this is
    /// of no use.
    pub(crate) fn finish_short(self) -> [u8; 16] {
        self.finish_halves().0
    }

    /// Returns both halves of the hash. The second half cannot be computed from the first.
    pub(crate) fn finish_halves(self) -> ([u8; 16], [u8; 16]) {
        let hash = self.finish();
        let [first, second] = [hash.first_chunk(), hash.last_chunk()];
        (*first.expect(HASH_LENGTH), *second.expect(HASH_LENGTH))
    }

    /// Returns `true` if a tag equals this hash or its first half. Compares in constant time, so
    /// that response times reveal no part of the hash.
    pub(crate) fn verify(self, tag: &[u8]) -> bool {
        let hash = self.finish();
        matches!(tag.len(), 16 | 32) && bool::from(hash[..tag.len()].ct_eq(tag))
    }
}

#[cfg(test)]
mod tests {
    use core::iter;

    use super::*;

    #[test]
    fn different_lists_of_parts_have_different_hashes() {
        let key = Secret::random().key("test");
        let hash = |parts: &[&[u8]]| {
            parts
                .iter()
                .fold(key.hash(), |hash, part| hash.part(part))
                .finish()
        };
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"ab"]), hash(&[b"ab", b""]));
    }

    #[test]
    fn a_long_part_is_hashed_like_a_short_part() {
        let (key, long) = (Secret::random().key("test"), vec![7; LONG_PART]);
        let parts: [&[u8]; 5] = [b"before", &long, b"", &long[1..255], &long[1..256]];
        let mut concatenated = Vec::new();
        for part in parts {
            match part.len() {
                length @ 0..=254 => concatenated.push(u8::try_from(length).expect("it fits")),
                length => concatenated.extend(iter::once(255).chain((length as u64).to_be_bytes())),
            }
            concatenated.extend(part);
        }
        let hash = parts
            .iter()
            .fold(key.hash(), |hash, part| hash.part(part))
            .finish();
        assert_eq!(hash, *blake3::keyed_hash(&key.0, &concatenated).as_bytes());
    }

    #[test]
    fn a_tag_verifies_if_it_is_the_hash_or_its_first_half() {
        let key = Secret::random().key("test");
        let (hash, tag) = (|| key.hash().part(b"a"), key.hash().part(b"a").finish());
        assert!(hash().verify(&tag) && hash().verify(&tag[..16]));
        assert!(!hash().verify(&tag[..15]) && !hash().verify(&[]) && !hash().verify(&[0; 32]));
    }

    #[test]
    fn keys_of_different_purposes_differ() {
        let secret = Secret::random();
        assert_ne!(
            secret.key("a").hash().finish(),
            secret.key("b").hash().finish()
        );
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(Secret::new([1; 31]).is_err());
        assert!(Secret::new([1; 32]).is_ok());
    }
}
