use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::policies::idempotency::{RecordKey, Token};
use crate::policies::rate_limit::{Bucket, LimitSubject};
use crate::request::Caller;
use crate::request::OwnerHasher;

/// Names keys: `ap1:<namespace>:{<whose>}:<what>`. What stands in braces is all of the key that
/// Redis Cluster looks at, so that everything of one caller is in one place.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    tags: OwnerHasher,
}

impl Keys {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            prefix: prefix(namespace),
            tags: OwnerHasher::new(namespace),
        }
    }

    /// The record of an idempotency key.
    pub(super) fn record(&self, key: &RecordKey) -> String {
        self.of(key.caller(), "i:", &text(key.name()))
    }

    /// A record of this caller.
    pub(super) fn record_of(&self, caller: &Caller, name: [u8; 16]) -> RecordKey {
        RecordKey::new(self.tags.caller(caller), name)
    }

    /// The marker of an aborted token.
    pub(super) fn marker(&self, key: &RecordKey, token: Token) -> String {
        self.of(key.caller(), "a:", &text(&token.as_u128().to_be_bytes()))
    }

    /// The bucket of a rate limit.
    pub(super) fn bucket(&self, bucket: &Bucket<'_>) -> String {
        let tag = match bucket.subject {
            LimitSubject::Caller(caller) => self.tags.caller(caller),
            LimitSubject::Address(IpAddr::V4(address)) => {
                self.tags.owner("address", &address.octets())
            }
            LimitSubject::Address(IpAddr::V6(address)) => {
                self.tags.owner("address", &address.octets())
            }
            LimitSubject::Key(key) => self.tags.owner("key", key.as_bytes()),
            LimitSubject::Everyone => self.tags.owner("everyone", &bucket.limit.to_be_bytes()),
        };
        self.of(&tag, "l:", &text(&bucket.limit.to_be_bytes()))
    }

    fn of(&self, tag: &[u8; 16], kind: &str, name: &str) -> String {
        let mut key = String::with_capacity(self.prefix.len() + 52);
        key.push_str(&self.prefix);
        key.push('{');
        URL_SAFE_NO_PAD.encode_string(tag, &mut key);
        key.push_str("}:");
        key.push_str(kind);
        key.push_str(name);
        key
    }
}

/// The key of the secret that the instances of a service share.
pub(super) fn secret(namespace: &str) -> String {
    prefix(namespace) + "secret"
}

fn prefix(namespace: &str) -> String {
    format!("ap1:{namespace}:")
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::idempotency::RecordNames;

    #[test]
    fn everything_of_a_caller_has_his_tag() {
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
        assert_ne!(tag(&key), tag(&bucket), "the key of a tenant is no caller");
        assert!(!key.contains("alice"));
    }
}
