use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::Caller;
use crate::problem::{Problem, registry};
use crate::secret::{Key, KeyedHash, Secret};

/// The version of the cursor's form, and the number of the key that signs: one byte each.
const HEAD: [u8; 2] = [1, 0];
const MAC_BYTES: usize = 16;
const LONGEST: usize = 4096;

/// Makes and reads cursors: base64url of version, key id, payload and MAC.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    key: Key,
    /// What cursors were signed with before.
    other: Option<Key>,
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

impl Cursors {
    pub(crate) fn new(secret: &Secret, other: Option<&Secret>, namespace: &str) -> Self {
        let key = |secret: &Secret| secret.key(&format!("cursor/{namespace}"));
        Self { key: key(secret), other: other.map(key) }
    }

    pub(crate) fn write<K: Serialize>(
        &self,
        key: &K,
        binding: &Binding<'_>,
    ) -> Result<String, serde_json::Error> {
        let mut bytes = HEAD.to_vec();
        serde_json::to_writer(&mut bytes, key)?;
        let mac = mac(&self.key, &bytes, binding).finish();
        bytes.extend_from_slice(&mac[..MAC_BYTES]);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        if text.len() > LONGEST {
            return Err(serde::ser::Error::custom("the key of a page is too long for a cursor"));
        }
        Ok(text)
    }

    pub(crate) fn read<K: DeserializeOwned>(&self, text: &str, binding: &Binding<'_>) -> Result<K, Problem> {
        self.try_read(text, binding).ok_or_else(|| {
            Problem::new(&registry::INVALID_CURSOR)
                .with_detail("the cursor does not belong to this list; start again without a cursor")
        })
    }

    fn try_read<K: DeserializeOwned>(&self, text: &str, binding: &Binding<'_>) -> Option<K> {
        if text.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let payload = signed.strip_prefix(&HEAD)?;
        let mut keys = core::iter::once(&self.key).chain(&self.other);
        if !keys.any(|key| self::mac(key, signed, binding).verify(mac)) {
            return None;
        }
        serde_json::from_slice(payload).ok()
    }
}

fn mac(key: &Key, signed: &[u8], binding: &Binding<'_>) -> KeyedHash {
    let (kind, id) = binding.caller.map_or(("anonymous", ""), |caller| ("caller", caller.id()));
    let mut hash = key.hash().part(b"forward").part(binding.route.as_bytes()).part(binding.path.as_bytes());
    hash.add(kind.as_bytes());
    hash.add(id.as_bytes());
    hash.add(&binding.filters.len().to_be_bytes());
    for (name, value) in binding.filters {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    hash.part(signed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::new(&Secret::new([3; 32]).expect("long enough"), None, "test")
    }

    fn filters(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn d02_a_cursor_is_read_only_where_it_belongs() {
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let (none, some) = (filters(&[]), filters(&[("account", "1")]));
        let home =
            Binding { route: "GET /v1/payments", path: "/v1/payments", filters: &none, caller: Some(&alice) };
        let text = cursors().write(&7_u64, &home).expect("serialisable");
        assert_eq!(cursors().read::<u64>(&text, &home).expect("at home"), 7);
        for elsewhere in [
            Binding { route: "GET /v1/accounts", ..home.clone() },
            Binding { path: "/v1/payments/7", ..home.clone() },
            Binding { filters: &some, ..home.clone() },
            Binding { caller: Some(&bob), ..home.clone() },
            Binding { caller: None, ..home.clone() },
        ] {
            let problem = cursors().read::<u64>(&text, &elsewhere).expect_err("elsewhere");
            assert_eq!(problem.code(), "INVALID_CURSOR");
        }
        assert!(cursors().read::<String>(&text, &home).is_err(), "another type of key");
    }

    #[test]
    fn d03_cursors_outlive_a_change_of_the_secret() {
        let secret = |byte| Secret::new([byte; 32]).expect("long enough");
        let binding = Binding { route: "r", path: "/r", filters: &[], caller: None };
        let text = cursors().write(&7_u64, &binding).expect("serialisable");
        let changed = |other: Option<u8>| Cursors::new(&secret(4), other.map(secret).as_ref(), "test");
        assert_eq!(changed(Some(3)).read::<u64>(&text, &binding).expect("known"), 7);
        assert!(changed(Some(5)).read::<u64>(&text, &binding).is_err());
        assert!(changed(None).read::<u64>(&text, &binding).is_err());
    }

    proptest! {
        #[test]
        fn d03_a_tampered_cursor_is_refused(position in 0_usize..27, bit in 0_u8..8) {
            let binding = Binding { route: "r", path: "/r", filters: &[], caller: None };
            let bytes = URL_SAFE_NO_PAD.decode(cursors().write(&"key-of-27", &binding).expect("text")).expect("base64");
            let mut changed = bytes.clone();
            changed[position % bytes.len()] ^= 1 << bit;
            let text = URL_SAFE_NO_PAD.encode(changed);
            prop_assert!(cursors().read::<String>(&text, &binding).is_err());
        }

        #[test]
        fn d03_any_text_is_survived(text in ".{0,80}") {
            let binding = Binding { route: "r", path: "/r", filters: &[], caller: None };
            prop_assert!(cursors().read::<String>(&text, &binding).is_err());
        }
    }
}
