//! Problem documents where no endpoint answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::Method;

use crate::client::TrustedProxies;
use crate::pipeline::{Intake, RequestId, X_REQUEST_ID};
use crate::problem::{Occasion, Problem, ProblemSpec, Repeat, registry};

/// Answers what no route or no method of a route answers.
pub(crate) fn with_problems(problem_base: String, proxies: TrustedProxies, router: Router) -> Router {
    let shared = Arc::new((problem_base, proxies));
    let answer = |spec: &'static ProblemSpec| {
        let shared = Arc::clone(&shared);
        move |request: Request| document(spec, Arc::clone(&shared), request)
    };
    router
        .method_not_allowed_fallback(answer(&registry::METHOD_NOT_ALLOWED))
        .fallback(answer(&registry::NOT_FOUND))
}

async fn document(
    spec: &'static ProblemSpec,
    shared: Arc<(String, TrustedProxies)>,
    request: Request,
) -> Response {
    let (base, proxies) = &*shared;
    let id = RequestId::of(&request, proxies);
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
    let repeat = Repeat::unkept(idempotent);
    let occasion = Occasion { request_id: id.as_str(), repeat, type_base: base };
    let problem = Problem::new(spec);
    let mut response = ().into_response();
    problem.write(&mut response, Some(occasion));
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    Intake::new(request).take_unread().drain().await;
    response
}
