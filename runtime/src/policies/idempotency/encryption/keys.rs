use core::fmt;
use std::env::{self, VarError};

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::start::{StartError, StartErrors};

/// The keys with which answers are sealed before a store keeps them: the first seals, all open. Or
/// they [only open](Self::decrypt_only).
///
/// Each has an id, which is kept beside what it has sealed; an id never gets another key. Anybody
/// who has a key can read, and forge, what it has sealed.
///
/// ```
/// use aplomb::policies::idempotency::EncryptionKeys;
///
/// let [new, old] = [[1; 32], [2; 32]]; // From wherever secrets are kept.
/// let keys = EncryptionKeys::new("2026-11", new)?.with_key("2026-05", old)?;
/// assert!(keys.ids().eq(["2026-11", "2026-05"]));
/// # Ok::<_, aplomb::StartError>(())
/// ```
///
/// [`Api::encryption_keys`](crate::Api::encryption_keys) says how keys are changed.
#[derive(Clone)]
pub struct EncryptionKeys {
    first: EncryptionKey,
    others: Vec<EncryptionKey>,
    only_open: bool,
}

#[derive(Clone)]
struct EncryptionKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// The variable that an API reads.
const VARIABLE: &str = "APLOMB_ENCRYPTION_KEYS";

const FORM: &str = "expected id:key, separated by commas, the one that seals first; such as 2026-11: and what \
                    `openssl rand -base64 32` prints";

impl EncryptionKeys {
    /// One key, of 32 random bytes, by its id: 1 to 16 characters of `[A-Za-z0-9_-]`.
    ///
    /// # Errors
    ///
    /// If the id is none.
    pub fn new(id: &str, key: [u8; 32]) -> Result<Self, StartError> {
        let first = EncryptionKey::new(id, key).map_err(StartError::new)?;
        Ok(Self {
            first,
            others: Vec::new(),
            only_open: false,
        })
    }

    /// The same, with a key that only opens.
    ///
    /// # Errors
    ///
    /// If the id is none, or there already.
    pub fn with_key(mut self, id: &str, key: [u8; 32]) -> Result<Self, StartError> {
        let key = EncryptionKey::new(id, key).map_err(StartError::new)?;
        self.add(key).map_err(StartError::new)?;
        Ok(self)
    }

    /// The same keys, none of which seals: for instances that are to read what others seal already, or
    /// still.
    #[must_use]
    pub fn decrypt_only(mut self) -> Self {
        self.only_open = true;
        self
    }

    /// Keys in the form of `APLOMB_ENCRYPTION_KEYS`: `<id>:<key>` each, separated by commas; keys in base64
    /// (RFC 4648 §4 or §5, with or without padding). Behind the word `clear` in the first place they
    /// only open.
    ///
    /// # Errors
    ///
    /// One for each entry that is wrong. None shows a part of it.
    pub fn parse(text: &str) -> Result<Self, StartErrors> {
        let (mut keys, mut errors) = (None, StartErrors::new());
        let mut entries = text.split(',').enumerate().peekable();
        let only_open = entries
            .next_if(|(_, entry)| entry.trim() == "clear")
            .is_some();
        for (index, entry) in entries {
            if let Err(why) = EncryptionKey::parse(entry.trim()).and_then(|key| add(&mut keys, key))
            {
                // Id and key may have changed places.
                errors.push(StartError::variable(
                    VARIABLE,
                    "…",
                    format!("entry {}: {why}", index + 1),
                ));
            }
        }
        errors.into_result()?;
        let none = if only_open {
            "no key stands behind `clear`, which says that keys only open"
        } else {
            FORM
        };
        let keys: Self = keys.ok_or_else(|| StartError::variable(VARIABLE, text, none))?;
        Ok(Self { only_open, ..keys })
    }

    /// The ids, that of the key that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|key| key.id.as_str())
    }

    /// The keys in `APLOMB_ENCRYPTION_KEYS`; `None` where it is not set.
    pub(crate) fn from_env() -> Result<Option<Self>, StartErrors> {
        match env::var(VARIABLE) {
            // Set to nothing are keys that did not arrive, and no wish for answers in the clear.
            Ok(text) if text.is_empty() => Err(StartError::variable(VARIABLE, "", FORM).into()),
            Ok(text) => Self::parse(&text).map(Some),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(StartError::variable(VARIABLE, "…", FORM).into()),
        }
    }

    /// The key that seals, if one does.
    pub(super) fn encrypting(&self) -> Option<(&KeyId, &XChaCha20Poly1305)> {
        (!self.only_open).then_some((&self.first.id, &self.first.cipher))
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<&XChaCha20Poly1305> {
        self.iter().find(|key| key.id == *id).map(|key| &key.cipher)
    }

    fn iter(&self) -> impl Iterator<Item = &EncryptionKey> {
        core::iter::once(&self.first).chain(&self.others)
    }

    fn add(&mut self, key: EncryptionKey) -> Result<(), String> {
        if self.find(&key.id).is_some() {
            return Err(String::from(
                "the id is there already; each key has one of its own",
            ));
        }
        self.others.push(key);
        Ok(())
    }
}

/// Adds a key, which is the one that seals if it is the first.
fn add(keys: &mut Option<EncryptionKeys>, key: EncryptionKey) -> Result<(), String> {
    match keys {
        Some(keys) => keys.add(key),
        None => {
            *keys = Some(EncryptionKeys {
                first: key,
                others: Vec::new(),
                only_open: false,
            });
            Ok(())
        }
    }
}

impl EncryptionKey {
    fn new(id: &str, key: [u8; 32]) -> Result<Self, String> {
        let id =
            KeyId::new(id).ok_or("the id of a key is not 1 to 16 characters of [A-Za-z0-9_-]")?;
        Ok(Self {
            id,
            cipher: XChaCha20Poly1305::new(&key.into()),
        })
    }

    fn parse(entry: &str) -> Result<Self, String> {
        if entry == "clear" {
            return Err(String::from(
                "`clear` stands first, before all keys, or not at all",
            ));
        }
        let (id, key) = entry.split_once(':').ok_or(FORM)?;
        if id.is_empty() {
            return Err(String::from("the id is missing before the colon"));
        }
        Self::new(id, from_base64(key)?)
    }
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.only_open {
            "EncryptionKeys(only opening)"
        } else {
            "EncryptionKeys"
        })?;
        f.debug_list().entries(self.ids()).finish()
    }
}

fn from_base64(text: &str) -> Result<[u8; 32], String> {
    const HOW_TO_MAKE_A_KEY: &str = "make one with `openssl rand -base64 32`";
    let url_safe = text.contains(['-', '_']);
    let bytes = base64(if url_safe { &URL_SAFE } else { &STANDARD }).decode(text);
    let bytes = bytes.map_err(|_| format!("the key is not base64; {HOW_TO_MAKE_A_KEY}"))?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| format!("expected a key of 32 bytes, found {length}; {HOW_TO_MAKE_A_KEY}"))
}

/// Base64 with or without padding.
fn base64(alphabet: &Alphabet) -> GeneralPurpose {
    let padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, padding)
}

/// The name of a key: 1 to 16 characters of `[A-Za-z0-9_-]`.
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

    /// In bytes.
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
    fn a26_the_first_key_seals_and_all_open() {
        let keys =
            EncryptionKeys::parse(&format!("b:{KEY}, a:{KEY},c-_9:{KEY}")).expect("valid keys");
        assert!(keys.ids().eq(["b", "a", "c-_9"]));
        assert_eq!(keys.encrypting().map(|(id, _)| id.as_str()), Some("b"));
        assert!(
            ["a", "b", "c-_9"]
                .into_iter()
                .all(|id| keys.find(&KeyId::new(id).expect("an id")).is_some())
        );
    }

    #[test]
    fn a26_behind_the_word_clear_keys_only_open() {
        for keys in [
            EncryptionKeys::parse(&format!("clear,b:{KEY},a:{KEY}")).expect("valid keys"),
            EncryptionKeys::parse(&format!("b:{KEY},a:{KEY}"))
                .expect("valid keys")
                .decrypt_only(),
        ] {
            assert!(keys.ids().eq(["b", "a"]) && keys.encrypting().is_none());
            assert_eq!(
                format!("{keys:?}"),
                r#"EncryptionKeys(only opening)["b", "a"]"#
            );
        }
        let late = errors(&format!("b:{KEY},clear"));
        assert!(
            late.len() == 1
                && late[0]
                    .ends_with("entry 2: `clear` stands first, before all keys, or not at all")
        );
        assert!(
            errors("clear")[0]
                .starts_with("APLOMB_ENCRYPTION_KEYS=\"clear\": no key stands behind `clear`")
        );
    }

    #[test]
    fn a26_keys_come_in_either_base64_with_or_without_padding() {
        let bare = KEY.trim_end_matches('=');
        for key in [KEY, bare, &KEY.replace('/', "_"), &bare.replace('/', "_")] {
            assert_eq!(from_base64(key), Ok([0xff; 32]), "{key}");
        }
    }

    #[test]
    fn a26_each_wrong_entry_is_said_without_showing_it() {
        let long_id = "a".repeat(17);
        for (entry, why) in [
            (
                String::new(),
                "expected id:key, separated by commas, the one that seals first; such as 2026-11:",
            ),
            (String::from(KEY), "expected id:key"),
            (format!(":{KEY}"), "the id is missing before the colon"),
            (
                format!("a b:{KEY}"),
                "the id of a key is not 1 to 16 characters of [A-Za-z0-9_-]",
            ),
            (
                format!("{long_id}:{KEY}"),
                "the id of a key is not 1 to 16 characters",
            ),
            (
                format!("ok:{KEY}"),
                "the id is there already; each key has one of its own",
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
            let said = errors(&format!("ok:{KEY},{entry}"));
            let start = format!("APLOMB_ENCRYPTION_KEYS=\"…\": entry 2: {why}");
            assert!(
                said.len() == 1 && said[0].starts_with(&start),
                "{entry}: {said:?}"
            );
            assert!(
                !said[0].contains("////") && !said[0].contains("c2hvcnQ"),
                "{said:?}"
            );
        }
        assert_eq!(errors("a,b:,c:x").len(), 3, "all are said at once");
    }

    #[test]
    fn a26_keys_are_not_shown() {
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
