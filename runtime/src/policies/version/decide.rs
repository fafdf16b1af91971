use core::ops::RangeInclusive;

use super::spec::VersionSpec;
use crate::spec::EndpointSpec;

impl VersionSpec {
    /// Returns the versions that are served if `newest` is the newest version of the API.
    pub fn served(self, newest: u32) -> RangeInclusive<u32> {
        self.first()..=self.last().unwrap_or_else(|| newest.max(self.first()))
    }
}

/// The maximum number of versions that one endpoint serves. Each version has a separate route.
pub(crate) const MAX_VERSIONS: usize = 100;

/// Returns the last version of an endpoint that serves more than [`MAX_VERSIONS`] versions, or
/// `None` for any other endpoint.
pub(crate) fn last_if_too_many(spec: &EndpointSpec, newest: u32) -> Option<u32> {
    let served = spec.version?.served(newest);
    served.clone().nth(MAX_VERSIONS).map(|_| *served.end())
}

/// Returns the newest version that any of these endpoints names.
pub(crate) fn newest<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> u32 {
    specs
        .filter_map(|spec| spec.version)
        .map(VersionSpec::newest_named)
        .max()
        .unwrap_or(0)
}

/// The route of an endpoint in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The version; `None` for an endpoint without versions.
    pub(crate) version: Option<u32>,
    /// The path template with the version, such as `/v1/payments/{id}`.
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

    /// Returns the route to which links to the endpoint lead.
    pub(crate) fn for_links(spec: &EndpointSpec) -> Self {
        Self::new(spec, spec.version.map(VersionSpec::newest_named))
    }
}

/// Returns the routes of an endpoint.
pub(crate) fn routes(spec: &EndpointSpec, newest: u32) -> Vec<Route> {
    match spec.version {
        None => vec![Route::new(spec, None)],
        // More versions are an error at start. `Api::new` builds the routes before the check at
        // start reports this error, so the bound keeps `Api::new` fast.
        Some(version) => version
            .served(newest)
            .take(MAX_VERSIONS)
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
    fn e01_an_open_range_ends_at_the_newest_named_version() {
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
        assert_eq!(Route::for_links(&OLD).template, "/v2/x");
    }
}
