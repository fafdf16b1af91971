//! Finds the caller, before anything else is decided.

use std::sync::Arc;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::{Authenticate, Authentication};
use crate::client::{TrustedProxies, peer};
use crate::policies::rate_limit::Failures;
use crate::problem::{Problem, registry};
use crate::request::{Caller, IncomingRequest, RequestState, Stage, StageResult};
use crate::spec::Access;

/// Authentication on one endpoint. On a public endpoint credentials are looked at where there are
/// any, and never refused.
#[derive(Debug)]
pub(crate) struct AuthenticationStage {
    auth: Arc<dyn Authenticate>,
    access: Access,
    failures: Arc<Failures>,
    proxies: TrustedProxies,
}

impl AuthenticationStage {
    /// The stage of an endpoint, if its API has a way of authentication.
    pub(crate) fn new(
        auth: Option<&Arc<dyn Authenticate>>,
        access: Access,
        failures: &Arc<Failures>,
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

    fn decide(
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
            _ if self.access == Access::Public => Ok(()),
            Authentication::Missing => self.refuse(head, None),
            Authentication::Invalid(why) => self.refuse(head, Some(why)),
            Authentication::Unavailable(problem) => Err(problem),
        }
    }

    fn refuse(&self, head: &Parts, invalid: Option<&'static str>) -> Result<(), Problem> {
        let client = peer(&head.extensions).map(|peer| self.proxies.client(peer, &head.headers));
        self.failures.count(client)?;
        Err(challenge(&*self.auth, invalid))
    }
}

impl Stage for AuthenticationStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        if self.access == Access::Public && !request.head().headers.contains_key(AUTHORIZATION) {
            return StageResult::PASS;
        }
        let (head, caller) = (request.head(), &mut state.info.caller);
        if self.auth.is_immediate()
            && let Ok(found) = self.auth.authenticate(head).try_ready()
        {
            return StageResult::Ready(self.decide(found, head, caller));
        }
        // Not asked before the future is polled: a stage that waits is entered twice, and what asks
        // another service, or accepts a proof once, may be asked once.
        StageResult::Waiting(Box::pin(async move {
            let found = self.auth.authenticate(head).await;
            self.decide(found, head, caller)
        }))
    }
}

/// The 401. Only credentials that were sent are called invalid (RFC 6750 §3.1).
fn challenge(auth: &dyn Authenticate, invalid: Option<&'static str>) -> Problem {
    let challenge = auth.challenge();
    let value = match invalid {
        None => challenge,
        Some(_) => with_error(&challenge),
    };
    let detail = invalid.unwrap_or("the request has no credentials");
    Problem::new(&registry::UNAUTHENTICATED)
        .with_detail(detail)
        .with_header(FIELD, value)
}

const FIELD: HeaderName = WWW_AUTHENTICATE;

fn with_error(challenge: &HeaderValue) -> HeaderValue {
    let text = challenge.to_str().unwrap_or_default();
    let separator = if text.contains(' ') { "," } else { "" };
    HeaderValue::try_from(format!("{text}{separator} error=\"invalid_token\""))
        .unwrap_or_else(|_| challenge.clone())
}
