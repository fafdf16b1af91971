//! Checks the head of a request before routing, and responds with problem documents to requests
//! that no endpoint handles.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::{HeaderMap, Method, Uri, Version};
use tower_service::Service;

use crate::client::TrustedProxies;
use crate::problem::{Problem, ProblemContext, ProblemSpec, Retry, registry};
use crate::request::{IncomingRequest, RequestId, X_REQUEST_ID};

/// The maximum length of a path with its query, in bytes. It is twice the 8,000 bytes that RFC 9110
/// §4.1 recommends to support. The `detail` of a 414 contains this limit.
const MAX_TARGET: usize = 16 << 10;

/// The maximum size of a header section, in bytes. The `detail` of a 431 contains this limit. hyper
/// itself accepts a head of about 400 KiB, which every layer and every log line would copy.
const MAX_HEADERS: usize = 64 << 10;

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
            move |request: Request| refuse(spec, Arc::clone(&shared), request)
        };
        let method_not_allowed = fallback(&registry::METHOD_NOT_ALLOWED);
        let router = router
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(fallback(&registry::NOT_FOUND));
        Self { router, shared }
    }

    /// Passes a request to the router, unless its head is refused.
    pub(super) async fn handle(&mut self, request: Request) -> Response {
        match check_size(request.uri(), request.headers()).or_else(|| check_host(&request)) {
            Some(spec) => refuse(spec, Arc::clone(&self.shared), request).await,
            None => self
                .router
                .call(request)
                .await
                .unwrap_or_else(|never| match never {}),
        }
    }
}

/// Responds with a problem document.
async fn refuse(
    spec: &'static ProblemSpec,
    shared: Arc<DocumentContext>,
    request: Request,
) -> Response {
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
    let problem = Problem::new(spec);
    let problem = match detail_of(spec.status) {
        Some(detail) => problem.with_detail(detail),
        None => problem,
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
    (size > MAX_HEADERS).then_some(&registry::HEADERS_TOO_LARGE)
}

/// Returns the problem of an HTTP/1.1 request without exactly one `Host` (RFC 9112 §3.2). If there
/// were several, a proxy and the service could choose different ones.
fn check_host(request: &Request) -> Option<&'static ProblemSpec> {
    let hosts = request.headers().get_all(HOST).iter().count();
    (request.version() == Version::HTTP_11 && hosts != 1).then_some(&registry::BAD_REQUEST)
}

/// Returns the explanation of a refused head.
const fn detail_of(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("the request must have exactly one `Host` field"),
        414 => Some("the path and query are longer than 16 KiB"),
        431 => Some("the header section is larger than 64 KiB"),
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
}
