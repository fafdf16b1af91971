/// The versions in which an endpoint is served: `1`, `1..` or `1..=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionSpec {
    first: u32,
    last: Option<u32>,
}

impl VersionSpec {
    /// Creates the range of versions from `first` to `last`, inclusive. Without `last`, the range
    /// has all versions of the API from `first` on.
    pub const fn new(first: u32, last: Option<u32>) -> Self {
        Self { first, last }
    }

    /// Returns the first version.
    pub const fn first(self) -> u32 {
        self.first
    }

    /// Returns the last version; `None` for an open range.
    pub const fn last(self) -> Option<u32> {
        self.last
    }

    /// Returns the newest version that the declaration names. Links to the endpoint have the prefix
    /// of this version.
    pub const fn newest_named(self) -> u32 {
        match self.last {
            Some(last) => last,
            None => self.first,
        }
    }
}
