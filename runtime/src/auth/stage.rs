//! The stage that finds the caller of a request.

use core::error::Error;
use std::sync::Arc;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;

use super::{Authentication, Authenticator};
use crate::client::{TrustedProxies, peer};
use crate::policies::rate_limit::AuthFailures;
use crate::problem::{Problem, registry};
use crate::request::{Caller, IncomingRequest, RequestState, Stage, StageResult};
use crate::spec::Access;

/// The authentication of one endpoint.
///
/// On a public endpoint a request needs no credentials, but wrong ones are rejected. If wrong
/// credentials were ignored, a retry with an expired token would count as a request without a
/// caller. The retry would find another idempotency record, and the handler would run twice.
#[derive(Debug)]
pub(crate) struct AuthenticationStage {
    auth: Arc<dyn Authenticator>,
    access: Access,
    failures: Arc<AuthFailures>,
    proxies: TrustedProxies,
}

impl AuthenticationStage {
    /// Returns the stage of an endpoint; `None` if its API has no authentication.
    pub(crate) fn new(
        auth: Option<&Arc<dyn Authenticator>>,
        access: Access,
        failures: &Arc<AuthFailures>,
        proxies: &TrustedProxies,
    ) -> Option<Self> {
        let (auth, failures, proxies) = (Arc::clone(auth?), Arc::clone(failures), proxies.clone());
        Some(Self {
            auth,
            access,
            failures,
            proxies,
        })
    }

    fn apply(
        &self,
        found: Authentication,
        head: &Parts,
        caller: &mut Option<Caller>,
    ) -> Result<(), Problem> {
        match found {
            Authentication::Caller(found) => {
                *caller = Some(found);
                Ok(())
            }
            Authentication::Missing if self.access == Access::Public => Ok(()),
            Authentication::Missing => self.reject(head, None),
            Authentication::Invalid(why) => self.reject(head, Some(why)),
            Authentication::Unavailable(why) => {
                let cause = Box::<dyn Error + Send + Sync>::from(why);
                Err(Problem::new(&registry::AUTHENTICATION_UNAVAILABLE).with_cause(&*cause))
            }
        }
    }

    fn reject(&self, head: &Parts, invalid: Option<&'static str>) -> Result<(), Problem> {
        let client = peer(&head.extensions).map(|peer| self.proxies.client(peer, &head.headers));
        self.failures.record(client)?;
        Err(unauthenticated(&*self.auth, invalid))
    }
}

impl Stage for AuthenticationStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let (head, caller) = (request.head(), &mut state.info.caller);
        if let Some(found) = self.auth.authenticate_now(head) {
            return StageResult::Ready(self.apply(found, head, caller));
        }
        // `authenticate` is called only when the future is polled, because a waiting stage is
        // entered twice. An authentication that calls another service or accepts a one-time proof
        // must run only one time.
        StageResult::Waiting(Box::pin(async move {
            let found = self.auth.authenticate(head).await;
            self.apply(found, head, caller)
        }))
    }
}

/// Returns the 401. A `Bearer` challenge has `invalid_token` if the request had credentials (RFC
/// 6750 §3.1).
fn unauthenticated(auth: &dyn Authenticator, invalid: Option<&'static str>) -> Problem {
    let challenge = auth.challenge();
    let value = match invalid {
        None => challenge,
        Some(_) => add_invalid_token(&challenge),
    };
    let detail = invalid
        .unwrap_or("the request has no credentials: send those that `WWW-Authenticate` describes");
    Problem::new(&registry::UNAUTHENTICATED)
        .with_detail(detail)
        .with_header(WWW_AUTHENTICATE, value)
}

fn add_invalid_token(challenge: &HeaderValue) -> HeaderValue {
    let text = challenge.to_str().unwrap_or_default();
    let scheme = text.split(' ').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return challenge.clone();
    }
    let separator = if text.contains(' ') { "," } else { "" };
    HeaderValue::try_from(format!("{text}{separator} error=\"invalid_token\""))
        .unwrap_or_else(|_| challenge.clone())
}
