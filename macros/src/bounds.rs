//! Bounds that the runtime has as well.
//!
//! The runtime's `agreement.rs` reads this file and compares each bound with its own: a bound that is written in both
//! crates belongs here.

use std::time::Duration;

/// The most arguments of an endpoint's function: as many as axum takes.
pub(crate) const MAX_ARGUMENTS: usize = 16;

/// The most parameters of a path: the router names them `a` to `z`, and panics when it gives out the last.
pub(crate) const MAX_PARAMETERS: usize = 25;

/// The most versions that one endpoint serves, each under a route of its own.
pub(crate) const MAX_VERSIONS: u32 = 100;

/// The most tokens that a sliding window logs.
pub(crate) const MAX_LOG: u64 = 10_000;

/// The most tokens that can be taken ahead from a bucket of `burst` tokens: two batches and a request must fit into it.
pub(crate) const fn max_prefetch(burst: u64, cost: u64) -> u64 {
    burst.saturating_sub(cost) / 2
}

/// The lease of a running request unless operators say otherwise: no answer is kept for less.
pub(crate) const MIN_TTL: Duration = Duration::from_secs(30);

/// The longest time for which an answer is kept.
pub(crate) const MAX_TTL: Duration = Duration::from_hours(365 * 24);

/// The largest body of an answer that is kept, in bytes.
pub(crate) const MAX_STORED_BODY: u64 = 16 << 20;

/// The items of a page where neither the client nor the endpoint says how many.
pub(crate) const DEFAULT_PAGE: u32 = 50;

/// The most items of a page where the endpoint does not say how many.
pub(crate) const MAX_PAGE: u32 = 100;

/// The last item that a counted page can have.
pub(crate) const MAX_OFFSET: u32 = 10_000;

/// The members of a problem document that an extension cannot replace.
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
