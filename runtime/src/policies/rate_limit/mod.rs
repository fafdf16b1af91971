//! Rate limits: `rate_limit = "100/min"`, by token bucket.
//!
//! A bucket holds up to `burst` tokens (as many as the rate's number unless it says otherwise) and
//! refills at the rate; a request takes one, or `cost`. In any period at most burst + limit
//! requests pass. Several limits on one endpoint decide together: a request that one of them
//! refuses takes from none.
//!
//! A refused request is a 429 `RATE_LIMITED` with `Retry-After`, in whole seconds, after which the
//! same request is admitted if nothing else took the tokens. Every response of a limited endpoint
//! carries
//!
//! | field | value |
//! |---|---|
//! | `X-RateLimit-Limit` | the burst |
//! | `X-RateLimit-Remaining` | whole tokens left |
//! | `X-RateLimit-Reset` | when the bucket is full, in Unix seconds |
//! | `RateLimit-Policy`, `RateLimit` | the same as structured fields (draft-ietf-httpapi-ratelimit-headers), one item a limit |
//!
//! With several limits the `X-` fields speak for the one that refuses for the longest, else for the
//! one with the fewest tokens left.
//!
//! # Changed by operators
//!
//! A limit with a name can be set in the environment, without a new build: where endpoints declare
//! `rate_limit("100/min", name = "payments")`,
//!
//! ```text
//! APLOMB_LIMITS=payments=1000/min,login=5/min:burst=20
//! ```
//!
//! lets a thousand requests a minute through. The rate is written as in the attribute. The burst is
//! what `:burst=` says; else the declared one, where it differs from the declared rate's number;
//! else as many as the new rate has. Cost, `by` and algorithm stay. A name that no endpoint
//! declares, a name given twice, a wrong rate, and a burst below an endpoint's cost keep the service
//! from starting.
//!
//! # Tried before they are enforced
//!
//! `rate_limit("100/min", shadow)` counts and never refuses. A request takes its tokens as from any
//! limit; one for which there are not enough is admitted all the same, takes nothing from that
//! bucket, and is counted in the log: an info line at once, then at most one a second for each limit
//! of an endpoint, with how many `requests` there were since the last one, the endpoint, the limit,
//! and `by`, which says whether the last of them was counted by caller, by address, or with
//! everyone's.
//!
//! Clients are told nothing of it: it has no part in the fields above or in `Retry-After`, and an
//! endpoint with no other limits sends none. Where an enforced limit refuses, nothing is taken from
//! the shadow ones either, and nothing is written. On Redis a bucket of a shadow that cannot be read
//! refuses nobody: it counts as one without tokens. Without `shadow` the same buckets decide.
//!
//! A limit that several endpoints name is `shadow` in all of them or in none, or the service does
//! not start.
//!
//! # While the store is slow or down
//!
//! An answer of the store is waited for 250 ms. Where none comes, the instance decides by itself, in
//! its memory, at its share of the limit: the rate divided by the number of instances that
//! `APLOMB_INSTANCES` or [`Api::instances`](crate::Api::instances) says (1 unless it is set), the
//! burst divided and rounded up, and never below what the request costs. After three such answers in
//! a row the store is left alone for a second; then one request tries it while the others are still
//! decided by the instance, until it answers. The log says when this begins, why, and when it ends.
//!
//! What an instance decides by itself has none of the fields above, for they would be true of one
//! instance only; a 429 still has `Retry-After`. A bucket that holds what cannot be read is a 503
//! `STORE_UNAVAILABLE`.
//!
//! An instance that decides by itself remembers 65,536 buckets, in 1 MiB.
//!
//! With one instance set and several running, each of them lets the whole rate through while the
//! store is out.
//!
//! ```
//! use core::time::Duration;
//! use aplomb::policies::rate_limit::{Quota, decide};
//! use aplomb::clock::Timestamp;
//!
//! let quota = Quota::new(100, Duration::from_mins(1), 2).unwrap();
//! let now = Timestamp::from_micros(1_000_000);
//! let first = decide(None, quota, 2, now);
//! assert_eq!(first.reading.remaining, 0);
//! assert_eq!(decide(first.arrival, quota, 1, now).reading.wait, Some(Duration::from_millis(600)));
//! ```

mod address;
mod breaker;
mod decide;
mod fields;
mod guard;
mod instances;
mod limits;
mod overrides;
mod quota;
mod rate;
mod shadow;
mod spec;
pub(crate) mod stage;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use address::counted;
pub use decide::{Decision, Reading, decide, peek};
pub(crate) use guard::Guard;
pub(crate) use instances::Instances;
pub(crate) use limits::{Limits, impossible};
pub(crate) use overrides::Overrides;
pub use quota::Quota;
pub use spec::{Algorithm, LimitBy, RateLimitSpec};
pub use store::{Acquired, Bucket, Claim, LimitStore, Subject};
