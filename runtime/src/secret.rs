//! The service's secret and the keys that are derived from it; keyed hashes, with or without a secret.

use core::fmt;

use blake3::Hasher;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::start::StartError;

/// The secret from which cursors get their key (HKDF-SHA-256, RFC 5869). All instances of a service
/// should share it: a cursor is read where its secret is known. Idempotency keys and limits do not
/// depend on it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The fewest bytes of a secret.
    pub const LEAST_BYTES: usize = 32;

    /// This secret.
    ///
    /// # Errors
    ///
    /// If it has fewer than [`LEAST_BYTES`](Self::LEAST_BYTES).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, StartError> {
        let bytes = bytes.into();
        if bytes.len() < Self::LEAST_BYTES {
            let length = bytes.len();
            return Err(StartError::new(format!(
                "a secret of {length} bytes is too short; at least 32 are needed"
            )));
        }
        Ok(Self(bytes))
    }

    /// A secret that no other process has.
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(bytes.to_vec())
    }

    /// The secret that a variable holds; `None` where it is not set.
    pub(crate) fn from_env(variable: &str) -> Result<Option<Self>, StartError> {
        // Any bytes will do: a secret need not be a text. It is never shown.
        let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let bytes = value.into_encoded_bytes();
        if bytes.len() < Self::LEAST_BYTES {
            let found = format!("expected at least 32 bytes, found {}", bytes.len());
            return Err(StartError::variable(variable, "…", found));
        }
        Ok(Some(Self(bytes)))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key for one purpose.
    pub(crate) fn key(&self, purpose: &str) -> Key {
        let mut okm = [0; 32];
        Hkdf::<Sha256>::new(Some(b"aplomb/1"), &self.0)
            .expand(purpose.as_bytes(), &mut okm)
            .expect("32 bytes are within what HKDF-SHA-256 gives");
        Key(okm)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key of one purpose, for BLAKE3 in its keyed mode, which is a pseudorandom function and a
/// message authentication code ("BLAKE3: one function, fast everywhere", 2020, §5.1 and §2).
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of a purpose that needs no secret (BLAKE3's key derivation over nothing): it keeps the
    /// hashes of one purpose apart from those of another. Everybody can compute it.
    pub(crate) fn of_purpose(context: &str) -> Self {
        Self(blake3::derive_key(context, b""))
    }

    /// The key of these bytes.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Starts a keyed hash.
    pub(crate) fn hash(&self) -> KeyedHash {
        KeyedHash {
            key: self.0,
            gathered: Vec::with_capacity(GATHERED),
            long: None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A keyed hash over parts, each with its length in front (a byte, or 255 and eight more), so that no
/// two lists of parts read alike.
pub(crate) struct KeyedHash {
    key: [u8; 32],
    /// Parts that are not hashed yet: a short list is cheapest hashed in one go.
    gathered: Vec<u8>,
    /// There once a part was long.
    long: Option<Box<Hasher>>,
}

const LONG_ENOUGH: &str = "a hash has 32 bytes";

/// Room for the parts of most hashes.
const GATHERED: usize = 320;

/// Longer parts are hashed where they stand.
const LONG: usize = 16 << 10;

impl KeyedHash {
    pub(crate) fn part(mut self, bytes: &[u8]) -> Self {
        self.add(bytes);
        self
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(short) if short < u8::MAX => self.gathered.push(short),
            _ => {
                self.gathered.push(u8::MAX);
                self.gathered
                    .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            }
        }
        self.add_plain(bytes);
    }

    /// Adds bytes without their length: the last of a list, or of a length that is always the same.
    pub(crate) fn add_plain(&mut self, bytes: &[u8]) {
        if bytes.len() < LONG {
            self.gathered.extend_from_slice(bytes);
            return;
        }
        let long = self
            .long
            .get_or_insert_with(|| Box::new(Hasher::new_keyed(&self.key)));
        long.update(&self.gathered).update(bytes);
        self.gathered.clear();
    }

    /// Lets a form be written behind the parts, as the last of the list; `None`, and nothing added,
    /// if there is no such form.
    pub(crate) fn add_form(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
    ) -> Option<()> {
        let length = self.gathered.len();
        let written = write(&mut self.gathered);
        if written.is_none() {
            self.gathered.truncate(length);
        }
        written
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        match self.long {
            None => blake3::keyed_hash(&self.key, &self.gathered).into(),
            Some(mut long) => long.update(&self.gathered).finalize().into(),
        }
    }

    /// The first half of the hash. With 128 bits nobody finds an input that has a given hash; who
    /// searches 2^64 inputs finds two of his own that share one, and gains nothing by that.
    pub(crate) fn finish_short(self) -> [u8; 16] {
        self.finish_halves().0
    }

    /// Both halves of the hash: the second cannot be computed from the first.
    pub(crate) fn finish_halves(self) -> ([u8; 16], [u8; 16]) {
        let hash = self.finish();
        let [first, second] = [hash.first_chunk(), hash.last_chunk()];
        (*first.expect(LONG_ENOUGH), *second.expect(LONG_ENOUGH))
    }

    /// Whether a tag is this hash, or its first half, compared in constant time.
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
    fn parts_do_not_run_together() {
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
    fn a_long_part_is_hashed_like_a_short_one() {
        let (key, long) = (Secret::random().key("test"), vec![7; LONG]);
        let parts: [&[u8]; 5] = [b"before", &long, b"", &long[1..255], &long[1..256]];
        let mut whole = Vec::new();
        for part in parts {
            match part.len() {
                length @ 0..=254 => whole.push(u8::try_from(length).expect("it fits")),
                length => whole.extend(iter::once(255).chain((length as u64).to_be_bytes())),
            }
            whole.extend(part);
        }
        let hash = parts
            .iter()
            .fold(key.hash(), |hash, part| hash.part(part))
            .finish();
        assert_eq!(hash, *blake3::keyed_hash(&key.0, &whole).as_bytes());
    }

    #[test]
    fn a_tag_is_the_hash_or_its_first_half() {
        let key = Secret::random().key("test");
        let (hash, tag) = (|| key.hash().part(b"a"), key.hash().part(b"a").finish());
        assert!(hash().verify(&tag) && hash().verify(&tag[..16]));
        assert!(!hash().verify(&tag[..15]) && !hash().verify(&[]) && !hash().verify(&[0; 32]));
    }

    #[test]
    fn purposes_have_keys_of_their_own() {
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
