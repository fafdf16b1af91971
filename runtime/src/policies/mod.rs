//! The promises: one folder a policy, the same files in each.

pub mod idempotency;
pub mod paginate;
pub mod rate_limit;
pub mod version;
