use super::spec::PageLimits;
use crate::extract::check_utf8;
use crate::problem::{FieldError, Location, Problem, registry};

/// The query of a list: the parameters that select the page, and all other parameters.
#[derive(Debug)]
pub(super) struct PageQuery<const N: usize> {
    pub(super) page_parameters: [Option<String>; N],
    /// The other parameters, sorted by name. The values of a repeated parameter keep their order,
    /// because the order can matter.
    pub(super) filters: Vec<(String, String)>,
}

impl<const N: usize> PageQuery<N> {
    /// Parses a query. Each of these names may occur at most one time.
    pub(super) fn read(text: &str, names: [&'static str; N]) -> Result<Self, Problem> {
        // A cursor that is not UTF-8 is an invalid cursor, not an invalid parameter.
        check_utf8(text.split('&').filter(|pair| !pair.starts_with("cursor=")))?;
        let mut query = Self {
            page_parameters: [const { None }; N],
            filters: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
            match names.iter().position(|known| *known == name) {
                None => query.filters.push((name, value)),
                Some(index) if query.page_parameters[index].is_none() => {
                    query.page_parameters[index] = Some(value);
                }
                Some(index) => {
                    return Err(invalid_parameter(
                        names[index],
                        "REPEATED",
                        "the parameter occurs more than once",
                    ));
                }
            }
        }
        query
            .filters
            .sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(query)
    }
}

/// Parses the number of items. Returns the default without `limit`, and never more than the
/// maximum.
pub(super) fn parse_limit(asked: Option<&str>, limits: PageLimits) -> Result<u32, Problem> {
    asked.map_or(Ok(limits.default), |asked| {
        Ok(parse_positive("limit", asked)?.min(limits.max))
    })
}

/// Parses a whole number above zero. A number beyond 32 bits becomes the largest 32-bit number.
pub(super) fn parse_positive(name: &'static str, text: &str) -> Result<u32, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits {
        text.parse().unwrap_or(u32::MAX)
    } else {
        0
    };
    if number == 0 {
        return Err(invalid_parameter(
            name,
            "NOT_POSITIVE",
            "expected a whole number above zero",
        ));
    }
    Ok(number)
}

pub(super) fn invalid_parameter(
    parameter: &'static str,
    code: &'static str,
    detail: &'static str,
) -> Problem {
    Problem::new(&registry::INVALID_PARAMETER)
        .with_detail(format!(
            "the query parameter `{parameter}` is invalid: see `errors`"
        ))
        .with_error(FieldError::new(
            Location::Parameter(parameter.into()),
            code,
            detail,
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PageLimits = PageLimits::new(50, 100);

    #[test]
    fn d04_the_limit_has_a_default_and_a_maximum() {
        assert_eq!(parse_limit(None, LIMITS).expect("the default"), 50);
        assert_eq!(parse_limit(Some("7"), LIMITS).expect("a number"), 7);
        assert_eq!(parse_limit(Some("101"), LIMITS).expect("a number"), 100);
        assert_eq!(
            parse_limit(Some("99999999999999999999"), LIMITS).expect("a number"),
            100
        );
    }

    #[test]
    fn d04_a_limit_that_is_not_a_positive_number_is_refused() {
        for wrong in [
            "0", "-1", "", "x", "1.5", "+1", " 1", "0x1", "00", "1e9", "１",
        ] {
            assert_eq!(
                parse_limit(Some(wrong), LIMITS).expect_err(wrong).status(),
                400
            );
        }
    }

    #[test]
    fn repeated_parameters_are_refused() {
        assert!(PageQuery::read("limit=1&limit=2", ["limit"]).is_err());
        assert!(PageQuery::read("cursor=1&x=2&cursor=1", ["limit", "cursor"]).is_err());
        let query = PageQuery::read("x=2&a=1&x=1&limit=3", ["limit"]).expect("each once");
        let filters: Vec<_> = query
            .filters
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        assert_eq!(
            (filters, query.page_parameters),
            (
                vec![("a", "1"), ("x", "2"), ("x", "1")],
                [Some("3".to_owned())]
            )
        );
    }
}
