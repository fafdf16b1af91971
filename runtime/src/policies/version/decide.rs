use core::ops::RangeInclusive;

use super::spec::VersionSpec;
use crate::spec::EndpointSpec;

impl VersionSpec {
    /// The versions served by an API whose newest version is `newest`.
    pub fn served(self, newest: u32) -> RangeInclusive<u32> {
        self.first()..=self.last().unwrap_or_else(|| newest.max(self.first()))
    }
}

/// The newest version that any of these endpoints names.
pub(crate) fn newest<'a>(specs: impl Iterator<Item = &'a EndpointSpec>) -> u32 {
    specs.filter_map(|spec| spec.version).map(VersionSpec::newest_named).max().unwrap_or(0)
}

/// The route templates under which an endpoint stands.
pub(crate) fn routes(spec: &EndpointSpec, newest: u32) -> Vec<String> {
    match spec.version {
        None => vec![spec.path.to_owned()],
        Some(version) => version.served(newest).map(|version| format!("/v{version}{}", spec.path)).collect(),
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
        assert_eq!(routes(&OPEN, newest), ["/v2/y", "/v3/y"]);
        assert_eq!(routes(&OLD, newest), ["/v1/x", "/v2/x"]);
        assert_eq!(routes(&BARE, newest), ["/z"]);
    }
}
