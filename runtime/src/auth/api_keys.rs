use core::fmt;
use std::ffi::OsString;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Authenticate, Authentication, Caller};
use crate::start::{StartError, StartErrors};
use crate::uniform_map::UniformMap;

/// Authentication by API key: `Authorization: Bearer <key>` (RFC 6750 §2.1).
///
/// Keys are stored as SHA-256 digests and compared in constant time. A caller can have several
/// keys, so that a key can be replaced without an interruption.
///
/// ```
/// use aplomb::auth::ApiKeys;
///
/// let keys = ApiKeys::parse("alice:sk_test_alice,bob:sk_test_bob").unwrap();
/// assert_eq!(keys.len(), 2);
/// ```
#[derive(Default)]
pub struct ApiKeys {
    by_prefix: UniformMap<[u8; 8], Vec<Key>>,
    errors: Vec<StartError>,
}

/// An API key and its caller. A key is found by the first 8 bytes of its digest. Then the whole
/// digest is compared in constant time.
struct Key {
    digest: [u8; 32],
    caller: Caller,
}

/// The variable that [`ApiKeys::from_env`] reads.
const VARIABLE: &str = "APLOMB_API_KEYS";

const EXPECTED: &str = "expected caller:key, separated by commas, such as alice:sk_live_4eC39HqLyj; \
                    a key has 8 to 256 characters of [A-Za-z0-9._~+/=-], or is sha256: and 64 hex digits";

impl ApiKeys {
    /// Reads the keys from `APLOMB_API_KEYS`, such as `alice:sk_live_4eC3…,bob:sha256:9f86d0…`.
    /// Errors in the variable are reported when the API starts.
    pub fn from_env() -> Self {
        Self::read(None)
    }

    /// Reads the keys from `APLOMB_API_KEYS`, or uses `default` if the variable is not set. Use it
    /// in examples and during development.
    pub fn from_env_or(default: &str) -> Self {
        Self::read(Some(default))
    }

    /// Parses keys in the format of `APLOMB_API_KEYS`.
    ///
    /// # Errors
    ///
    /// Returns one error for each wrong entry. The errors never contain a key.
    pub fn parse(text: &str) -> Result<Self, StartErrors> {
        let mut keys = Self::parse_lenient(text);
        let mut errors = StartErrors::new();
        errors.extend(keys.errors.drain(..));
        errors.into_result().map(|()| keys)
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.by_prefix.values().map(Vec::len).sum()
    }

    /// Returns `true` if there are no keys. Every request that needs a caller is then rejected.
    pub fn is_empty(&self) -> bool {
        self.by_prefix.is_empty()
    }

    fn read(default: Option<&str>) -> Self {
        match (
            std::env::var_os(VARIABLE).map(OsString::into_string),
            default,
        ) {
            (Some(Ok(text)), _) if !text.is_empty() => Self::parse_lenient(&text),
            (None, Some(default)) => Self::parse_lenient(default),
            // An empty variable probably means that a secret is missing. The default keys are not
            // used.
            (Some(Ok(_)), _) => Self::failed(StartError::variable(VARIABLE, "", EXPECTED)),
            (Some(Err(_)), _) => Self::failed(StartError::variable(VARIABLE, "…", EXPECTED)),
            (None, None) => Self::failed(StartError::new(format!(
                "{VARIABLE} is not set: {EXPECTED}"
            ))),
        }
    }

    fn failed(error: StartError) -> Self {
        Self {
            errors: vec![error],
            ..Self::default()
        }
    }

    fn parse_lenient(text: &str) -> Self {
        let mut keys = Self::default();
        for (index, entry) in text.split(',').enumerate() {
            if let Err(why) = keys.add(entry.trim()) {
                // The error does not show the entry, because its caller and key may be in the wrong
                // order.
                keys.errors.push(StartError::variable(
                    VARIABLE,
                    "…",
                    format!("entry {}: {why}", index + 1),
                ));
            }
        }
        keys
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        let (id, key) = entry.split_once(':').ok_or(EXPECTED)?;
        if id == "sha256" {
            return Err("the caller before sha256: is missing");
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte);
        if id.is_empty() || id.len() > 128 || !id.bytes().all(is_allowed) {
            return Err(
                "expected a caller of 1 to 128 characters of [A-Za-z0-9_.@-] before the colon",
            );
        }
        let digest = digest_of_entry(key).ok_or(EXPECTED)?;
        let keys = self.by_prefix.entry(digest_prefix(&digest)).or_default();
        if keys.iter().any(|existing| existing.digest == digest) {
            return Err("the key is a duplicate of an earlier entry: remove one of them");
        }
        keys.push(Key {
            digest,
            caller: Caller::new(id),
        });
        Ok(())
    }

    fn find(&self, token: &str) -> Option<&Caller> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let keys = self.by_prefix.get(&digest_prefix(&digest))?;
        keys.iter()
            .find(|key| bool::from(key.digest.ct_eq(&digest)))
            .map(|key| &key.caller)
    }

    fn authenticate_headers(&self, headers: &HeaderMap) -> Authentication {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return Authentication::Missing;
        };
        if fields.next().is_some() {
            return Authentication::Invalid(
                "the request has more than one Authorization field: send one",
            );
        }
        match bearer_token(field) {
            None => Authentication::Invalid("expected `Authorization: Bearer <key>`"),
            Some(token) => match self.find(token) {
                Some(caller) => Authentication::Caller(caller.clone()),
                None => Authentication::Invalid("the API key is unknown: check the key"),
            },
        }
    }
}

fn bearer_token(field: &HeaderValue) -> Option<&str> {
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn digest_prefix(digest: &[u8; 32]) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&digest[..8]);
    prefix
}

fn digest_of_entry(key: &str) -> Option<[u8; 32]> {
    if let Some(hex) = key.strip_prefix("sha256:") {
        return from_hex(hex);
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte);
    let is_valid = (8..=256).contains(&key.len()) && key.bytes().all(is_allowed);
    is_valid.then(|| Sha256::digest(key.as_bytes()).into())
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

impl Authenticate for ApiKeys {
    async fn authenticate(&self, head: &Parts) -> Authentication {
        self.authenticate_headers(&head.headers)
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }

    fn start_errors(&self) -> Vec<StartError> {
        self.errors.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticate(keys: &ApiKeys, fields: &[&str]) -> Authentication {
        let request = fields
            .iter()
            .fold(http::Request::builder(), |request, field| {
                request.header(AUTHORIZATION, *field)
            });
        keys.authenticate_headers(request.body(()).expect("a request").headers())
    }

    #[test]
    fn a_caller_can_have_several_keys() {
        let keys = ApiKeys::parse("alice:sk_test_1,alice:sk_test_2").expect("valid");
        for key in ["Bearer sk_test_1", "bearer sk_test_2"] {
            assert!(
                matches!(authenticate(&keys, &[key]), Authentication::Caller(caller) if caller.id() == "alice")
            );
        }
    }

    #[test]
    fn a_key_can_be_given_as_its_digest() {
        let hex = "bd4b47dcf69ab2d5c8a3c3f9a4a20a0ef4a0ad2db4fa59e0c9a8e2f3aef3c9d1";
        assert_eq!(
            ApiKeys::parse(&format!("alice:sha256:{hex}"))
                .expect("valid")
                .len(),
            1
        );
        assert!(ApiKeys::parse(&format!("alice:sha256:{}", &hex[1..])).is_err());
    }

    #[test]
    fn wrong_credentials_are_invalid() {
        let keys = ApiKeys::parse("alice:sk_test_1").expect("valid");
        for fields in [
            &["Bearer sk_test_2"][..],
            &["sk_test_1"],
            &["Basic sk_test_1"],
            &["Bearer"],
            &[""],
            &["Bearer sk_test_1", "Bearer sk_test_1"],
        ] {
            assert!(
                matches!(authenticate(&keys, fields), Authentication::Invalid(_)),
                "{fields:?}"
            );
        }
        assert!(matches!(authenticate(&keys, &[]), Authentication::Missing));
    }

    #[test]
    fn a_digest_without_a_caller_is_refused() {
        assert!(ApiKeys::parse(&format!("sha256:{}", "a".repeat(64))).is_err());
        assert!(ApiKeys::parse(&format!("alice:sha256:{}", "+f".repeat(32))).is_err());
    }

    #[test]
    fn errors_name_every_wrong_entry_and_show_no_key() {
        let errors = ApiKeys::parse("alice:sk_test_1,bob,carl:short,eve:sk_test_1,:sk_test_3")
            .expect_err("wrong");
        assert_eq!(errors.iter().count(), 4);
        let text = errors.to_string();
        assert!(text.contains("entry 2") && text.contains("entry 3") && text.contains("entry 5"));
        assert!(!text.contains("sk_test") && !text.contains("carl") && !text.contains("short"));
    }
}
