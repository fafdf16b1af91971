//! The error and the future of all store operations.
//!
//! A facet is a trait for one kind of state in a store, such as `LimitStore` or `IdempotencyStore`.

use core::fmt;

use crate::maybe_ready::MaybeReady;

/// The error of a store operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The request was not sent, or the store refused to execute it. Nothing was done.
    NotExecuted(String),
    /// The store did not respond in time. The operation may or may not have been done.
    Unavailable(String),
    /// The store responded with an error. The operation may or may not have been done.
    Failed(String),
    /// The store has no room for another record. Nothing was done.
    Full,
    /// The stored value is damaged, or another version wrote it. Nothing was done.
    Malformed {
        /// The key of the value in the store.
        key: String,
        /// A description of what is wrong with the value.
        why: String,
    },
}

impl StoreError {
    /// Returns `true` if the store did not execute the request or does not respond. A later call may
    /// succeed.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::NotExecuted(_) | Self::Unavailable(_))
    }

    /// Returns `true` if the operation may have been done in spite of the error.
    pub const fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Failed(_))
    }

    /// Returns `true` if one value is malformed, and the store itself works.
    pub const fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExecuted(why) => write!(f, "the store did not execute the request: {why}"),
            Self::Unavailable(why) => write!(f, "the store did not respond: {why}"),
            Self::Failed(why) => write!(f, "the store responded with an error: {why}"),
            Self::Full => f.write_str("the store is full"),
            Self::Malformed { key, why } => {
                write!(f, "the store has an unreadable value at `{key}`: {why}")
            }
        }
    }
}

impl std::error::Error for StoreError {}

/// The future of a store operation. A store in memory returns a future that is ready immediately.
pub type StoreFuture<'a, T> = MaybeReady<'a, Result<T, StoreError>>;
