use super::spec::PageLimits;
use crate::extract::check_utf8;
use crate::problem::{FieldError, Location, Problem, registry};

/// The parameters that say which page is wanted, and all others.
#[derive(Debug)]
pub(super) struct Query<const N: usize> {
    pub(super) own: [Option<String>; N],
    /// Sorted by name only: the order of a repeated parameter can matter.
    pub(super) filters: Vec<(String, String)>,
}

impl<const N: usize> Query<N> {
    /// Reads a query in which each of these names may stand once.
    pub(super) fn read(text: &str, names: [&'static str; N]) -> Result<Self, Problem> {
        // A cursor that is no text is no cursor, as any other that was changed.
        check_utf8(text.split('&').filter(|pair| !pair.starts_with("cursor=")))?;
        let mut query = Self {
            own: [const { None }; N],
            filters: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
            match names.iter().position(|own| *own == name) {
                None => query.filters.push((name, value)),
                Some(index) if query.own[index].is_none() => query.own[index] = Some(value),
                Some(index) => {
                    return Err(invalid(
                        names[index],
                        "REPEATED",
                        "the parameter stands more than once",
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

/// The number of items: the default without `limit`, at most the maximum.
pub(super) fn limit(asked: Option<&str>, limits: PageLimits) -> Result<u32, Problem> {
    asked.map_or(Ok(limits.default), |asked| {
        Ok(positive("limit", asked)?.min(limits.max))
    })
}

/// A whole number above zero; one that is too large for 32 bits is the largest of them.
pub(super) fn positive(name: &'static str, text: &str) -> Result<u32, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits {
        text.parse().unwrap_or(u32::MAX)
    } else {
        0
    };
    if number == 0 {
        return Err(invalid(
            name,
            "NOT_POSITIVE",
            "expected a whole number above zero",
        ));
    }
    Ok(number)
}

pub(super) fn invalid(
    parameter: &'static str,
    code: &'static str,
    detail: &'static str,
) -> Problem {
    Problem::new(&registry::INVALID_PARAMETER)
        .with_detail(format!("the query parameter `{parameter}` cannot be read"))
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
        assert_eq!(limit(None, LIMITS).expect("absent"), 50);
        assert_eq!(limit(Some("7"), LIMITS).expect("within"), 7);
        assert_eq!(limit(Some("101"), LIMITS).expect("over"), 100);
        assert_eq!(
            limit(Some("99999999999999999999"), LIMITS).expect("far over"),
            100
        );
    }

    #[test]
    fn d04_what_is_no_positive_number_is_refused() {
        for wrong in [
            "0", "-1", "", "x", "1.5", "+1", " 1", "0x1", "00", "1e9", "１",
        ] {
            assert_eq!(limit(Some(wrong), LIMITS).expect_err(wrong).status(), 400);
        }
    }

    #[test]
    fn repeated_parameters_are_refused() {
        assert!(Query::read("limit=1&limit=2", ["limit"]).is_err());
        assert!(Query::read("cursor=1&x=2&cursor=1", ["limit", "cursor"]).is_err());
        let query = Query::read("x=2&a=1&x=1&limit=3", ["limit"]).expect("each once");
        let filters: Vec<_> = query
            .filters
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        assert_eq!(
            (filters, query.own),
            (
                vec![("a", "1"), ("x", "2"), ("x", "1")],
                [Some("3".to_owned())]
            )
        );
    }
}
