//! Checks the head of a request before routing, and responds with problem documents to requests
//! that no endpoint handles.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, Version};
use tower_service::Service;

use crate::client::TrustedProxies;
use crate::problem::{Problem, ProblemContext, ProblemSpec, Retry, registry};
use crate::request::{IncomingRequest, RequestId, X_REQUEST_ID};

/// The maximum length of a path with its query, in bytes. It is twice the 8,000 bytes that RFC 9110
/// §4.1 recommends to support. The `detail` of a 414 contains this limit.
pub(super) const MAX_TARGET: usize = 16 << 10;

/// The maximum size of a header section, in bytes. The `detail` of a 431 contains this limit. Most
/// servers accept between 8 and 32 KiB. Every layer and every log line could copy the fields.
pub(super) const MAX_HEADERS: usize = 32 << 10;

/// The maximum number of header fields. The `detail` of a 431 contains this limit. hyper has the
/// same limit for HTTP/1, and none for HTTP/2.
const MAX_FIELDS: usize = 100;

/// The bytes of a field in addition to its name and value: colon, space, CR and LF.
const FIELD_OVERHEAD: usize = 4;

/// A router with checks before it, and problem documents as its fallbacks.
#[derive(Debug, Clone)]
pub(crate) struct RequestChecks {
    router: Router,
    shared: Arc<DocumentContext>,
}

/// The API's settings for problem documents.
#[derive(Debug)]
struct DocumentContext {
    problem_base: String,
    proxies: TrustedProxies,
}

impl RequestChecks {
    /// Adds the fallbacks for unknown paths and methods to a router.
    pub(crate) fn new(problem_base: String, proxies: TrustedProxies, router: Router) -> Self {
        let shared = Arc::new(DocumentContext {
            problem_base,
            proxies,
        });
        let fallback = |spec: &'static ProblemSpec| {
            let shared = Arc::clone(&shared);
            move |request: Request| refuse(problem_of(spec), Arc::clone(&shared), request)
        };
        let method_not_allowed = fallback(&registry::METHOD_NOT_ALLOWED);
        let router = router
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(fallback(&registry::NOT_FOUND));
        Self { router, shared }
    }

    /// Returns `true` if a peer is a trusted proxy.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.shared.proxies.trusts(peer)
    }

    /// Refuses a request, because its client does not read earlier responses.
    pub(super) async fn refuse_overload(&self, request: Request) -> Response {
        refuse(Problem::overloaded(), Arc::clone(&self.shared), request).await
    }

    /// Passes a request to the router, unless its head is refused.
    pub(super) async fn handle(&mut self, request: Request) -> Response {
        match check_size(request.uri(), request.headers()).or_else(|| check_host(&request)) {
            Some(spec) => refuse(problem_of(spec), Arc::clone(&self.shared), request).await,
            None => self
                .router
                .call(request)
                .await
                .unwrap_or_else(|never| match never {}),
        }
    }
}

/// Responds with a problem document.
async fn refuse(problem: Problem, shared: Arc<DocumentContext>, request: Request) -> Response {
    let id = RequestId::of(&request, &shared.proxies);
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE
    );
    let retry = Retry::of_unstored(idempotent);
    let context = ProblemContext {
        request_id: id.as_str(),
        retry,
        type_base: &shared.problem_base,
    };
    let mut response = ().into_response();
    problem.write(&mut response, Some(context));
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    // The rest of the body is drained before the response is sent. A client that is still sending
    // its body can then read the response.
    IncomingRequest::new(request).take_unread().drain().await;
    response
}

/// Returns the problem of a head that is too large.
fn check_size(target: &Uri, headers: &HeaderMap) -> Option<&'static ProblemSpec> {
    if target
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > MAX_TARGET)
    {
        return Some(&registry::URI_TOO_LONG);
    }
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum();
    (size > MAX_HEADERS || headers.len() > MAX_FIELDS).then_some(&registry::HEADERS_TOO_LARGE)
}

/// Returns the problem of a request that does not name exactly one valid host (RFC 9112 §3.2, RFC
/// 9113 §8.3.1). If there were two, a proxy and the service could choose different ones.
///
/// An HTTP/1.0 request may have no host. An HTTP/2 request names its host in `:authority`, and may
/// repeat it in `Host`.
fn check_host(request: &Request) -> Option<&'static ProblemSpec> {
    let authority = request.uri().authority().map(Authority::as_str);
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    let is_valid = match (field, authority) {
        _ if second.is_some() => false,
        (None, None) => request.version() < Version::HTTP_11,
        (None, Some(authority)) => {
            request.version() != Version::HTTP_11 && is_host(authority.as_bytes())
        }
        (Some(field), None) => is_host(field.as_bytes()),
        (Some(field), Some(authority)) => {
            is_host(field.as_bytes()) && field.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
        }
    };
    (!is_valid).then_some(&registry::BAD_REQUEST)
}

/// Returns `true` for a host with an optional port, without user information (RFC 9110 §4.2.4).
fn is_host(bytes: &[u8]) -> bool {
    // Most hosts are names or IPv4 addresses. For them the parser is not needed.
    let is_simple = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = !bytes.is_empty() && bytes.iter().all(is_simple);
    is_name
        || Authority::try_from(bytes).is_ok_and(|authority| {
            let has_user = bytes.contains(&b'@');
            // A port may be empty (RFC 3986 §3.2.3).
            let has_port = authority.port_u16().is_some() || bytes.ends_with(b":");
            let has_host = !authority.host().is_empty();
            let is_whole = authority.host().len() == bytes.len();
            has_host && !has_user && (has_port || is_whole)
        })
}

/// Returns the problem of a refused head, or of a request without an endpoint.
fn problem_of(spec: &ProblemSpec) -> Problem {
    let problem = Problem::new(spec);
    match detail_of(spec.status) {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    }
}

/// Returns the explanation of a refused head.
const fn detail_of(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("the request must name exactly one valid host, in `Host` or `:authority`"),
        414 => Some("the path and query are longer than 16 KiB"),
        431 => Some("the header section is larger than 32 KiB, or has more than 100 fields"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_over_the_limits_are_refused() {
        let uri =
            |length: usize| Uri::try_from(format!("/{}", "a".repeat(length - 1))).expect("a URI");
        let none = HeaderMap::new();
        assert_eq!(check_size(&uri(MAX_TARGET), &none), None);
        assert_eq!(
            check_size(&uri(MAX_TARGET + 1), &none),
            Some(&registry::URI_TOO_LONG)
        );
        let field = |length: usize| {
            let value = http::HeaderValue::try_from("v".repeat(length - 1 - FIELD_OVERHEAD))
                .expect("a value");
            HeaderMap::from_iter([(http::HeaderName::from_static("x"), value)])
        };
        assert_eq!(check_size(&uri(1), &field(MAX_HEADERS)), None);
        assert_eq!(
            check_size(&uri(1), &field(MAX_HEADERS + 1)),
            Some(&registry::HEADERS_TOO_LARGE)
        );
    }

    #[test]
    fn too_many_fields_are_refused() {
        let field = |number: usize| {
            let name = http::HeaderName::try_from(format!("x-{number}")).expect("a name");
            (name, http::HeaderValue::from_static("v"))
        };
        let fields = |count: usize| (0..count).map(field).collect::<HeaderMap>();
        let uri = Uri::from_static("/");
        assert_eq!(check_size(&uri, &fields(MAX_FIELDS)), None);
        assert_eq!(
            check_size(&uri, &fields(MAX_FIELDS + 1)),
            Some(&registry::HEADERS_TOO_LARGE)
        );
    }

    #[test]
    fn a_request_names_exactly_one_valid_host() {
        let accepts = |version: Version, uri: &str, hosts: &[&str]| {
            let mut request = http::Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            check_host(&request).is_none()
        };
        let (http10, http11, http2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for host in [
            "a",
            "a.example",
            "a:80",
            "a:",
            "127.0.0.1:3000",
            "[::1]:80",
            "x_y",
            "A.example.",
        ] {
            assert!(accepts(http11, "/", &[host]), "{host}");
            assert!(accepts(http2, &format!("http://{host}/"), &[]), "{host}");
        }
        for host in [
            "", "a b", "a b/c@", "a/c", "u@a", "a:x", ":80", "a, b", "[::1", "a?b", "a#b",
        ] {
            assert!(!accepts(http11, "/", &[host]), "{host}");
            assert!(!accepts(http10, "/", &[host]), "{host}");
            assert!(!accepts(http2, "http://a/", &[host]), "{host}");
        }
        assert!(accepts(http10, "/", &[]));
        assert!(!accepts(http11, "/", &[]) && !accepts(http2, "/", &[]));
        assert!(!accepts(http11, "/", &["a", "a"]));
        for version in [http11, http2] {
            assert!(accepts(version, "http://a.example/", &["A.example"]));
            assert!(!accepts(version, "http://a.example/", &["b.example"]));
            assert!(!accepts(version, "http://a.example/", &["a.example:81"]));
        }
        assert!(!accepts(http2, "http://u@a/", &[]));
    }
}
