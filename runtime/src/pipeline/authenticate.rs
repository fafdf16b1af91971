//! Who calls, before anything else is decided.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::context::Mounted;
use crate::auth::{Authenticate, Authentication, Caller};
use crate::problem::{Problem, registry};
use crate::spec::Access;

/// Whether credentials are looked at. On a public endpoint they are where there are any.
pub(crate) fn is_asked(mounted: &Mounted, headers: &HeaderMap) -> bool {
    let public = mounted.spec.access == Access::Public;
    mounted.shared.auth.is_some() && (!public || headers.contains_key(AUTHORIZATION))
}

/// The caller of a request whose credentials are valid, where that can be told at once.
pub(crate) fn caller_at_once(mounted: &Mounted, request: &Request) -> Option<Caller> {
    match mounted.shared.auth.as_ref()?.authenticate_at_once(request)? {
        Authentication::Caller(caller) => Some(caller),
        _ => None,
    }
}

/// The caller. On a public endpoint credentials are looked at and never refused.
pub(crate) async fn caller(
    mounted: &Mounted,
    head: &Parts,
    peer: Option<IpAddr>,
) -> Result<Option<Caller>, Problem> {
    let Some(auth) = &mounted.shared.auth else { return Ok(None) };
    if !is_asked(mounted, &head.headers) {
        return Ok(None);
    }
    let public = mounted.spec.access == Access::Public;
    match auth.authenticate(head).await {
        Authentication::Caller(caller) => Ok(Some(caller)),
        _ if public => Ok(None),
        Authentication::Missing => refuse(mounted, head, peer, challenge(&**auth, None)),
        Authentication::Invalid(why) => refuse(mounted, head, peer, challenge(&**auth, Some(why))),
        Authentication::Failed(problem) => Err(problem),
    }
}

fn refuse(
    mounted: &Mounted,
    head: &Parts,
    peer: Option<IpAddr>,
    problem: Problem,
) -> Result<Option<Caller>, Problem> {
    let client = peer.map(|peer| mounted.shared.proxies.client(peer, &head.headers));
    mounted.shared.failures.count(client)?;
    Err(problem)
}

/// The 401; only credentials that were there are said to be invalid (RFC 6750 §3.1).
fn challenge(auth: &dyn Authenticate, invalid: Option<&'static str>) -> Problem {
    let challenge = auth.challenge();
    let value = match invalid {
        None => challenge,
        Some(_) => with_error(&challenge),
    };
    let detail = invalid.unwrap_or("the request has no credentials");
    Problem::new(&registry::UNAUTHENTICATED).with_detail(detail).with_header(FIELD, value)
}

const FIELD: HeaderName = WWW_AUTHENTICATE;

fn with_error(challenge: &HeaderValue) -> HeaderValue {
    let text = challenge.to_str().unwrap_or_default();
    let separator = if text.contains(' ') { "," } else { "" };
    HeaderValue::try_from(format!("{text}{separator} error=\"invalid_token\""))
        .unwrap_or_else(|_| challenge.clone())
}
