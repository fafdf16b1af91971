//! The categories as they are written, and what each allows. The runtime's `agreement.rs` reads this file and compares.

/// One category of `#[problem(…)]`.
#[derive(Debug)]
pub(crate) struct Category {
    /// As written.
    pub(crate) name: &'static str,
    /// The variant of the runtime's `Category`.
    pub(crate) variant: &'static str,
    /// The statuses that it can have, the usual one first.
    pub(crate) statuses: &'static [u16],
    /// Whether the same request may succeed later.
    pub(crate) retryable: Retryable,
}

/// Whether a problem is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryable {
    /// Never.
    Never,
    /// Only where the declaration says so.
    Declared,
    /// Depends on what the handler left behind, unless the declaration says so.
    Depends,
    /// Always.
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

/// The category of this name.
pub(crate) fn find(name: &str) -> Option<&'static Category> {
    CATEGORIES.iter().find(|category| category.name == name)
}

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    CATEGORIES.iter().map(|category| category.name)
}
