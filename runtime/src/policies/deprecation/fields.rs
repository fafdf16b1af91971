//! The fields that say that an endpoint is given up. RFC 9745 and RFC 8594 are read here and nowhere
//! else.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use http::header::LINK;
use http::{HeaderMap, HeaderName, HeaderValue};
use httpdate::fmt_http_date;

use super::date::Date;
use super::spec::DeprecationSpec;

/// The fields of one endpoint that are the same in every response, formatted once.
#[derive(Debug)]
pub(super) struct Fields {
    deprecation: Option<HeaderValue>,
    sunset: Option<HeaderValue>,
    pages: Option<HeaderValue>,
}

impl Fields {
    /// `page` is the API's, for what names none of its own.
    pub(super) fn new(spec: &DeprecationSpec, page: Option<&str>) -> Self {
        Self {
            deprecation: spec.deprecated.and_then(deprecation),
            sunset: spec.sunset.and_then(sunset),
            pages: pages(spec, page),
        }
    }

    /// Writes them, beside the links that are there.
    pub(super) fn write_fields(&self, headers: &mut HeaderMap) {
        if let Some(value) = &self.deprecation {
            headers.insert(DEPRECATION, value.clone());
        }
        if let Some(value) = &self.sunset {
            headers.insert(SUNSET, value.clone());
        }
        if let Some(value) = &self.pages {
            headers.append(LINK, value.clone());
        }
    }
}

/// The link to a successor's URI (RFC 5829 §3.5).
pub(super) fn successor(uri: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("<{uri}>; rel=\"successor-version\"")).ok()
}

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// A structured date (RFC 9651 §3.3.7).
fn deprecation(day: Date) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("@{}", day.starts().as_secs())).ok()
}

fn sunset(day: Date) -> Option<HeaderValue> {
    HeaderValue::try_from(fmt_http_date(
        UNIX_EPOCH + Duration::from_secs(day.ends().as_secs()),
    ))
    .ok()
}

/// The pages for humans, in one field.
fn pages(spec: &DeprecationSpec, page: Option<&str>) -> Option<HeaderValue> {
    let of = |day: Option<Date>, own: Option<&'static str>, relation: &str| {
        let page = day.and_then(|_| own.or(page))?;
        Some(format!("<{page}>; rel=\"{relation}\""))
    };
    let links = [
        of(spec.deprecated, spec.deprecation_info, "deprecation"),
        of(spec.sunset, spec.sunset_info, "sunset"),
    ];
    let links: Vec<String> = links.into_iter().flatten().collect();
    if links.is_empty() {
        None
    } else {
        HeaderValue::try_from(links.join(", ")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: DeprecationSpec = DeprecationSpec::new()
        .with_deprecated(Date::new(2026, 6, 30).expect("a day"))
        .with_sunset(Date::new(2026, 12, 31).expect("a day"));

    fn written(spec: &DeprecationSpec, page: Option<&str>) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, HeaderValue::from_static("</next>; rel=\"next\""));
        Fields::new(spec, page).write_fields(&mut headers);
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn e02_dates_are_written_as_the_standards_say() {
        assert_eq!(
            written(&SPEC, None),
            [
                pair("link", "</next>; rel=\"next\""),
                pair("deprecation", "@1782777600"),
                pair("sunset", "Thu, 31 Dec 2026 23:59:59 GMT"),
            ]
        );
    }

    #[test]
    fn e02_pages_are_the_endpoints_own_or_the_apis_and_stand_beside_other_links() {
        let links = |spec: &DeprecationSpec, page: Option<&str>| {
            written(spec, page)
                .into_iter()
                .filter(|(name, _)| name == "link")
                .map(|(_, value)| value)
                .skip(1)
                .collect::<Vec<_>>()
        };
        assert!(links(&SPEC, None).is_empty());
        assert_eq!(
            links(
                &SPEC.with_sunset_info("/why"),
                Some("https://api.example/old")
            ),
            ["<https://api.example/old>; rel=\"deprecation\", </why>; rel=\"sunset\""]
        );
        let sunset_only = DeprecationSpec {
            deprecated: None,
            ..SPEC
        };
        assert_eq!(
            links(&sunset_only, Some("/old")),
            ["</old>; rel=\"sunset\""]
        );
    }
}
