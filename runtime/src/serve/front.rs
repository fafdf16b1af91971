//! What a service answers before an endpoint is found, and where none is: problem documents.

use core::str;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::HOST;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use tower_service::Service;

use crate::client::TrustedProxies;
use crate::pipeline::{Intake, RequestId, X_REQUEST_ID};
use crate::problem::{Occasion, Problem, ProblemSpec, Repeat, registry};

/// The longest path with its query, in bytes.
const LONGEST_TARGET: usize = 16 << 10;

/// The largest header section, in bytes: of each field its name, its value and four that part them.
const LARGEST_HEADERS: usize = 64 << 10;

/// A router, and what is said where it is not asked or has no answer.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    router: Router,
    shared: Arc<Shared>,
}

/// What the documents say and whom they believe, as those of the endpoints.
#[derive(Debug)]
struct Shared {
    problem_base: String,
    proxies: TrustedProxies,
}

impl Front {
    /// Answers what no route or no method of a route answers, too.
    pub(crate) fn new(problem_base: String, proxies: TrustedProxies, router: Router) -> Self {
        let shared = Arc::new(Shared { problem_base, proxies });
        let answer = |spec: &'static ProblemSpec| {
            let shared = Arc::clone(&shared);
            move |request: Request| document(spec, Arc::clone(&shared), request)
        };
        let not_allowed = answer(&registry::METHOD_NOT_ALLOWED);
        let router = router.method_not_allowed_fallback(not_allowed).fallback(answer(&registry::NOT_FOUND));
        Self { router, shared }
    }

    pub(super) async fn answer(&mut self, request: Request) -> Response {
        match too_large(request.uri(), request.headers()).or_else(|| no_host(&request)) {
            Some(spec) => document(spec, Arc::clone(&self.shared), request).await,
            None => self.router.call(request).await.unwrap_or_else(|never| match never {}),
        }
    }

    /// The document for a head that hyper could not read, in place of its own empty refusal, whose date and
    /// whose end of the connection stay.
    pub(super) fn explain(&self, refusal: &[u8]) -> Option<Vec<u8>> {
        let (status, fields) = refused(refusal)?;
        let id = RequestId::new();
        let occasion = Occasion {
            request_id: id.as_str(),
            repeat: Repeat::SecondEffect,
            type_base: &self.shared.problem_base,
        };
        let problem = Problem::new(&registry::for_status(status.as_u16()))
            .with_detail(detail(status.as_u16()).unwrap_or(UNREADABLE));
        let mut response = ().into_response();
        problem.write(&mut response, Some(occasion));
        response.headers_mut().insert(X_REQUEST_ID, id.to_value());
        written(&response.map(whole), fields)
    }
}

async fn document(spec: &'static ProblemSpec, shared: Arc<Shared>, request: Request) -> Response {
    let id = RequestId::of(&request, &shared.proxies);
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
    let repeat = Repeat::unkept(idempotent);
    let occasion = Occasion { request_id: id.as_str(), repeat, type_base: &shared.problem_base };
    let problem = Problem::new(spec);
    let problem = match detail(spec.status) {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    };
    let mut response = ().into_response();
    problem.write(&mut response, Some(occasion));
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    Intake::new(request).take_unread().drain().await;
    response
}

/// hyper itself takes a head of up to some 400 KiB, of which every layer and every log would carry copies.
fn too_large(target: &Uri, headers: &HeaderMap) -> Option<&'static ProblemSpec> {
    if target.path_and_query().is_some_and(|target| target.as_str().len() > LONGEST_TARGET) {
        return Some(&registry::URI_TOO_LONG);
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (size > LARGEST_HEADERS).then_some(&registry::HEADERS_TOO_LARGE)
}

/// Of several hosts a proxy may take another than the service (RFC 9112 §3.2).
fn no_host(request: &Request) -> Option<&'static ProblemSpec> {
    let hosts = request.headers().get_all(HOST).iter().count();
    (request.version() == Version::HTTP_11 && hosts != 1).then_some(&registry::BAD_REQUEST)
}

/// The status of a head that is a refusal without a body, and its other fields.
fn refused(head: &[u8]) -> Option<(StatusCode, Vec<&str>)> {
    let head = str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status: StatusCode = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let is_length = |line: &&str| line.eq_ignore_ascii_case("content-length: 0");
    let (length, fields): (Vec<_>, Vec<_>) = lines.partition(is_length);
    (status.is_client_error() && !length.is_empty()).then_some((status, fields))
}

const UNREADABLE: &str =
    "the request's head is not HTTP/1.1, or its fields contradict each other, or it does not have one `Host`";

/// What is wrong with a head.
const fn detail(status: u16) -> Option<&'static str> {
    match status {
        400 => Some(UNREADABLE),
        414 => Some("the request's target is longer than the service reads"),
        431 => Some("the request's header section is larger than the service reads, or has more fields"),
        _ => None,
    }
}

/// The body of a document, all of which is there.
fn whole(body: Body) -> Vec<u8> {
    body.collect().now_or_never().and_then(Result::ok).map_or_else(Vec::new, |body| body.to_bytes().into())
}

fn written(response: &http::Response<Vec<u8>>, fields: Vec<&str>) -> Option<Vec<u8>> {
    let status = response.status();
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason()?);
    let mut add = |name: &str, value: &str| {
        head.extend([name, ": ", value, "\r\n"]);
    };
    for (name, value) in response.headers() {
        add(name.as_str(), value.to_str().ok()?);
    }
    for (name, value) in fields.into_iter().filter_map(|field| field.split_once(": ")) {
        add(name, value);
    }
    add("content-length", &response.body().len().to_string());
    head.push_str("\r\n");
    Some([head.as_bytes(), response.body()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f01_a_refusal_of_the_protocol_becomes_a_document() {
        let front = Front::new(String::from("urn:aplomb:problem:"), TrustedProxies::default(), Router::new());
        let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: Sun, 22 Nov 2026 20:00:00 GMT\r\n\r\n";
        let text = String::from_utf8(front.explain(refusal).expect("a refusal")).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        for field in [
            "connection: close",
            "date: Sun, 22 Nov 2026 20:00:00 GMT",
            "content-type: application/problem+json",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(head.split("\r\n").any(|line| line == field), "{field} in {head}");
        }
        let document: serde_json::Value = serde_json::from_str(body).expect("a document");
        assert_eq!(document["code"], "HEADERS_TOO_LARGE");
        let id = document["request_id"].as_str().expect("an id");
        assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
    }

    #[test]
    fn what_is_no_refusal_stays_as_it_is() {
        let front = Front::new(String::new(), TrustedProxies::default(), Router::new());
        for other in [
            &b""[..],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore",
            b"\xff\r\n\r\n",
        ] {
            assert!(front.explain(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn heads_have_bounds() {
        let uri = |length: usize| Uri::try_from(format!("/{}", "a".repeat(length - 1))).expect("a URI");
        let none = HeaderMap::new();
        assert_eq!(too_large(&uri(LONGEST_TARGET), &none), None);
        assert_eq!(too_large(&uri(LONGEST_TARGET + 1), &none), Some(&registry::URI_TOO_LONG));
        let field = |length: usize| {
            let value = http::HeaderValue::try_from("v".repeat(length - 1 - 4)).expect("a value");
            HeaderMap::from_iter([(http::HeaderName::from_static("x"), value)])
        };
        assert_eq!(too_large(&uri(1), &field(LARGEST_HEADERS)), None);
        assert_eq!(too_large(&uri(1), &field(LARGEST_HEADERS + 1)), Some(&registry::HEADERS_TOO_LARGE));
    }
}
