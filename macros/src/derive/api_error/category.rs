//! The categories of problems, with the statuses and retries that each allows.
//!
//! The runtime's `agreement.rs` includes this file and compares it with the runtime's categories.

/// One category of `#[problem(…)]`.
#[derive(Debug)]
pub(crate) struct Category {
    /// The category as written.
    pub(crate) name: &'static str,
    /// The variant of the runtime's `Category`.
    pub(crate) variant: &'static str,
    /// The allowed statuses, the default first.
    pub(crate) statuses: &'static [u16],
    /// The rule for `retryable`.
    pub(crate) retryable: Retryable,
}

/// The rule for `retryable` in a category. A problem is retryable if a retry can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryable {
    /// Problems are never retryable.
    Never,
    /// Problems are retryable only with `retryable = true`.
    Declared,
    /// Problems are retryable with `retryable = true`. Without this option, the runtime decides for
    /// each request, because a retry can repeat the effects of the handler.
    Depends,
    /// Problems are always retryable.
    Always,
}

/// All categories, in the order of the reference.
pub(crate) const CATEGORIES: &[Category] = &[
    category(
        "validation",
        "Validation",
        &[422, 400, 413, 415],
        Retryable::Never,
    ),
    category("unauthenticated", "Auth", &[401], Retryable::Never),
    category("forbidden", "Auth", &[403], Retryable::Never),
    category("not_found", "NotFound", &[404], Retryable::Never),
    category("gone", "Gone", &[410], Retryable::Never),
    category(
        "conflict",
        "Conflict",
        &[409, 412, 428],
        Retryable::Declared,
    ),
    category("rate_limited", "RateLimited", &[429], Retryable::Always),
    category(
        "dependency",
        "Dependency",
        &[503, 502, 504],
        Retryable::Depends,
    ),
    category("internal", "Internal", &[500], Retryable::Never),
];

const fn category(
    name: &'static str,
    variant: &'static str,
    statuses: &'static [u16],
    retryable: Retryable,
) -> Category {
    Category {
        name,
        variant,
        statuses,
        retryable,
    }
}

/// Returns the category with this name.
pub(crate) fn find(name: &str) -> Option<&'static Category> {
    CATEGORIES.iter().find(|category| category.name == name)
}

/// Returns the names of all categories.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    CATEGORIES.iter().map(|category| category.name)
}
