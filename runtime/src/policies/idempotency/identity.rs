//! The name of a request's record, and the fingerprint that distinguishes retries from other
//! requests.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;

use super::canonical;
use super::store::{Fingerprint, RecordKey};
use crate::extract::{normalize_path, original_uri};
use crate::request::Caller;
use crate::request::OwnerHasher;
use crate::secret::{Key, KeyedHash};

/// The version of the fingerprints that this release makes. If the hashed data changes, increase
/// the version, because stored records contain fingerprints.
const FINGERPRINT_VERSION: u8 = 2;

/// The context that makes the names of records differ from all other hashes. If the hashed data
/// changes, increase the number.
const NAME_CONTEXT: &str = "aplomb idempotency record 1";

/// The second half of every fingerprint key.
const FINGERPRINT_KEY_SUFFIX: &[u8; 16] = b"aplomb request 2";

/// A generator for the names of the records of one endpoint.
///
/// A name is a hash, so a store contains neither keys nor callers in plain form. The hash needs no
/// secret, so existing records are still found if a secret changes or is lost. Names are
/// pseudonyms: an attacker who can read the store can test guesses of a caller and a key.
#[derive(Debug, Clone)]
pub(crate) struct RecordNames {
    namespace: String,
    method: &'static str,
    /// The versioned template of the route, with parameters as `{}`.
    template: String,
    caller_hasher: OwnerHasher,
    name_key: Key,
}

impl RecordNames {
    /// Creates the names for the endpoint with this method and versioned route template. The names
    /// of path parameters are ignored, so records are still found after a parameter is renamed.
    pub(crate) fn new(namespace: &str, method: &'static str, route: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            method,
            template: without_parameter_names(route),
            caller_hasher: OwnerHasher::new(namespace),
            name_key: Key::of_purpose(NAME_CONTEXT),
        }
    }

    /// Returns the name of the record for this caller and this idempotency key, and the hash key
    /// for the fingerprints of the requests with that idempotency key.
    pub(crate) fn record(&self, caller: Option<&Caller>, key: &str) -> (RecordKey, FingerprintKey) {
        // Callers have no tenant yet. The empty part reserves the position of the tenant in the
        // hash.
        let (tenant, (kind, id)) = (
            b"",
            caller.map_or(("anonymous", ""), |caller| ("caller", caller.id())),
        );
        let hash = self
            .name_key
            .hash()
            .part(self.namespace.as_bytes())
            .part(tenant);
        let hash = hash
            .part(kind.as_bytes())
            .part(id.as_bytes())
            .part(self.method.as_bytes());
        let (name, second_half) = hash
            .part(self.template.as_bytes())
            .part(key.as_bytes())
            .finish_halves();
        // The first hash selects the slot of a cluster. Without a caller it equals the hash of the
        // record, which spreads these records over all slots.
        let owner = caller.map_or(name, |caller| self.caller_hasher.hash_caller(caller));
        (
            RecordKey::new(owner, name),
            FingerprintKey::new(second_half),
        )
    }
}

/// Replaces the parameters of a route template by `{}`.
fn without_parameter_names(template: &str) -> String {
    let mut pieces = template.split('{');
    let mut bare = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        bare.push_str("{}");
        bare.push_str(piece.split_once('}').map_or("", |(_, rest)| rest));
    }
    bare
}

/// The hash key for the fingerprints of requests with one idempotency key.
///
/// It is derived from the idempotency key and the caller, and is not stored. So a fingerprint
/// reveals nothing about a body as long as the idempotency key cannot be guessed.
#[derive(Debug)]
pub(crate) struct FingerprintKey(Key);

impl FingerprintKey {
    /// Creates the key from the half of the record's hash that is not the record's name.
    fn new(half: [u8; 16]) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&half);
        bytes[16..].copy_from_slice(FINGERPRINT_KEY_SUFFIX);
        Self(Key::from_bytes(bytes))
    }

    /// Returns the fingerprint of a request. Requests with equal fingerprints are retries of each
    /// other.
    ///
    /// The fingerprint covers the decoded path, the query, the media type, the content coding, the
    /// header fields named in `fields`, and the body.
    pub(crate) fn fingerprint(&self, head: &Parts, fields: &[&str], body: &Bytes) -> Fingerprint {
        let mut hash = self
            .0
            .hash()
            .part(&[FINGERPRINT_VERSION])
            .part(&normalize_path(original_uri(head).path()));
        hash_query(&mut hash, head);
        let essence = media_type(head);
        hash.add(essence.as_bytes());
        hash.add(&content_coding(head));
        for name in fields {
            hash_field(&mut hash, head, name);
        }
        // The kind of the body is hashed after the body, because only the attempt to write the
        // canonical form shows whether the body has one.
        let json = essence.ends_with("json")
            && hash
                .add_written(|bytes| canonical::write_canonical(body, bytes))
                .is_some();
        if !json {
            hash.add_without_length(body);
        }
        hash.add_without_length(if json { b"json" } else { b"raw" });
        Fingerprint::new(FINGERPRINT_VERSION, hash.finish())
    }
}

/// Hashes the name of a header field, the number of its values, and the values. The number shows
/// where the values end and the next field begins.
fn hash_field(hash: &mut KeyedHash, head: &Parts, name: &str) {
    let values = || head.headers.get_all(name).iter();
    hash.add(name.as_bytes());
    hash.add(&values().count().to_be_bytes());
    values().for_each(|value| hash.add(value.as_bytes()));
}

/// Hashes the decoded pairs of the query, sorted by name.
///
/// Several values of one name stay in their order, which may have a meaning. If a pair is not valid
/// UTF-8 after decoding, the raw query is hashed as well: different invalid bytes decode to the
/// same replacement character.
fn hash_query(hash: &mut KeyedHash, head: &Parts) {
    let query = head.uri.query().unwrap_or_default();
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    // The sort is stable, because the values of one name must keep their order.
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    hash.add(&pairs.len().to_be_bytes());
    for (name, value) in &pairs {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    if pairs
        .iter()
        .any(|(name, value)| name.contains('\u{fffd}') || value.contains('\u{fffd}'))
    {
        hash.add(query.as_bytes());
    }
}

/// Returns the content codings in lower case, each with a comma. `identity` means that the body
/// is not coded (RFC 9110 §12.5.3).
fn content_coding(head: &Parts) -> Vec<u8> {
    let mut codings = Vec::new();
    for value in head.headers.get_all(CONTENT_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            let coding = coding.trim_ascii();
            if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
                codings.extend(coding);
                codings.push(b',');
            }
        }
    }
    codings.make_ascii_lowercase();
    codings
}

/// Returns the media type without parameters in lower case; empty without a `Content-Type`.
fn media_type(head: &Parts) -> Cow<'_, str> {
    let value = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
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

    fn names(method: &'static str, route: &str) -> RecordNames {
        RecordNames::new("test", method, route)
    }

    fn record(caller: Option<&str>, method: &'static str, route: &str, key: &str) -> RecordKey {
        names(method, route)
            .record(caller.map(Caller::new).as_ref(), key)
            .0
    }

    fn fingerprint_key(caller: &str, key: &str) -> FingerprintKey {
        names("POST", "/orders/{id}/pay")
            .record(Some(&Caller::new(caller)), key)
            .1
    }

    fn fingerprint_of(head: &Parts, fields: &[&str], body: &Bytes) -> Fingerprint {
        fingerprint_key("alice", "k").fingerprint(head, fields, body)
    }

    fn fingerprint(uri: &str, media: &str, body: &str) -> Fingerprint {
        let request = http::Request::post(uri)
            .header(CONTENT_TYPE, media)
            .body(())
            .expect("a request");
        fingerprint_of(&request.into_parts().0, &[], &Bytes::from(body.to_owned()))
    }

    #[test]
    fn a04_a_record_belongs_to_caller_method_route_and_key() {
        let first = record(Some("alice"), "POST", "/v1/payments", "k");
        assert_eq!(first, record(Some("alice"), "POST", "/v1/payments", "k"));
        for other in [
            record(Some("bob"), "POST", "/v1/payments", "k"),
            record(None, "POST", "/v1/payments", "k"),
            record(Some("alice"), "PATCH", "/v1/payments", "k"),
            record(Some("alice"), "POST", "/v2/payments", "k"),
            record(Some("alice"), "POST", "/v1/payments", "l"),
        ] {
            assert_ne!(first.name(), other.name());
        }
    }

    #[test]
    fn a04_records_are_still_found_after_a_path_parameter_is_renamed() {
        let named = |route| record(Some("alice"), "POST", route, "k");
        let first = named("/v1/orders/{id}/lines/{line}");
        assert_eq!(first, named("/v1/orders/{order_id}/lines/{line_number}"));
        for other in [
            "/v1/orders/{id}/lines",
            "/v1/orders/{id}/lines/line",
            "/v1/orders/id/lines/{line}",
        ] {
            assert_ne!(first, named(other), "{other}");
        }
        for (template, bare) in [
            ("/", "/"),
            ("/a/{b}", "/a/{}"),
            ("/{a}/b/{c}/d", "/{}/b/{}/d"),
            ("/files/{*rest}", "/files/{}"),
        ] {
            assert_eq!(without_parameter_names(template), bare);
        }
    }

    #[test]
    fn a04_records_of_a_caller_share_a_hash_and_records_without_a_caller_do_not() {
        let of = |caller, key| record(caller, "POST", "/v1/payments", key);
        assert_eq!(
            of(Some("alice"), "k").caller(),
            of(Some("alice"), "l").caller()
        );
        assert_eq!(
            of(Some("alice"), "k").caller(),
            &OwnerHasher::new("test").hash_caller(&Caller::new("alice"))
        );
        assert_ne!(
            of(Some("alice"), "k").caller(),
            of(Some("bob"), "k").caller()
        );
        let (first, second) = (of(None, "k"), of(None, "l"));
        assert_eq!(
            (first.caller(), second.caller()),
            (first.name(), second.name())
        );
        assert_ne!(first, second);
        assert_ne!(
            first.name(),
            of(Some(""), "k").name(),
            "an empty caller id is still a caller"
        );
    }

    #[test]
    fn a04_services_with_different_namespaces_share_no_records() {
        let record = |namespace, caller: Option<&Caller>| {
            RecordNames::new(namespace, "POST", "/v1/x")
                .record(caller, "k")
                .0
        };
        let alice = Caller::new("alice");
        for caller in [None, Some(&alice)] {
            let (one, two) = (record("one", caller), record("two", caller));
            assert!(one.caller() != two.caller() && one.name() != two.name());
        }
    }

    #[test]
    fn a05_a_fingerprint_depends_on_caller_and_key() {
        let (head, ()) = http::Request::post("/")
            .body(())
            .expect("a request")
            .into_parts();
        let of = |caller, key| {
            fingerprint_key(caller, key).fingerprint(&head, &[], &Bytes::from_static(b"{}"))
        };
        let first = of("alice", "k");
        assert_eq!(first, of("alice", "k"));
        for other in [of("bob", "k"), of("alice", "l")] {
            assert_ne!(first, other, "another fingerprint for the same request");
        }
        let name = record(Some("alice"), "POST", "/orders/{id}/pay", "k");
        let guess =
            FingerprintKey::new(*name.name()).fingerprint(&head, &[], &Bytes::from_static(b"{}"));
        assert_ne!(first, guess, "the name does not reveal the fingerprint key");
    }

    #[test]
    fn a05_path_query_media_type_and_body_are_compared() {
        let first = fingerprint("/orders/1/pay?a=1&b=2", "application/json", r#"{"x":1}"#);
        assert_eq!(
            first,
            fingerprint(
                "/orders/1/pay?b=2&a=1",
                "Application/JSON; charset=utf-8",
                r#" {"x" : 1}"#
            )
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
    fn a05_paths_are_compared_by_their_decoded_segments() {
        let path = |path: &str| fingerprint(path, "text/plain", "");
        assert_eq!(path("/orders/a%62%3Ac"), path("/orders/ab:c"));
        assert_eq!(path("/orders/%c3%a9"), path("/orders/%C3%A9"));
        assert_eq!(path("/orders/a%2fb"), path("/orders/a%2Fb"));
        for (one, other) in [
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("%2561", "a"),
            ("%2561", "%61"),
        ] {
            assert_ne!(
                path(&format!("/orders/{one}")),
                path(&format!("/orders/{other}")),
                "{one} {other}"
            );
        }
        // A percent sign without two hexadecimal digits is a literal percent sign.
        assert_eq!(
            normalize_path("/%%32F/%zz/%2"),
            normalize_path("/%252F/%25zz/%252")
        );
        assert_ne!(normalize_path("/%%32F"), normalize_path("/%2F"));
    }

    #[test]
    fn a05_content_codings_are_compared() {
        let coded = |codings: &[&'static str]| {
            let post = codings
                .iter()
                .fold(http::Request::post("/"), |post, coding| {
                    post.header(CONTENT_ENCODING, *coding)
                });
            fingerprint_of(
                &post.body(()).expect("a request").into_parts().0,
                &[],
                &Bytes::new(),
            )
        };
        assert_eq!(coded(&["GZIP"]), coded(&["gzip"]));
        assert_eq!(coded(&["identity"]), coded(&[]));
        assert_eq!(coded(&["gzip, br"]), coded(&["gzip", "br"]));
        assert_ne!(coded(&["gzip"]), coded(&[]));
        assert_ne!(coded(&["gzip", "br"]), coded(&["gzip"]));
    }

    #[test]
    fn a05_the_order_of_values_with_the_same_name_is_compared() {
        let fingerprint = |query: &str| fingerprint(&format!("/lists?{query}"), "text/plain", "");
        assert_eq!(
            fingerprint("sort=a&sort=b&page=1"),
            fingerprint("page=1&sort=a&sort=b")
        );
        assert_ne!(fingerprint("sort=a&sort=b"), fingerprint("sort=b&sort=a"));
    }

    #[test]
    fn a05_a_query_that_is_not_utf8_is_compared_byte_by_byte() {
        let query = |query| fingerprint(query, "", "");
        assert_ne!(query("/?to=%FF"), query("/?to=%FE"));
        assert_ne!(query("/?to=%FF"), query("/?to=%EF%BF%BD"));
        assert_eq!(query("/?to=%C3%A9"), query("/?to=%c3%a9"));
    }

    #[test]
    fn a05_requests_with_different_json_media_types_differ() {
        let json = |media| fingerprint("/", media, r#"{"x":1}"#);
        assert_ne!(
            json("application/json"),
            json("application/merge-patch+json")
        );
    }

    #[test]
    fn a05_bodies_that_are_not_json_are_compared_byte_by_byte() {
        for media in ["text/plain", "application/json"] {
            assert_ne!(
                fingerprint("/", media, "tea"),
                fingerprint("/", media, "salt"),
                "{media}"
            );
        }
    }

    #[test]
    fn a05_repeated_parameters_and_fields_are_all_compared() {
        let query = |query| fingerprint(query, "", "");
        assert_ne!(query("/?a=1&a=2"), query("/?a=1&a=3"));
        assert_ne!(query("/?a=1&a=1"), query("/?a=1"));
        let regions = |second| {
            let request = http::Request::post("/")
                .header("x-region", "eu")
                .header("x-region", second);
            let (head, ()) = request.body(()).expect("a request").into_parts();
            fingerprint_of(&head, &["x-region"], &Bytes::new())
        };
        assert_eq!(regions("us"), regions("us"));
        assert_ne!(regions("us"), regions("as"));
    }

    #[test]
    fn a06_the_layout_of_json_does_not_matter_if_the_media_type_is_json() {
        let layouts = |media| {
            (
                fingerprint("/", media, "[1,2]"),
                fingerprint("/", media, "[1, 2]"),
            )
        };
        for media in [
            "application/json",
            "application/merge-patch+json",
            "Application/Vnd.Shop+JSON; v=1",
        ] {
            let (compact, spaced) = layouts(media);
            assert_eq!(compact, spaced, "{media}");
        }
        for media in ["text/plain", "", "application/jsonlines"] {
            let (compact, spaced) = layouts(media);
            assert_ne!(compact, spaced, "{media}");
        }
    }

    #[test]
    fn a05_fields_are_compared_only_if_the_endpoint_names_them() {
        let fingerprint = |fields: &[(&'static str, &'static str)], named: &[&str]| {
            let request = fields
                .iter()
                .fold(http::Request::post("/"), |request, (name, value)| {
                    request.header(*name, *value)
                });
            let (head, ()) = request.body(()).expect("a request").into_parts();
            fingerprint_of(&head, named, &Bytes::new())
        };
        let (eu, us) = ([("x-region", "eu")], [("x-region", "us")]);
        assert_eq!(fingerprint(&eu, &[]), fingerprint(&us, &[]));
        assert_ne!(
            fingerprint(&eu, &["x-region"]),
            fingerprint(&us, &["x-region"])
        );
        assert_ne!(
            fingerprint(&eu, &["x-region"]),
            fingerprint(&[], &["x-region"])
        );
        let both = ["x-region", "x-tier"];
        let (one, other) = (
            [("x-region", "a"), ("x-region", "b")],
            [("x-region", "a"), ("x-tier", "b")],
        );
        assert_ne!(fingerprint(&one, &both), fingerprint(&other, &both));
    }

    #[test]
    fn a04_record_names_do_not_change_between_releases() {
        let name =
            |caller| record(caller, "POST", "/v1/orders/{id}/pay", "8e03978e-40d5").to_string();
        assert_eq!(
            name(Some("alice")),
            "6E30_mMpu_LuHFu82efgPg.O9L_tsmaGq5I0CvzZlqDPw"
        );
        assert_eq!(name(None), "57nFziCXyzg6c5SEqqXnlA.57nFziCXyzg6c5SEqqXnlA");
    }

    #[test]
    fn a07_fingerprints_do_not_change_between_releases() {
        let request =
            http::Request::post("/orders/1?b=2&a=1").header(CONTENT_TYPE, "application/json");
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let fingerprint = fingerprint_of(
            &head,
            &[],
            &Bytes::from_static(br#"{"b": [1, "x"], "a": null}"#),
        );
        let digest = URL_SAFE_NO_PAD.encode(fingerprint.digest());
        assert_eq!(
            (fingerprint.version(), digest.as_str()),
            (2, "V2MP5shEIY8h53K-JByWmri9JYRLKcgMOiinIFjc33k")
        );
    }
}
