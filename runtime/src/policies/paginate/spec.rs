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

impl Default for PageLimits {
    fn default() -> Self {
        Self::new(50, 100)
    }
}
