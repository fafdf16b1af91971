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
//! what `:burst=` says; else the declared one, if the attribute says `burst = …`; else as many as
//! the new rate has. Cost, `by` and algorithm stay. A name that no endpoint declares, a name given
//! twice, a wrong rate, and a burst below an endpoint's cost keep the service from starting.
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
mod decide;
mod fields;
mod limits;
mod overrides;
mod quota;
mod rate;
mod spec;
pub(crate) mod stage;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use address::counted;
pub use decide::{Decision, Reading, decide, peek};
pub(crate) use limits::{Limits, impossible};
pub(crate) use overrides::Overrides;
pub use quota::Quota;
pub use spec::{Algorithm, LimitBy, RateLimitSpec};
pub use store::{Acquired, Bucket, Claim, LimitStore, Subject};
