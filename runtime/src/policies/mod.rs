//! The policies. Each policy has a folder, and the file names are the same in all folders:
//! `spec.rs` is the declaration, `decide.rs` the decision without I/O, `store.rs` the trait of the
//! store, and `stage.rs` the I/O. A policy has only the files that it needs.

pub mod body_limit;
pub mod deprecation;
pub mod idempotency;
pub mod paginate;
pub mod rate_limit;
pub mod timeout;
pub mod version;
