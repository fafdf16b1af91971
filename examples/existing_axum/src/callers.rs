//! The shop's users as callers of Aplomb. Rate limits and idempotency keys belong to a caller.

use aplomb::auth::{Authenticate, Authentication, Caller};
use axum::http::HeaderValue;
use axum::http::request::Parts;

use crate::shop::{Credentials, credentials};

/// Authenticates requests with the same function as the extractor [`User`](crate::shop::User).
#[derive(Debug)]
pub(crate) struct Users;

impl Authenticate for Users {
    async fn authenticate(&self, head: &Parts) -> Authentication {
        match credentials(&head.headers) {
            Credentials::Of(name) => Authentication::Caller(Caller::new(name)),
            Credentials::Missing => Authentication::Missing,
            Credentials::Wrong => Authentication::Invalid("no user has this token"),
        }
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}
