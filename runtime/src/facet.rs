//! What an operation of a store returns: the words in which policies write the traits of their facets.

use core::fmt;

use crate::maybe_ready::MaybeReady;

/// What went wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be asked, or refuses to be asked at all. Nothing was done.
    Unreachable(String),
    /// The store did not answer, or not in time. Whether it did what was asked is not known.
    Unavailable(String),
    /// The store answered with an error of its own. Whether it did what was asked is not known.
    Failed(String),
    /// The store has no room for another record. Nothing was done.
    Full,
    /// What the store holds in this place was not written by this version, or is damaged. Nothing
    /// was done.
    Malformed {
        /// The place, as the store names it.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// Whether the store does not answer, which may pass.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable(_))
    }

    /// Whether what was asked may have been done all the same.
    pub const fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Failed(_))
    }

    /// Whether the trouble is with what stands under this key, rather than with the store.
    pub const fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the store cannot be reached: {why}"),
            Self::Unavailable(why) => write!(f, "the store does not answer: {why}"),
            Self::Failed(why) => write!(f, "the store answers with an error: {why}"),
            Self::Full => f.write_str("the store is full"),
            Self::Malformed { key, why } => {
                write!(f, "the store holds at `{key}` what cannot be read: {why}")
            }
        }
    }
}

impl std::error::Error for StoreError {}

/// The answer of a store: there at once, as memory's always is, or later.
pub type StoreFuture<'a, T> = MaybeReady<'a, Result<T, StoreError>>;
