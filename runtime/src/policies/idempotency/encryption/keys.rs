use core::fmt;
use std::env::{self, VarError};

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::start::{StartError, StartErrors};

/// The keys that encrypt responses before a store gets them. The first key encrypts, and all keys
/// decrypt. With [`decrypt_only`](Self::decrypt_only) no key encrypts.
///
/// Each key has an id, which is stored beside each response that the key has encrypted. Never use
/// the id of one key for another key. An attacker who has a key can read and forge the responses
/// that the key encrypts.
///
/// ```
/// use aplomb::policies::idempotency::EncryptionKeys;
///
/// let [new, old] = [[1; 32], [2; 32]]; // Read them from your secret store.
/// let keys = EncryptionKeys::new("2026-11", new)?.with_key("2026-05", old)?;
/// assert!(keys.ids().eq(["2026-11", "2026-05"]));
/// # Ok::<_, aplomb::StartError>(())
/// ```
///
/// [`Api::encryption_keys`](crate::Api::encryption_keys) describes how to rotate keys.
#[derive(Clone)]
pub struct EncryptionKeys {
    first: EncryptionKey,
    others: Vec<EncryptionKey>,
    decrypt_only: bool,
}

#[derive(Clone)]
struct EncryptionKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// The environment variable that an API reads.
const VARIABLE: &str = "APLOMB_ENCRYPTION_KEYS";

const EXPECTED: &str = "expected <id>:<key>, several separated by commas, the encrypting key \
                        first; such as 2026-11: followed by the output of `openssl rand -base64 32`";

impl EncryptionKeys {
    /// Creates a set with one key. The key is 32 random bytes, and the id is 1 to 16 characters of
    /// `[A-Za-z0-9_-]`.
    ///
    /// # Errors
    ///
    /// Fails if the id has another length or other characters.
    pub fn new(id: &str, key: [u8; 32]) -> Result<Self, StartError> {
        let first = EncryptionKey::new(id, key).map_err(StartError::new)?;
        Ok(Self {
            first,
            others: Vec::new(),
            decrypt_only: false,
        })
    }

    /// Adds a key that decrypts and does not encrypt.
    ///
    /// # Errors
    ///
    /// Fails if the id has another length or other characters, or if another key has the same id.
    pub fn with_key(mut self, id: &str, key: [u8; 32]) -> Result<Self, StartError> {
        let key = EncryptionKey::new(id, key).map_err(StartError::new)?;
        self.add(key).map_err(StartError::new)?;
        Ok(self)
    }

    /// Makes all keys decrypt only.
    ///
    /// During a deployment that switches encryption on or off, some instances encrypt and others do
    /// not. The others need the keys in this form to replay the encrypted responses.
    #[must_use]
    pub fn decrypt_only(mut self) -> Self {
        self.decrypt_only = true;
        self
    }

    /// Parses the value of `APLOMB_ENCRYPTION_KEYS`: entries `<id>:<key>`, separated by commas,
    /// with keys in base64 (RFC 4648 §4 or §5, with or without padding). If the first entry is the
    /// word `clear`, the keys only decrypt.
    ///
    /// # Errors
    ///
    /// Returns one error for each invalid entry. No error contains a part of the entry, which may
    /// be a key.
    pub fn parse(text: &str) -> Result<Self, StartErrors> {
        let (mut keys, mut errors) = (None, StartErrors::new());
        let mut entries = text.split(',').enumerate().peekable();
        let decrypt_only = entries
            .next_if(|(_, entry)| entry.trim() == "clear")
            .is_some();
        for (index, entry) in entries {
            if let Err(reason) =
                EncryptionKey::parse(entry.trim()).and_then(|key| add(&mut keys, key))
            {
                // The error shows no part of the entry, because the id and the key may be swapped.
                errors.push(StartError::variable(
                    VARIABLE,
                    "…",
                    format!("entry {}: {reason}", index + 1),
                ));
            }
        }
        errors.into_result()?;
        let without_keys = if decrypt_only {
            "no key follows `clear`, which makes the keys decrypt only; add at least one <id>:<key>"
        } else {
            EXPECTED
        };
        let keys: Self = keys.ok_or_else(|| StartError::variable(VARIABLE, text, without_keys))?;
        Ok(Self {
            decrypt_only,
            ..keys
        })
    }

    /// Returns the ids of the keys; the id of the encrypting key is first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|key| key.id.as_str())
    }

    /// Reads `APLOMB_ENCRYPTION_KEYS`. Returns `None` if the variable is not set.
    pub(crate) fn from_env() -> Result<Option<Self>, StartErrors> {
        match env::var(VARIABLE) {
            // An empty value is an error, because probably a secret was not mounted. If it counted
            // as unset, responses would be stored in plain form without a warning.
            Ok(text) if text.is_empty() => Err(StartError::variable(VARIABLE, "", EXPECTED).into()),
            Ok(text) => Self::parse(&text).map(Some),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(StartError::variable(VARIABLE, "…", EXPECTED).into())
            }
        }
    }

    /// Returns the encrypting key; `None` if the keys only decrypt.
    pub(super) fn encryption_key(&self) -> Option<(&KeyId, &XChaCha20Poly1305)> {
        (!self.decrypt_only).then_some((&self.first.id, &self.first.cipher))
    }

    pub(super) fn find_cipher(&self, id: &KeyId) -> Option<&XChaCha20Poly1305> {
        self.iter().find(|key| key.id == *id).map(|key| &key.cipher)
    }

    fn iter(&self) -> impl Iterator<Item = &EncryptionKey> {
        core::iter::once(&self.first).chain(&self.others)
    }

    fn add(&mut self, key: EncryptionKey) -> Result<(), String> {
        if self.find_cipher(&key.id).is_some() {
            return Err(String::from(
                "another key has the same id; give each key its own id",
            ));
        }
        self.others.push(key);
        Ok(())
    }
}

/// Adds a key. The first key that is added encrypts.
fn add(keys: &mut Option<EncryptionKeys>, key: EncryptionKey) -> Result<(), String> {
    match keys {
        Some(keys) => keys.add(key),
        None => {
            *keys = Some(EncryptionKeys {
                first: key,
                others: Vec::new(),
                decrypt_only: false,
            });
            Ok(())
        }
    }
}

impl EncryptionKey {
    fn new(id: &str, key: [u8; 32]) -> Result<Self, String> {
        let id = KeyId::new(id)
            .ok_or("the id of the key must be 1 to 16 characters of [A-Za-z0-9_-]")?;
        Ok(Self {
            id,
            cipher: XChaCha20Poly1305::new(&key.into()),
        })
    }

    fn parse(entry: &str) -> Result<Self, String> {
        if entry == "clear" {
            return Err(String::from(
                "`clear` must be the first entry; move it before all keys, or remove it",
            ));
        }
        let (id, key) = entry.split_once(':').ok_or(EXPECTED)?;
        if id.is_empty() {
            return Err(String::from(
                "the id before the colon is missing; expected <id>:<key>",
            ));
        }
        Self::new(id, key_from_base64(key)?)
    }
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.decrypt_only {
            "EncryptionKeys(decrypt only)"
        } else {
            "EncryptionKeys"
        })?;
        f.debug_list().entries(self.ids()).finish()
    }
}

fn key_from_base64(text: &str) -> Result<[u8; 32], String> {
    const HOW_TO_MAKE_A_KEY: &str = "make one with `openssl rand -base64 32`";
    let url_safe = text.contains(['-', '_']);
    let bytes = base64_engine(if url_safe { &URL_SAFE } else { &STANDARD }).decode(text);
    let bytes = bytes.map_err(|_| format!("the key is not base64; {HOW_TO_MAKE_A_KEY}"))?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| format!("expected a key of 32 bytes, found {length}; {HOW_TO_MAKE_A_KEY}"))
}

/// Returns an engine that decodes base64 with or without padding.
fn base64_engine(alphabet: &Alphabet) -> GeneralPurpose {
    let padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, padding)
}

/// The id of a key: 1 to 16 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyId(Box<str>);

impl KeyId {
    pub(super) fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        ((1..=16).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    pub(super) const fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the length in bytes.
    pub(super) fn length(&self) -> u8 {
        u8::try_from(self.0.len()).expect("an id has at most 16 characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 bytes in base64.
    const KEY: &str = "//////////////////////////////////////////8=";

    fn errors(text: &str) -> Vec<String> {
        let errors = EncryptionKeys::parse(text).expect_err("wrong keys");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a26_the_first_key_encrypts_and_all_keys_decrypt() {
        let keys =
            EncryptionKeys::parse(&format!("b:{KEY}, a:{KEY},c-_9:{KEY}")).expect("valid keys");
        assert!(keys.ids().eq(["b", "a", "c-_9"]));
        assert_eq!(keys.encryption_key().map(|(id, _)| id.as_str()), Some("b"));
        assert!(
            ["a", "b", "c-_9"]
                .into_iter()
                .all(|id| keys.find_cipher(&KeyId::new(id).expect("an id")).is_some())
        );
    }

    #[test]
    fn a26_keys_after_the_word_clear_only_decrypt() {
        for keys in [
            EncryptionKeys::parse(&format!("clear,b:{KEY},a:{KEY}")).expect("valid keys"),
            EncryptionKeys::parse(&format!("b:{KEY},a:{KEY}"))
                .expect("valid keys")
                .decrypt_only(),
        ] {
            assert!(keys.ids().eq(["b", "a"]) && keys.encryption_key().is_none());
            assert_eq!(
                format!("{keys:?}"),
                r#"EncryptionKeys(decrypt only)["b", "a"]"#
            );
        }
        let late = errors(&format!("b:{KEY},clear"));
        assert!(late.len() == 1 && late[0].contains("entry 2: `clear` must be the first entry;"));
        assert!(
            errors("clear")[0]
                .starts_with("APLOMB_ENCRYPTION_KEYS=\"clear\": no key follows `clear`")
        );
    }

    #[test]
    fn a26_both_base64_alphabets_are_accepted_with_or_without_padding() {
        let bare = KEY.trim_end_matches('=');
        for key in [KEY, bare, &KEY.replace('/', "_"), &bare.replace('/', "_")] {
            assert_eq!(key_from_base64(key), Ok([0xff; 32]), "{key}");
        }
    }

    #[test]
    fn a26_each_invalid_entry_is_reported_without_its_text() {
        let long_id = "a".repeat(17);
        for (entry, reason) in [
            (
                String::new(),
                "expected <id>:<key>, several separated by commas, the encrypting key first; \
                 such as 2026-11:",
            ),
            (String::from(KEY), "expected <id>:<key>"),
            (format!(":{KEY}"), "the id before the colon is missing"),
            (
                format!("a b:{KEY}"),
                "the id of the key must be 1 to 16 characters of [A-Za-z0-9_-]",
            ),
            (
                format!("{long_id}:{KEY}"),
                "the id of the key must be 1 to 16 characters",
            ),
            (
                format!("ok:{KEY}"),
                "another key has the same id; give each key its own id",
            ),
            (
                String::from("a:"),
                "expected a key of 32 bytes, found 0; make one with `openssl rand -base64 32`",
            ),
            (
                String::from("a:c2hvcnQ"),
                "expected a key of 32 bytes, found 5; make one with",
            ),
            (
                format!("a:{KEY}{KEY}"),
                "the key is not base64; make one with `openssl rand -base64 32`",
            ),
            (String::from("a:+_"), "the key is not base64"),
        ] {
            let errors = errors(&format!("ok:{KEY},{entry}"));
            let start = format!("APLOMB_ENCRYPTION_KEYS=\"…\": entry 2: {reason}");
            assert!(
                errors.len() == 1 && errors[0].starts_with(&start),
                "{entry}: {errors:?}"
            );
            assert!(
                !errors[0].contains("////") && !errors[0].contains("c2hvcnQ"),
                "{errors:?}"
            );
        }
        assert_eq!(
            errors("a,b:,c:x").len(),
            3,
            "all errors are reported together"
        );
    }

    #[test]
    fn a26_debug_shows_only_the_ids_of_keys() {
        let keys = EncryptionKeys::new("a", [7; 32]).and_then(|keys| keys.with_key("b", [8; 32]));
        assert_eq!(format!("{keys:?}"), r#"Ok(EncryptionKeys["a", "b"])"#);
        assert!(
            EncryptionKeys::new("a", [7; 32])
                .and_then(|keys| keys.with_key("a", [8; 32]))
                .is_err()
        );
        assert!(EncryptionKeys::new("", [7; 32]).is_err());
    }
}
