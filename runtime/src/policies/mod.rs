//! The promises: one folder a policy, the same files in each.

pub mod body_limit;
pub mod idempotency;
pub mod paginate;
pub mod rate_limit;
pub mod timeout;
pub mod version;
