//! Limits that the runtime enforces too.
//!
//! Add a limit here if both crates need it. The runtime's `agreement.rs` includes this file and
//! compares each limit with the limit of the runtime.

use std::time::Duration;

/// The largest number of arguments of an endpoint.
pub(crate) const MAX_ARGUMENTS: usize = 16;

/// The largest number of parameters of a path. The router gives parameters the internal names `a`
/// to `z`, and panics if a path has 26 parameters.
pub(crate) const MAX_PARAMETERS: usize = 25;

/// The largest number of versions that one endpoint serves. Each version is a route.
pub(crate) const MAX_VERSIONS: u32 = 100;

/// The largest number of tokens that a sliding window logs.
pub(crate) const MAX_LOG: u64 = 10_000;

/// Returns the largest `prefetch` for a bucket of `burst` tokens. Two batches and one request must
/// fit into the bucket.
pub(crate) const fn max_prefetch(burst: u64, cost: u64) -> u64 {
    burst.saturating_sub(cost) / 2
}

/// The shortest `ttl` of a stored response. It equals the default lease of a running request.
pub(crate) const MIN_TTL: Duration = Duration::from_secs(30);

/// The longest `ttl` of a stored response.
pub(crate) const MAX_TTL: Duration = Duration::from_hours(365 * 24);

/// The largest response body that is stored, in bytes.
pub(crate) const MAX_STORED_BODY: u64 = 16 << 20;

/// The number of items on a page if neither the client nor the endpoint sets it.
pub(crate) const DEFAULT_PAGE: u32 = 50;

/// The largest number of items on a page if the endpoint does not set it.
pub(crate) const MAX_PAGE: u32 = 100;

/// The position of the last item that offset pagination reaches.
pub(crate) const MAX_OFFSET: u32 = 10_000;

/// The members of a problem document whose names an extension cannot have.
pub(crate) const RESERVED_MEMBERS: &[&str] = &[
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "category",
    "retryable",
    "request_id",
    "errors",
];
