//! The promises, one folder each: what is declared (`spec.rs`), what is decided without I/O
//! (`decide.rs`), what a store must do (`store.rs`) and the I/O (`stage.rs`), as far as each needs them.

pub mod body_limit;
pub mod deprecation;
pub mod idempotency;
pub mod paginate;
pub mod rate_limit;
pub mod timeout;
pub mod version;
