//! The response fields of a deprecated endpoint. Only this module depends on RFC 9745 and RFC 8594.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use http::header::LINK;
use http::{HeaderMap, HeaderName, HeaderValue};
use httpdate::fmt_http_date;

use super::date::Date;
use super::spec::DeprecationSpec;

/// The fields that are the same in every response of an endpoint, formatted once at start.
#[derive(Debug)]
pub(super) struct Fields {
    deprecation: Option<HeaderValue>,
    sunset: Option<HeaderValue>,
    pages: Option<HeaderValue>,
}

impl Fields {
    /// Formats the fields. `page` is the API's page for humans. It is used if the endpoint declares
    /// no page.
    pub(super) fn new(spec: &DeprecationSpec, page: Option<&str>) -> Self {
        Self {
            deprecation: spec.deprecated.and_then(deprecation),
            sunset: spec.sunset.and_then(sunset),
            pages: pages(spec, page),
        }
    }

    /// Writes the fields. Existing `Link` fields are kept.
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

/// Returns the link to the URI of a successor (RFC 5829 §3.5).
pub(super) fn successor(uri: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("<{uri}>; rel=\"successor-version\"")).ok()
}

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// Returns the day as a structured date (RFC 9651 §3.3.7).
fn deprecation(day: Date) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("@{}", day.starts().as_secs())).ok()
}

fn sunset(day: Date) -> Option<HeaderValue> {
    HeaderValue::try_from(fmt_http_date(
        UNIX_EPOCH + Duration::from_secs(day.ends().as_secs()),
    ))
    .ok()
}

/// Returns the links to the pages for humans, in one field.
fn pages(spec: &DeprecationSpec, page: Option<&str>) -> Option<HeaderValue> {
    let link = |day: Option<Date>, own: Option<&'static str>, relation: &str| {
        let page = day.and_then(|_| own.or(page))?;
        Some(format!("<{page}>; rel=\"{relation}\""))
    };
    let links = [
        link(spec.deprecated, spec.deprecation_info, "deprecation"),
        link(spec.sunset, spec.sunset_info, "sunset"),
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

    fn fields_of(spec: &DeprecationSpec, page: Option<&str>) -> Vec<(String, String)> {
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
    fn e02_dates_have_the_formats_of_the_rfcs() {
        assert_eq!(
            fields_of(&SPEC, None),
            [
                pair("link", "</next>; rel=\"next\""),
                pair("deprecation", "@1782777600"),
                pair("sunset", "Thu, 31 Dec 2026 23:59:59 GMT"),
            ]
        );
    }

    #[test]
    fn e02_links_lead_to_the_page_of_the_endpoint_or_else_to_the_page_of_the_api() {
        let links = |spec: &DeprecationSpec, page: Option<&str>| {
            fields_of(spec, page)
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
