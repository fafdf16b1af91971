//! The policies, one folder each, with the same file names: `spec.rs` is the declaration,
//! `decide.rs` the decision without I/O, `store.rs` the trait of the store, and `stage.rs` the I/O.
//! A policy has the files that it needs.

pub mod body_limit;
pub mod deprecation;
pub mod idempotency;
pub mod paginate;
pub mod rate_limit;
pub mod timeout;
pub mod version;
