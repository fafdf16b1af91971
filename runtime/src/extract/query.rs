use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::Uri;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::transparent;
use crate::problem::{FieldError, Location, Problem, registry};

/// The query parameters. A repeated parameter fills a list.
///
/// An invalid parameter is a 400 `INVALID_PARAMETER` whose `errors` name the parameter.
///
/// ```
/// use aplomb::Query;
///
/// #[derive(serde::Deserialize)]
/// struct Filter { status: Option<String> }
///
/// async fn list(Query(filter): Query<Filter>) -> String {
///     filter.status.unwrap_or_default()
/// }
/// # let _ = axum::Router::<()>::new().route("/orders", axum::routing::get(list));
/// ```
///
/// `Option<Query<T>>` is `None` for a URI without a query, as in `axum-extra`. A URI that ends in
/// `?` has an empty query, which is not `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

transparent!(Query);

impl<T: DeserializeOwned> Query<T> {
    /// Parses the query of a URI, in the same way as for an argument of a handler.
    pub fn try_from_uri(uri: &Uri) -> Result<Self, Problem> {
        parse(uri.query().unwrap_or_default()).map(Self)
    }
}

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::try_from_uri(&parts.uri)
    }
}

impl<S, T> OptionalFromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let query = parts.uri.query().map(parse);
        query.transpose().map(|query| query.map(Self))
    }
}

pub(crate) fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    check_utf8(query.split('&'))?;
    let pairs = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let parameter = parameter(error.path());
        Problem::new(&registry::INVALID_PARAMETER)
            .with_detail("a query parameter is invalid: see `errors`")
            .with_error(FieldError::new(
                Location::Parameter(parameter.into()),
                "INVALID_FORMAT",
                error.inner().to_string(),
            ))
    })
}

/// Rejects percent-encoded text that is not UTF-8. Form decoders replace invalid UTF-8 silently, so
/// different texts would become equal.
pub(crate) fn check_utf8<'a>(mut pairs: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let wrong = |text: &&str| text.contains('%') && percent_decode_str(text).decode_utf8().is_err();
    match pairs.find(wrong) {
        None => Ok(()),
        Some(pair) => Err(not_utf8(pair)),
    }
}

#[cold]
fn not_utf8(pair: &str) -> Problem {
    let name = form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into());
    Problem::new(&registry::INVALID_PARAMETER)
        .with_detail("the query is not UTF-8: see `errors`")
        .with_error(FieldError::new(
            Location::Parameter(name.into()),
            "NOT_UTF8",
            "expected UTF-8, percent-encoded",
        ))
}

/// Returns the parameter name in the path of a deserialization error. If the parameter is a list,
/// the index into the list is left out.
fn parameter(path: &Path) -> String {
    let name = |segment: &Segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    };
    path.iter().find_map(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f04_a_query_that_is_not_utf_8_is_rejected() {
        for (query, parameter) in [
            ("a=1&b=%ff", "b"),
            ("%C3%A9=%C3", "é"),
            ("%ff=1", "\u{fffd}"),
            ("a+%2B=%ff", "a +"),
            ("a%ED%A0%80", "a\u{fffd}\u{fffd}\u{fffd}"),
            ("a+b%20c=%ff", "a b c"),
            ("=%ff", ""),
        ] {
            let problem = check_utf8(query.split('&')).expect_err(query);
            assert_eq!(
                problem.errors()[0].location,
                Location::Parameter(parameter.into()),
                "{query}"
            );
        }
        for query in ["", "a=%C3%A9", "a=%", "a=%zz&&=", "a=b%2"] {
            assert!(check_utf8(query.split('&')).is_ok(), "{query}");
        }
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Filter {
        #[serde(default)]
        status: Vec<String>,
        year: Option<u16>,
    }

    #[test]
    fn a_repeated_parameter_fills_a_list() {
        let filter: Filter = parse("status=a&status=b%20c").expect("readable");
        assert_eq!(
            filter,
            Filter {
                status: vec!["a".into(), "b c".into()],
                year: None
            }
        );
    }

    #[test]
    fn the_problem_names_the_invalid_parameter() {
        let problem = parse::<Filter>("year=next").expect_err("not a number");
        assert_eq!(problem.status(), 400);
        assert_eq!(
            problem.errors()[0].location,
            Location::Parameter("year".into())
        );
    }
}
