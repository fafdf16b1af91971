//! The prefix that an outer router has taken from a request's path.

use std::borrow::Cow;

use axum::extract::{OriginalUri, Request};

use super::context::Mounted;
use crate::extract::outer;
use crate::spec::Method;

/// Returns the prefix for the `Location` of the response, if the API is nested below one. Only
/// methods that create something have a use for it: requests with GET and DELETE do not pay for it.
pub(crate) fn outer_prefix<'a>(mounted: &Mounted, request: &'a Request) -> Option<Cow<'a, str>> {
    if matches!(mounted.spec.method, Method::Get | Method::Delete) {
        return None;
    }
    let OriginalUri(original) = request.extensions().get()?;
    let (original, inner) = (original.path(), request.uri().path());
    if original.len() == inner.len() {
        return None;
    }
    Some(outer(original, inner)).filter(|prefix| !prefix.is_empty())
}
