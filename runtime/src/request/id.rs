//! The id of a request.

use core::cell::RefCell;
use core::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::Rng as _;
use rand::rngs::SmallRng;
use ulid::{ULID_LEN, Ulid};

use crate::client::{TrustedProxies, peer};
use crate::problem::Problem;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The maximum length of an id from a proxy. It is bounded, because every log line of the request
/// repeats the id.
const MAX_LENGTH: usize = 128;

/// The id of a request in the log, in problem documents, and in the field `X-Request-Id` of its
/// response.
///
/// By default, the id is a new ULID. If the peer is one of the API's
/// [trusted proxies](crate::Api::trusted_proxies) and sends one `X-Request-Id` of up to 128
/// characters of `[A-Za-z0-9._-]`, the id is the value of that field. Ids from other clients are
/// ignored, because a client could send the id of another request.
///
/// A handler can take the id as an argument, for example to send it to another service:
///
/// ```
/// use aplomb::{RequestId, endpoint};
///
/// /// Returns the id of this request in the log.
/// #[endpoint(get = "/whoami", public)]
/// async fn whoami(id: RequestId) -> String {
///     format!("look for {id}")
/// }
/// ```
///
/// Your own extractor can read the id only at endpoints that also take it as an argument. At other
/// endpoints, the request does not contain the id.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Text);

#[derive(Clone, PartialEq, Eq)]
enum Text {
    Generated([u8; ULID_LEN]),
    FromProxy(HeaderValue),
}

impl RequestId {
    /// Returns the id that a trusted proxy sent with the request, or else a new one.
    pub(crate) fn of(request: &Request, proxies: &TrustedProxies) -> Self {
        if proxies.is_empty() {
            return Self::new();
        }
        let from_proxy = || {
            single_plain_id(request.headers())
                .filter(|_| peer(request.extensions()).is_some_and(|peer| proxies.trusts(peer)))
        };
        from_proxy().map_or_else(Self::new, |value| Self(Text::FromProxy(value.clone())))
    }

    pub(crate) fn new() -> Self {
        thread_local! {
            // An id must be unique, but not secret. A generator for each thread, seeded one time,
            // takes a third of the time of a cryptographic generator.
            static RANDOM: RefCell<SmallRng> = RefCell::new(rand::make_rng());
        }
        let random = RANDOM.with_borrow_mut(|random| {
            u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
        });
        let mut text = [0; ULID_LEN];
        Ulid::from_parts(unix_milliseconds(), random).array_to_str(&mut text);
        Self(Text::Generated(text))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        let bytes = match &self.0 {
            Text::Generated(text) => text.as_slice(),
            Text::FromProxy(value) => value.as_bytes(),
        };
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) fn to_value(&self) -> HeaderValue {
        match &self.0 {
            Text::Generated(text) => HeaderValue::from_bytes(text).expect("a ULID is plain ASCII"),
            Text::FromProxy(value) => value.clone(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::internal(
                "an extractor needs the `RequestId`, but the endpoint does not pass it on: add an argument \
                 of type `RequestId` to the endpoint",
            )
        })
    }
}

fn unix_milliseconds() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_secs() * 1_000 + u64::from(now.subsec_millis())
}

/// Returns the request's `X-Request-Id`, if there is exactly one and it has only allowed
/// characters.
fn single_plain_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    values
        .next()
        .filter(|value| values.next().is_none() && is_plain(value.as_bytes()))
}

fn is_plain(bytes: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=MAX_LENGTH).contains(&bytes.len()) && bytes.iter().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;

    use super::*;
    use crate::client::{ForwardedField, Networks};

    fn proxies(text: &str) -> TrustedProxies {
        TrustedProxies::new(
            Networks::new(text).expect("networks"),
            ForwardedField::default(),
        )
    }

    fn id(proxies: &TrustedProxies, peer: Option<&str>, values: &[&[u8]]) -> String {
        let mut request = Request::new(Body::empty());
        for value in values {
            request.headers_mut().append(
                X_REQUEST_ID,
                HeaderValue::from_bytes(value).expect("a field"),
            );
        }
        if let Some(peer) = peer {
            let address = SocketAddr::new(peer.parse().expect("an address"), 1);
            request.extensions_mut().insert(ConnectInfo(address));
        }
        RequestId::of(&request, proxies).as_str().to_owned()
    }

    #[test]
    fn f03_a_plain_id_from_a_trusted_proxy_is_used() {
        let proxies = proxies("10.0.0.0/8");
        let id = |values: &[&[u8]]| id(&proxies, Some("::ffff:10.1.2.3"), values);
        assert_eq!(id(&[b"abc-1.2_3"]), "abc-1.2_3");
        for wrong in [
            &b""[..],
            b"a b",
            b"\"<script>",
            &[b'a'; 129],
            "é".as_bytes(),
        ] {
            assert_eq!(id(&[wrong]).len(), ULID_LEN);
        }
        assert_eq!(id(&[]).len(), ULID_LEN);
        assert_eq!(id(&[b"a", b"b"]).len(), ULID_LEN, "two ids are ambiguous");
    }

    #[test]
    fn f03_an_id_from_any_other_client_is_ignored() {
        for (networks, peer) in [
            ("10.0.0.0/8", Some("192.0.2.1")),
            ("10.0.0.0/8", None),
            ("", Some("10.0.0.1")),
        ] {
            assert_eq!(
                id(&proxies(networks), peer, &[b"abc"]).len(),
                ULID_LEN,
                "{networks:?} {peer:?}"
            );
        }
    }
}
