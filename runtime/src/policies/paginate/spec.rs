use crate::describe::with_options;

/// How a list is cut into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaginationPolicy {
    /// The answer is no list.
    Undeclared,
    /// The declaration says why the list stays small.
    Unpaginated {
        /// The reason.
        reason: &'static str,
    },
    /// Pages follow one another by cursor.
    Cursor(PageLimits),
    /// Pages are counted.
    Offset(PageLimits),
}

impl PaginationPolicy {
    /// Describes the policy, such as `paginate(cursor)`.
    pub(crate) fn describe(&self) -> Option<String> {
        match self {
            Self::Undeclared => None,
            Self::Unpaginated { .. } => Some(String::from("unpaginated")),
            Self::Cursor(limits) => Some(limits.describe("cursor")),
            Self::Offset(limits) => Some(limits.describe("offset")),
        }
    }
}

/// The size of a page, in items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageLimits {
    /// Without `limit` in the request.
    pub default: u32,
    /// The most; a larger `limit` is lowered to it.
    pub max: u32,
}

impl PageLimits {
    /// Pages of `default` items, and of up to `max` where the client asks.
    pub const fn new(default: u32, max: u32) -> Self {
        Self { default, max }
    }
}

impl PageLimits {
    /// The kind of pages, and sizes that are not the default.
    fn describe(self, kind: &str) -> String {
        let usual = Self::default();
        let mut options = vec![kind.to_owned()];
        options
            .extend((self.default != usual.default).then(|| format!("default={}", self.default)));
        options.extend((self.max != usual.max).then(|| format!("max={}", self.max)));
        with_options("paginate", &options)
    }
}

impl Default for PageLimits {
    fn default() -> Self {
        Self::new(50, 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_shows_the_kind_of_pages_and_sizes_that_are_not_the_default() {
        let usual = PageLimits::default();
        for (policy, said) in [
            (PaginationPolicy::Undeclared, None),
            (
                PaginationPolicy::Unpaginated {
                    reason: "ten at most",
                },
                Some("unpaginated"),
            ),
            (PaginationPolicy::Cursor(usual), Some("paginate(cursor)")),
            (
                PaginationPolicy::Offset(PageLimits::new(20, 500)),
                Some("paginate(offset, default=20, max=500)"),
            ),
        ] {
            assert_eq!(policy.describe().as_deref(), said);
        }
    }
}
