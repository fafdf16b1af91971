//! The prefix that an outer router removed from a request's path (`Router::nest`).

use axum::extract::OriginalUri;
use http::request::Parts;

use super::mount::Mount;
use crate::extract::outer;
use crate::spec::Method;

/// Returns the prefix for the `Location` of the response, if the API is nested below a prefix.
/// Requests with GET or DELETE skip the work, because their handlers create nothing.
pub(super) fn outer_prefix(mount: &Mount, head: &Parts) -> Option<String> {
    if matches!(mount.spec.method, Method::Get | Method::Delete) {
        return None;
    }
    let OriginalUri(original) = head.extensions.get()?;
    let (original, inner) = (original.path(), head.uri.path());
    if original.len() == inner.len() {
        return None;
    }
    Some(outer(original, inner).into_owned()).filter(|prefix| !prefix.is_empty())
}
