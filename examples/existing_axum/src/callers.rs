//! The shop's users, as Aplomb asks for them: limits and idempotency keys are theirs.

use aplomb::MaybeReady;
use aplomb::auth::{Authenticate, Authentication, Caller};
use axum::http::HeaderValue;
use axum::http::request::Parts;

use crate::shop::{Credentials, credentials};

/// Asks as the extractor [`User`](crate::shop::User) does.
#[derive(Debug)]
pub(crate) struct Users;

impl Authenticate for Users {
    fn authenticate<'a>(&'a self, head: &'a Parts) -> MaybeReady<'a, Authentication> {
        MaybeReady::ready(match credentials(&head.headers) {
            Credentials::Of(name) => Authentication::Caller(Caller::new(name)),
            Credentials::Missing => Authentication::Missing,
            Credentials::Wrong => Authentication::Invalid("no user has this token"),
        })
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer")
    }
}
