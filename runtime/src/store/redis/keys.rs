use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::policies::idempotency::{RecordKey, Token};
use crate::policies::rate_limit::Bucket;
use crate::request::Caller;
use crate::request::OwnerHasher;
use crate::store::acquire::hash_subject;

/// The names of the Redis keys of one namespace: `ap1:<namespace>:{<owner>}:<kind>:<name>`.
///
/// Redis Cluster selects the slot of a key by the text in braces. So all keys of one caller are in
/// one slot.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    owners: OwnerHasher,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            prefix: prefix(namespace),
            owners: OwnerHasher::new(namespace),
        }
    }

    /// Returns the Redis key of a record.
    pub(super) fn record(&self, key: &RecordKey) -> String {
        self.key(key.caller(), "i:", &base64(key.name()))
    }

    /// Returns the name of a record of this caller.
    pub(super) fn record_of(&self, caller: &Caller, name: [u8; 16]) -> RecordKey {
        RecordKey::new(self.owners.hash_caller(caller), name)
    }

    /// Returns the Redis key of the abort marker of a token. The marker stops a late `begin` with
    /// this token.
    pub(super) fn marker(&self, key: &RecordKey, token: Token) -> String {
        self.key(key.caller(), "a:", &base64(&token.as_u128().to_be_bytes()))
    }

    /// Returns the Redis key of a bucket.
    pub(super) fn bucket(&self, bucket: &Bucket<'_>) -> String {
        let owner = hash_subject(&self.owners, bucket);
        self.key(&owner, "l:", &base64(&bucket.limit.to_be_bytes()))
    }

    fn key(&self, owner: &[u8; 16], kind: &str, name: &str) -> String {
        // Two hashes in base64, the braces and the kind take at most 52 bytes.
        let mut key = String::with_capacity(self.prefix.len() + 52);
        key.push_str(&self.prefix);
        key.push('{');
        URL_SAFE_NO_PAD.encode_string(owner, &mut key);
        key.push_str("}:");
        key.push_str(kind);
        key.push_str(name);
        key
    }
}

/// Returns the Redis key of the secret that the instances of a service share.
pub(super) fn secret(namespace: &str) -> String {
    prefix(namespace) + "secret"
}

fn prefix(namespace: &str) -> String {
    format!("ap1:{namespace}:")
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::idempotency::RecordNames;
    use crate::policies::rate_limit::LimitSubject;

    #[test]
    fn all_keys_of_a_caller_have_the_same_tag() {
        let alice = Caller::new("alice");
        let names = RecordNames::new("shop", "POST", "/v1/orders");
        let record = names.record(Some(&alice), "k").0;
        let keys = Keys::new("shop");
        let bucket = keys.bucket(&Bucket {
            limit: 7,
            subject: LimitSubject::Caller(&alice),
        });
        let tag = |key: &str| {
            key[key.find('{').expect("a tag")..=key.find('}').expect("its end")].to_owned()
        };
        assert!(
            bucket.starts_with("ap1:shop:{") && bucket.contains("}:l:"),
            "{bucket}"
        );
        assert_eq!(tag(&bucket), tag(&keys.record(&record)));
        assert_eq!(tag(&bucket), tag(&keys.marker(&record, Token::random())));
        assert!(!bucket.contains("alice"));
        let key = keys.bucket(&Bucket {
            limit: 7,
            subject: LimitSubject::Key("alice"),
        });
        assert_ne!(
            tag(&key),
            tag(&bucket),
            "a limit by key and a caller of the same name have different tags"
        );
        assert!(!key.contains("alice"));
    }
}
