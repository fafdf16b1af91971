use core::ops::RangeInclusive;

use super::spec::VersionSpec;
use crate::spec::EndpointSpec;

impl VersionSpec {
    /// The versions served by an API whose newest version is `newest`.
    pub fn served(self, newest: u32) -> RangeInclusive<u32> {
        self.first()..=self.last().unwrap_or_else(|| newest.max(self.first()))
    }
}

/// The most versions that one endpoint serves, each under a route of its own.
pub(crate) const MOST: usize = 100;

/// The last version that an endpoint serves, if there are more than [`MAX_INSTANCES`].
pub(crate) fn too_many(spec: &EndpointSpec, newest: u32) -> Option<u32> {
    let served = spec.version?.served(newest);
    served.clone().nth(MOST).map(|_| *served.end())
}

/// The newest version that any of these endpoints names.
pub(crate) fn newest<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> u32 {
    specs
        .filter_map(|spec| spec.version)
        .map(VersionSpec::newest_named)
        .max()
        .unwrap_or(0)
}

/// A route under which an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The version, where it has one.
    pub(crate) version: Option<u32>,
    /// The template with its version, such as `/v1/payments/{id}`.
    pub(crate) template: String,
}

impl Route {
    fn new(spec: &EndpointSpec, version: Option<u32>) -> Self {
        let prefix = version.map_or_else(String::new, |version| format!("/v{version}"));
        Self {
            version,
            template: prefix + spec.path,
        }
    }

    /// The route that an endpoint's own links name.
    pub(crate) fn of_links(spec: &EndpointSpec) -> Self {
        Self::new(spec, spec.version.map(VersionSpec::newest_named))
    }
}

/// The routes under which an endpoint stands.
pub(crate) fn routes(spec: &EndpointSpec, newest: u32) -> Vec<Route> {
    match spec.version {
        None => vec![Route::new(spec, None)],
        // What serves more keeps the API from starting.
        Some(version) => version
            .served(newest)
            .take(MOST)
            .map(|version| Route::new(spec, Some(version)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Method;

    const OLD: EndpointSpec =
        EndpointSpec::new(Method::Get, "/x", "old").with_version(VersionSpec::new(1, Some(2)));
    const OPEN: EndpointSpec =
        EndpointSpec::new(Method::Get, "/y", "open").with_version(VersionSpec::new(2, None));
    const BARE: EndpointSpec = EndpointSpec::new(Method::Get, "/z", "bare");

    #[test]
    fn e01_an_open_range_ends_at_the_newest_version_that_is_named() {
        const NEW: EndpointSpec =
            EndpointSpec::new(Method::Get, "/x", "new").with_version(VersionSpec::new(3, Some(3)));
        let newest = newest([OLD, OPEN, BARE, NEW].iter());
        assert_eq!(newest, 3);
        let templates = |spec: &EndpointSpec| {
            routes(spec, newest)
                .into_iter()
                .map(|route| route.template)
                .collect::<Vec<_>>()
        };
        assert_eq!(templates(&OPEN), ["/v2/y", "/v3/y"]);
        assert_eq!(templates(&OLD), ["/v1/x", "/v2/x"]);
        assert_eq!(templates(&BARE), ["/z"]);
        assert_eq!(Route::of_links(&OLD).template, "/v2/x");
    }
}
