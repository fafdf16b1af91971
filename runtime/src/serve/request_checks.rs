//! What a service answers before an endpoint is found, and where none is: problem documents.

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

/// The longest path with its query, in bytes.
const MAX_TARGET: usize = 16 << 10;

/// The largest header section, in bytes: of each field its name, its value and four that part them.
const MAX_HEADERS: usize = 64 << 10;

/// A router, and what is said where it is not asked or has no answer.
#[derive(Debug, Clone)]
pub(crate) struct RequestChecks {
    router: Router,
    shared: Arc<DocumentContext>,
}

/// What the documents say and whom they believe, as those of the endpoints.
#[derive(Debug)]
struct DocumentContext {
    problem_base: String,
    proxies: TrustedProxies,
}

impl RequestChecks {
    /// Answers what no route or no method of a route answers, too.
    pub(crate) fn new(problem_base: String, proxies: TrustedProxies, router: Router) -> Self {
        let shared = Arc::new(DocumentContext {
            problem_base,
            proxies,
        });
        let answer = |spec: &'static ProblemSpec| {
            let shared = Arc::clone(&shared);
            move |request: Request| document(spec, Arc::clone(&shared), request)
        };
        let not_allowed = answer(&registry::METHOD_NOT_ALLOWED);
        let router = router
            .method_not_allowed_fallback(not_allowed)
            .fallback(answer(&registry::NOT_FOUND));
        Self { router, shared }
    }

    pub(super) async fn answer(&mut self, request: Request) -> Response {
        match too_large(request.uri(), request.headers()).or_else(|| no_host(&request)) {
            Some(spec) => document(spec, Arc::clone(&self.shared), request).await,
            None => self
                .router
                .call(request)
                .await
                .unwrap_or_else(|never| match never {}),
        }
    }
}

async fn document(
    spec: &'static ProblemSpec,
    shared: Arc<DocumentContext>,
    request: Request,
) -> Response {
    let id = RequestId::of(&request, &shared.proxies);
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE
    );
    let repeat = Retry::of_unstored(idempotent);
    let occasion = ProblemContext {
        request_id: id.as_str(),
        retry: repeat,
        type_base: &shared.problem_base,
    };
    let problem = Problem::new(spec);
    let problem = match detail(spec.status) {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    };
    let mut response = ().into_response();
    problem.write(&mut response, Some(occasion));
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    IncomingRequest::new(request).take_unread().drain().await;
    response
}

/// hyper itself takes a head of up to some 400 KiB, of which every layer and every log would carry copies.
fn too_large(target: &Uri, headers: &HeaderMap) -> Option<&'static ProblemSpec> {
    if target
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > MAX_TARGET)
    {
        return Some(&registry::URI_TOO_LONG);
    }
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    (size > MAX_HEADERS).then_some(&registry::HEADERS_TOO_LARGE)
}

/// Of several hosts a proxy may take another than the service (RFC 9112 §3.2).
fn no_host(request: &Request) -> Option<&'static ProblemSpec> {
    let hosts = request.headers().get_all(HOST).iter().count();
    (request.version() == Version::HTTP_11 && hosts != 1).then_some(&registry::BAD_REQUEST)
}

/// What is wrong with a head.
const fn detail(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("the request does not have exactly one `Host`"),
        414 => Some("the request's target is longer than the service reads"),
        431 => Some("the request's header section is larger than the service reads"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_bounds() {
        let uri =
            |length: usize| Uri::try_from(format!("/{}", "a".repeat(length - 1))).expect("a URI");
        let none = HeaderMap::new();
        assert_eq!(too_large(&uri(MAX_TARGET), &none), None);
        assert_eq!(
            too_large(&uri(MAX_TARGET + 1), &none),
            Some(&registry::URI_TOO_LONG)
        );
        let field = |length: usize| {
            let value = http::HeaderValue::try_from("v".repeat(length - 1 - 4)).expect("a value");
            HeaderMap::from_iter([(http::HeaderName::from_static("x"), value)])
        };
        assert_eq!(too_large(&uri(1), &field(MAX_HEADERS)), None);
        assert_eq!(
            too_large(&uri(1), &field(MAX_HEADERS + 1)),
            Some(&registry::HEADERS_TOO_LARGE)
        );
    }
}
