//! Which record a request belongs to, and whether it is the request of that record.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::canonical::canonical;
use super::store::{Fingerprint, RecordKey};
use crate::auth::{Caller, Tags, kind_and_id};
use crate::extract::original_uri;
use crate::secret::{Key, Secret};

/// The version of the fingerprint that this release makes.
const FINGERPRINT_VERSION: u8 = 1;

/// Makes record keys and fingerprints. Both are keyed hashes, so that a store holds neither keys
/// nor callers nor bodies in the clear.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    callers: Tags,
    records: Key,
    fingerprints: Key,
}

impl Identities {
    pub(crate) fn new(secret: &Secret, namespace: &str) -> Self {
        Self {
            callers: Tags::new(secret, namespace),
            records: secret.key(&format!("idempotency record/{namespace}")),
            fingerprints: secret.key("idempotency fingerprint"),
        }
    }

    /// The record of this caller's key on this route. `tenant` is empty until callers have one.
    pub(crate) fn record(&self, caller: Option<&Caller>, method: &str, route: &str, key: &str) -> RecordKey {
        let tenant = b"";
        let (kind, id) = kind_and_id(caller);
        let hash = self.records.hash().part(tenant).part(kind.as_bytes()).part(id.as_bytes());
        let hash = hash.part(method.as_bytes()).part(route.as_bytes()).part(key.as_bytes()).finish_short();
        RecordKey::new(self.callers.caller(caller), hash)
    }

    /// What must be equal for a request to be a retry: the path with its parameters, as the client
    /// sent it; query, media type, body.
    pub(crate) fn fingerprint(&self, head: &Parts, body: &Bytes) -> Fingerprint {
        let mut hash =
            self.fingerprints.hash().part(&[FINGERPRINT_VERSION]).part(original_uri(head).path().as_bytes());
        let query = sorted_query(head);
        hash.add(&query.len().to_be_bytes());
        for (name, value) in query {
            hash.add(name.as_bytes());
            hash.add(value.as_bytes());
        }
        let essence = media_type(head);
        let hash = hash.part(essence.as_bytes());
        let form = if essence.ends_with("json") { canonical(body) } else { None };
        let hash = match &form {
            Some(form) => hash.part(b"json").part(form),
            None => hash.part(b"raw").part(body),
        };
        Fingerprint::new(FINGERPRINT_VERSION, hash.finish())
    }
}

fn sorted_query(head: &Parts) -> Vec<(String, String)> {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    pairs.sort_unstable();
    pairs
}

fn media_type(head: &Parts) -> String {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities() -> Identities {
        Identities::new(&Secret::new([7; 32]).expect("long enough"), "test")
    }

    fn fingerprint(uri: &str, media: &str, body: &str) -> Fingerprint {
        let request = http::Request::post(uri).header(CONTENT_TYPE, media).body(()).expect("a request");
        identities().fingerprint(&request.into_parts().0, &Bytes::from(body.to_owned()))
    }

    #[test]
    fn a04_a_record_belongs_to_caller_method_route_and_key() {
        let record = |caller: Option<&str>, method, route, key| {
            identities().record(caller.map(Caller::new).as_ref(), method, route, key)
        };
        let first = record(Some("alice"), "POST", "/v1/payments", "k");
        assert_eq!(first, record(Some("alice"), "POST", "/v1/payments", "k"));
        for other in [
            record(Some("bob"), "POST", "/v1/payments", "k"),
            record(None, "POST", "/v1/payments", "k"),
            record(Some("alice"), "PATCH", "/v1/payments", "k"),
            record(Some("alice"), "POST", "/v2/payments", "k"),
            record(Some("alice"), "POST", "/v1/payments", "l"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn services_on_one_store_never_meet() {
        let secret = Secret::new([7; 32]).expect("long enough");
        let record = |namespace| Identities::new(&secret, namespace).record(None, "POST", "/v1/x", "k");
        assert_ne!(record("one"), record("two"));
    }

    #[test]
    fn a05_path_query_media_type_and_body_are_compared() {
        let first = fingerprint("/orders/1/pay?a=1&b=2", "application/json", r#"{"x":1}"#);
        assert_eq!(
            first,
            fingerprint("/orders/1/pay?b=2&a=1", "Application/JSON; charset=utf-8", r#" {"x" : 1}"#)
        );
        for other in [
            fingerprint("/orders/2/pay?a=1&b=2", "application/json", r#"{"x":1}"#),
            fingerprint("/orders/1/pay?a=1", "application/json", r#"{"x":1}"#),
            fingerprint("/orders/1/pay?a=1&b=2", "text/plain", r#"{"x":1}"#),
            fingerprint("/orders/1/pay?a=1&b=2", "application/json", r#"{"x":2}"#),
        ] {
            assert_ne!(first, other);
        }
    }
}
