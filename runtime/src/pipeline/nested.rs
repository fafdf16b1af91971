//! Inside another router that is nested under a prefix.

use std::borrow::Cow;

use axum::extract::{OriginalUri, Request};
use axum::response::Response;
use http::HeaderValue;
use http::header::LOCATION;

use super::context::Mounted;
use crate::extract::outer;
use crate::spec::Method;

/// A request that came below a prefix, and whose answer may say where something new stands.
pub(crate) struct Nested {
    prefix: String,
}

impl Nested {
    pub(crate) fn of(mounted: &Mounted, request: &Request) -> Option<Self> {
        Self::prefix(mounted, request).map(|prefix| Self { prefix: prefix.into_owned() })
    }

    /// Only what writes names the place of what it wrote; what reads does not pay for it.
    pub(crate) fn prefix<'a>(mounted: &Mounted, request: &'a Request) -> Option<Cow<'a, str>> {
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

    /// Puts the prefix before the location of an endpoint of this API. Its `uri` does not know the
    /// prefix, because it has no request.
    pub(crate) fn relocate(&self, mounted: &Mounted, response: &mut Response) {
        let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) else {
            return;
        };
        if !is_one_of(&mounted.shared.routes, location) {
            return;
        }
        if let Ok(location) = HeaderValue::try_from([self.prefix.as_str(), location].concat()) {
            response.headers_mut().insert(LOCATION, location);
        }
    }
}

/// Whether a URI reference is the path of one of these routes.
fn is_one_of(routes: &[String], reference: &str) -> bool {
    let path = reference.split(['?', '#']).next().unwrap_or_default();
    routes.iter().any(|route| is_under(route, path))
}

fn is_under(route: &str, path: &str) -> bool {
    let (mut template, mut segments) = (route.split('/'), path.split('/'));
    loop {
        match (template.next(), segments.next()) {
            (None, None) => return true,
            (Some(expected), Some(segment))
                if expected == segment || expected.starts_with('{') && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_endpoints_are_theirs() {
        let routes = ["/v1/things".to_owned(), "/v1/things/{id}".to_owned()];
        for own in ["/v1/things", "/v1/things/7", "/v1/things/7?a=b", "/v1/things/7#top"] {
            assert!(is_one_of(&routes, own), "{own}");
        }
        for other in [
            "",
            "/",
            "/api/v1/things/7",
            "/v1/things/",
            "/v1/things/7/parts",
            "/v2/things/7",
            "//v1/things/7",
            "https://other.example/v1/things/7",
            "v1/things/7",
        ] {
            assert!(!is_one_of(&routes, other), "{other}");
        }
    }
}
