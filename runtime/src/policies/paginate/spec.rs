use crate::describe::with_options;

/// The pagination of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PaginationPolicy {
    /// The response is not a list.
    Undeclared,
    /// A list without pages that stays small.
    Unpaginated {
        /// The declared reason why the list stays small.
        reason: &'static str,
    },
    /// Pages that are reached by cursors.
    Cursor(PageLimits),
    /// Numbered pages.
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

/// The sizes of a page, in items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageLimits {
    /// The size if the request has no `limit`.
    pub default: u32,
    /// The largest size; a larger `limit` is lowered to it.
    pub max: u32,
}

impl PageLimits {
    /// Creates the sizes: `default` items, or up to `max` items if the request has a `limit`.
    pub const fn new(default: u32, max: u32) -> Self {
        Self { default, max }
    }
}

impl PageLimits {
    /// Describes the kind of pages and the sizes that differ from the default.
    fn describe(self, kind: &str) -> String {
        let standard = Self::default();
        let mut options = vec![kind.to_owned()];
        options.extend(
            (self.default != standard.default).then(|| format!("default={}", self.default)),
        );
        options.extend((self.max != standard.max).then(|| format!("max={}", self.max)));
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
    fn a_description_shows_the_kind_of_pages_and_the_sizes_that_differ_from_the_default() {
        let standard = PageLimits::default();
        for (policy, expected) in [
            (PaginationPolicy::Undeclared, None),
            (
                PaginationPolicy::Unpaginated {
                    reason: "ten at most",
                },
                Some("unpaginated"),
            ),
            (PaginationPolicy::Cursor(standard), Some("paginate(cursor)")),
            (
                PaginationPolicy::Offset(PageLimits::new(20, 500)),
                Some("paginate(offset, default=20, max=500)"),
            ),
        ] {
            assert_eq!(policy.describe().as_deref(), expected);
        }
    }
}
