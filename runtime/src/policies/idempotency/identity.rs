//! Which record a request belongs to, and whether it is the request of that record.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;

use super::canonical;
use super::store::{Fingerprint, RecordKey};
use crate::auth::{Caller, Tags, kind_and_id};
use crate::extract::original_uri;
use crate::secret::{Key, KeyedHash, Secret};

/// The version of the fingerprint that this release makes.
const FINGERPRINT_VERSION: u8 = 1;

/// Makes record keys and fingerprints. Both are keyed hashes, so that a store holds neither keys
/// nor callers nor bodies in the clear.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    callers: Tags,
    records: Key,
    operations: Key,
    fingerprints: Key,
}

impl Identities {
    pub(crate) fn new(secret: &Secret, namespace: &str) -> Self {
        Self {
            callers: Tags::new(secret, namespace),
            operations: secret.key(&format!("operation/{namespace}")),
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

    /// What the keys of operations and their steps are made with.
    pub(crate) const fn operations(&self) -> &Key {
        &self.operations
    }

    /// What must be equal for a request to be a retry: the path with its parameters, as the client
    /// sent it; query, media type, the fields that the endpoint names, body.
    pub(crate) fn fingerprint(&self, head: &Parts, fields: &[&str], body: &Bytes) -> Fingerprint {
        let mut hash =
            self.fingerprints.hash().part(&[FINGERPRINT_VERSION]).part(original_uri(head).path().as_bytes());
        add_query(&mut hash, head);
        let essence = media_type(head);
        hash.add(essence.as_bytes());
        for name in fields {
            add_field(&mut hash, head, name);
        }
        // Which form it is comes last: where the form ends is known only then.
        let json = essence.ends_with("json") && hash.add_form(|form| canonical::write(body, form)).is_some();
        if !json {
            hash.add_plain(body);
        }
        hash.add_plain(if json { b"json" } else { b"raw" });
        Fingerprint::new(FINGERPRINT_VERSION, hash.finish())
    }
}

/// A field's name and all its values, as often as it is sent; their number, so that none is taken
/// for the next field.
fn add_field(hash: &mut KeyedHash, head: &Parts, name: &str) {
    let values = || head.headers.get_all(name).iter();
    hash.add(name.as_bytes());
    hash.add(&values().count().to_be_bytes());
    values().for_each(|value| hash.add(value.as_bytes()));
}

/// The decoded pairs in the order of their names; several values of one name stay in their order, which
/// may mean something. A query that does not decode is compared as it was sent, too.
fn add_query(hash: &mut KeyedHash, head: &Parts) {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    hash.add(&pairs.len().to_be_bytes());
    for (name, value) in &pairs {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    if pairs.iter().any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}')) {
        hash.add(query.as_bytes());
    }
}

fn media_type(head: &Parts) -> Cow<'_, str> {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(essence.to_ascii_lowercase());
    }
    Cow::Borrowed(essence)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn identities() -> Identities {
        Identities::new(&Secret::new([7; 32]).expect("long enough"), "test")
    }

    fn fingerprint(uri: &str, media: &str, body: &str) -> Fingerprint {
        let request = http::Request::post(uri).header(CONTENT_TYPE, media).body(()).expect("a request");
        identities().fingerprint(&request.into_parts().0, &[], &Bytes::from(body.to_owned()))
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

    #[test]
    fn a05_the_order_of_one_names_values_is_compared() {
        let fingerprint = |query: &str| fingerprint(&format!("/lists?{query}"), "text/plain", "");
        assert_eq!(fingerprint("sort=a&sort=b&page=1"), fingerprint("page=1&sort=a&sort=b"));
        assert_ne!(fingerprint("sort=a&sort=b"), fingerprint("sort=b&sort=a"));
    }

    #[test]
    fn a05_a_query_that_does_not_decode_is_compared_as_it_is() {
        let query = |query| fingerprint(query, "", "");
        assert_ne!(query("/?to=%FF"), query("/?to=%FE"));
        assert_ne!(query("/?to=%FF"), query("/?to=%EF%BF%BD"));
        assert_eq!(query("/?to=%C3%A9"), query("/?to=%c3%a9"));
    }

    #[test]
    fn a05_media_types_are_compared_also_where_both_are_json() {
        let json = |media| fingerprint("/", media, r#"{"x":1}"#);
        assert_ne!(json("application/json"), json("application/merge-patch+json"));
    }

    #[test]
    fn a05_bodies_that_are_no_json_are_compared() {
        for media in ["text/plain", "application/json"] {
            assert_ne!(fingerprint("/", media, "tea"), fingerprint("/", media, "salt"), "{media}");
        }
    }

    #[test]
    fn a05_what_is_sent_twice_is_compared_twice() {
        let query = |query| fingerprint(query, "", "");
        assert_ne!(query("/?a=1&a=2"), query("/?a=1&a=3"));
        assert_ne!(query("/?a=1&a=1"), query("/?a=1"));
        let regions = |second| {
            let request = http::Request::post("/").header("x-region", "eu").header("x-region", second);
            let (head, ()) = request.body(()).expect("a request").into_parts();
            identities().fingerprint(&head, &["x-region"], &Bytes::new())
        };
        assert_eq!(regions("us"), regions("us"));
        assert_ne!(regions("us"), regions("as"));
    }

    #[test]
    fn a06_layout_does_not_matter_where_the_media_type_says_json() {
        let layouts = |media| (fingerprint("/", media, "[1,2]"), fingerprint("/", media, "[1, 2]"));
        for media in ["application/json", "application/merge-patch+json", "Application/Vnd.Shop+JSON; v=1"] {
            let (compact, spaced) = layouts(media);
            assert_eq!(compact, spaced, "{media}");
        }
        for media in ["text/plain", "", "application/jsonlines"] {
            let (compact, spaced) = layouts(media);
            assert_ne!(compact, spaced, "{media}");
        }
    }

    #[test]
    fn a05_fields_are_compared_where_the_endpoint_names_them() {
        let fingerprint = |fields: &[(&'static str, &'static str)], named: &[&str]| {
            let request = fields
                .iter()
                .fold(http::Request::post("/"), |request, (name, value)| request.header(*name, *value));
            let (head, ()) = request.body(()).expect("a request").into_parts();
            identities().fingerprint(&head, named, &Bytes::new())
        };
        let (eu, us) = ([("x-region", "eu")], [("x-region", "us")]);
        assert_eq!(fingerprint(&eu, &[]), fingerprint(&us, &[]));
        assert_ne!(fingerprint(&eu, &["x-region"]), fingerprint(&us, &["x-region"]));
        assert_ne!(fingerprint(&eu, &["x-region"]), fingerprint(&[], &["x-region"]));
        let both = ["x-region", "x-tier"];
        let (one, other) = ([("x-region", "a"), ("x-region", "b")], [("x-region", "a"), ("x-tier", "b")]);
        assert_ne!(fingerprint(&one, &both), fingerprint(&other, &both));
    }

    #[test]
    fn a07_a_fingerprint_stays_what_it_was() {
        let request = http::Request::post("/orders/1?b=2&a=1").header(CONTENT_TYPE, "application/json");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let made =
            identities().fingerprint(&head, &[], &Bytes::from_static(br#"{"b": [1, "x"], "a": null}"#));
        let digest = URL_SAFE_NO_PAD.encode(made.digest());
        assert_eq!((made.version(), digest.as_str()), (1, "6amM5Qlk39McFOP5LmtQrKg7dZMaq9N658hm_dveEGU"));
    }
}
