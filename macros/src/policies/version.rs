//! `version = 1`, `1..`, `1..=3`: the versions of the API that serve an endpoint.

use proc_macro2::TokenStream;
use quote::quote;

use super::Policy;
use crate::bounds::MAX_VERSIONS;
use crate::errors::Sink;
use crate::grammar;
use crate::parse::{Argument, Kind, Value};

/// The first and the last declared version. The last version is `None` for an open range.
#[derive(Default)]
pub(crate) struct Version {
    range: Option<(u32, Option<u32>)>,
}

impl Policy for Version {
    fn parse(&mut self, argument: &Argument, sink: &Sink<'_>) {
        let Some(value) = argument.value("version = 1", sink) else {
            return;
        };
        match range(value) {
            Ok(range) => self.range = Some(range),
            Err(message) => sink.report(&value.tokens, message),
        }
    }

    fn spec(&self) -> TokenStream {
        let Some((first, last)) = self.range else {
            return TokenStream::new();
        };
        let last = last.map_or_else(
            || quote!(::core::option::Option::None),
            |last| quote!(::core::option::Option::Some(#last)),
        );
        quote!(.with_version(__aplomb::policies::version::VersionSpec::new(#first, #last)))
    }
}

fn range(value: &Value) -> Result<(u32, Option<u32>), String> {
    match value.kind {
        Kind::Integer(number) => single(number),
        Kind::Range {
            first,
            last: None,
            closed: true,
        } => Ok((number(first)?, None)),
        Kind::Range {
            first,
            last,
            closed,
        } => bounded(number(first)?, number(last)?, closed),
        _ => Err(format!(
            "`version` takes a number or a range: write {}",
            grammar::forms("version")
        )),
    }
}

fn single(value: Option<u64>) -> Result<(u32, Option<u32>), String> {
    number(value).map(|number| (number, Some(number)))
}

fn number(value: Option<u64>) -> Result<u32, String> {
    match value.map(u32::try_from) {
        Some(Ok(0)) => Err("versions start at 1: write `version = 1`".to_owned()),
        Some(Ok(number)) => Ok(number),
        _ => Err(format!(
            "this version is too large: write at most {}",
            u32::MAX
        )),
    }
}

fn bounded(first: u32, last: u32, closed: bool) -> Result<(u32, Option<u32>), String> {
    if !closed {
        return Err(format!(
            "a version range includes its end: write `version = {first}..={}`",
            last.saturating_sub(1).max(first)
        ));
    }
    if last < first {
        return Err(format!(
            "this range is empty: write `version = {last}..={first}`"
        ));
    }
    if last - first >= MAX_VERSIONS {
        return Err(format!(
            "an endpoint serves at most {MAX_VERSIONS} versions: write `version = {last}` for only the last one"
        ));
    }
    Ok((first, Some(last)))
}

#[cfg(test)]
mod tests {
    use crate::policies::{calls, errors};

    #[test]
    fn numbers_and_ranges_are_accepted() {
        for (text, call) in [
            (
                "1",
                "VersionSpec::new(1u32,::core::option::Option::Some(1u32))",
            ),
            ("2..", "VersionSpec::new(2u32,::core::option::Option::None)"),
            (
                "1..=100",
                "VersionSpec::new(1u32,::core::option::Option::Some(100u32))",
            ),
            (
                "1..=3",
                "VersionSpec::new(1u32,::core::option::Option::Some(3u32))",
            ),
        ] {
            assert_eq!(
                calls(&format!("get = \"/a\", version = {text}")),
                format!(".with_version({call})")
            );
        }
    }

    #[test]
    fn other_values_are_rejected() {
        for (text, message) in [
            ("0", "versions start at 1"),
            ("0..", "versions start at 1"),
            ("3..=1", "write `version = 1..=3`"),
            ("1..3", "write `version = 1..=2`"),
            ("\"1\"", "takes a number or a range"),
            ("v1", "takes a number or a range"),
            ("-1", "takes a number or a range"),
            ("1.5", "takes a number or a range"),
            ("1..=101", "at most 100 versions"),
            ("4294967296", "at most 4294967295"),
            ("1..=99999999999999999999", "at most 4294967295"),
            ("99999999999999999999..", "at most 4294967295"),
            ("..=3", "takes a number or a range"),
        ] {
            let errors = errors(&format!("get = \"/a\", version = {text}"));
            assert!(
                errors.len() == 1 && errors[0].contains(message),
                "{text}: {errors:?}"
            );
        }
    }
}
