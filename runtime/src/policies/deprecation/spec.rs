use super::date::Date;
use crate::describe::with_options;
use crate::spec::EndpointId;

/// The deprecation of an endpoint: its start, its sunset and its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeprecationSpec {
    /// The first day on which the endpoint is deprecated (RFC 9745).
    pub deprecated: Option<Date>,
    /// A page for humans about the deprecation; `None` uses the API's page.
    pub deprecation_info: Option<&'static str>,
    /// The last day on which the endpoint is certain to work (RFC 8594).
    pub sunset: Option<Date>,
    /// A page for humans about the sunset; `None` uses the API's page.
    pub sunset_info: Option<&'static str>,
    /// Set if requests after the sunset are rejected.
    pub enforced: bool,
    /// The endpoint that replaces this one.
    pub successor: Option<EndpointId>,
}

impl DeprecationSpec {
    /// Creates a deprecation without dates.
    pub const fn new() -> Self {
        Self {
            deprecated: None,
            deprecation_info: None,
            sunset: None,
            sunset_info: None,
            enforced: false,
            successor: None,
        }
    }

    /// Sets the first day on which the endpoint is deprecated.
    #[must_use]
    pub const fn with_deprecated(mut self, day: Date) -> Self {
        self.deprecated = Some(day);
        self
    }

    /// Sets the page about the deprecation.
    #[must_use]
    pub const fn with_deprecation_info(mut self, page: &'static str) -> Self {
        self.deprecation_info = Some(page);
        self
    }

    /// Sets the last day on which the endpoint is certain to work.
    #[must_use]
    pub const fn with_sunset(mut self, day: Date) -> Self {
        self.sunset = Some(day);
        self
    }

    /// Sets the page about the sunset.
    #[must_use]
    pub const fn with_sunset_info(mut self, page: &'static str) -> Self {
        self.sunset_info = Some(page);
        self
    }

    /// Rejects requests after the sunset.
    #[must_use]
    pub const fn enforced(mut self) -> Self {
        self.enforced = true;
        self
    }

    /// Sets the endpoint that replaces this one.
    #[must_use]
    pub const fn with_successor(mut self, successor: EndpointId) -> Self {
        self.successor = Some(successor);
        self
    }
}

impl DeprecationSpec {
    /// Describes the declared options, such as `deprecated(2026-06-30)` and
    /// `sunset(2026-12-31, enforce)`.
    pub(crate) fn describe(&self) -> Vec<String> {
        let deprecated = self.deprecated.map(|day| format!("deprecated({day})"));
        let enforce = self.enforced.then(|| String::from("enforce"));
        let sunset = self.sunset.map(|day| {
            let options: Vec<_> = [Some(day.to_string()), enforce]
                .into_iter()
                .flatten()
                .collect();
            with_options("sunset", &options)
        });
        let successor = self
            .successor
            .map(|successor| format!("successor({})", successor.name));
        [deprecated, sunset, successor]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::SourceLocation;

    #[test]
    fn a_description_shows_the_declared_options() {
        let day = |month| Date::new(2026, month, 30).expect("a day");
        let sunset = DeprecationSpec::new().with_sunset(day(11));
        assert_eq!(sunset.describe(), ["sunset(2026-11-30)"]);
        let successor = EndpointId::new("get_account_v2", SourceLocation::new("", "", 1));
        let all = sunset
            .with_deprecated(day(6))
            .enforced()
            .with_successor(successor);
        let expected = [
            "deprecated(2026-06-30)",
            "sunset(2026-11-30, enforce)",
            "successor(get_account_v2)",
        ];
        assert_eq!(all.describe(), expected);
    }
}
