//! Problem documents where no endpoint answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::Method;

use crate::pipeline::{Intake, RequestId, X_REQUEST_ID};
use crate::problem::{Occasion, Problem, ProblemSpec, Repeat, registry};

/// Answers what no route or no method of a route answers.
pub(crate) fn with_problems(problem_base: String, router: Router) -> Router {
    let base: Arc<str> = problem_base.into();
    let not_found = {
        let base = Arc::clone(&base);
        move |request: Request| document(&registry::NOT_FOUND, Arc::clone(&base), request)
    };
    let not_allowed =
        move |request: Request| document(&registry::METHOD_NOT_ALLOWED, Arc::clone(&base), request);
    router.method_not_allowed_fallback(not_allowed).fallback(not_found)
}

async fn document(spec: &'static ProblemSpec, base: Arc<str>, request: Request) -> Response {
    let id = RequestId::of(&request);
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
    let repeat = Repeat::unkept(idempotent);
    let occasion = Occasion { request_id: id.as_str(), repeat, type_base: &base };
    let problem = Problem::new(spec);
    let mut response = ().into_response();
    problem.write(&mut response, Some(occasion));
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    Intake::new(request).take_unread().drain().await;
    response
}
