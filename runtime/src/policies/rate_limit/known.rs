//! What limits look up in a request before they are asked.

/// What the limits of an endpoint know of a request, in their order. Empty where none of them looks at it.
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<Looked>);

/// What one limit knows.
#[derive(Debug)]
pub(super) struct Looked {
    /// Tokens that the request takes.
    pub(super) cost: u64,
}

impl Known {
    /// What the limit in this place knows; nothing, if none had to look.
    pub(super) fn of(&self, place: usize) -> Option<&Looked> {
        self.0.get(place)
    }
}

impl FromIterator<Looked> for Known {
    fn from_iter<I: IntoIterator<Item = Looked>>(looked: I) -> Self {
        Self(looked.into_iter().collect())
    }
}
