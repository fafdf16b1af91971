/// The versions of the API in which an endpoint is served: `1`, `1..` or `1..=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionSpec {
    first: u32,
    last: Option<u32>,
}

impl VersionSpec {
    /// Versions `first` to `last`, both included; without `last` all from `first` on that the API
    /// knows.
    pub const fn new(first: u32, last: Option<u32>) -> Self {
        Self { first, last }
    }

    /// The first version.
    pub const fn first(self) -> u32 {
        self.first
    }

    /// The last version, unless the range is open.
    pub const fn last(self) -> Option<u32> {
        self.last
    }

    /// The newest version that the declaration names: the prefix of the endpoint's own links.
    pub const fn newest_named(self) -> u32 {
        match self.last {
            Some(last) => last,
            None => self.first,
        }
    }
}
