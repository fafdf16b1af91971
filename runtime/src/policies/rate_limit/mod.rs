//! Rate limits: `rate_limit = "100/min"`.
//!
//! A bucket holds up to `burst` tokens (as many as the rate's number unless it says otherwise) and
//! refills at the rate; a request takes one, or `cost`. Several limits on one endpoint decide together: a
//! request that one of them refuses takes from none.
//!
//! A refused request is a 429 `RATE_LIMITED` with `Retry-After`, in whole seconds, after which the
//! same request is admitted if nothing else took the tokens. Every response of a limited endpoint
//! carries
//!
//! | field | value |
//! |---|---|
//! | `X-RateLimit-Limit` | the burst; of a window its limit |
//! | `X-RateLimit-Remaining` | whole tokens left |
//! | `X-RateLimit-Reset` | when the bucket is full, in Unix seconds |
//! | `RateLimit-Policy`, `RateLimit` | the same as structured fields (draft-ietf-httpapi-ratelimit-headers), one item a limit |
//!
//! With several limits the `X-` fields speak for the one that refuses for the longest, else for the
//! one with the fewest tokens left.
//!
//! # Algorithms
//!
//! `rate_limit("100/min", algorithm = …)` says how requests are counted:
//!
//! | `algorithm` | what it is | the most tokens in any period | for |
//! |---|---|---|---|
//! | `token_bucket` (default) | refills at the rate, kept as one theoretical arrival time (GCRA, ITU-T I.371) | limit + burst | almost everything |
//! | `leaky_bucket` | a queue that is let go at the rate | the limit, evenly spaced | what stands behind must not see a burst |
//! | `fixed_window` | a count that begins anew with each period, counted from 1970 | 2 × limit | quotas that people know by the calendar: 1,000 a day |
//! | `sliding_window` | a log of the tokens of the last period | the limit, exactly | contracts that say "in any minute" |
//!
//! A request of a **leaky bucket** waits for its turn before its handler runs, and before a body of more than
//! 64 KiB is read; of the `burst` requests in the queue the first goes at once. It is refused where the
//! queue is full, or where its turn would come after the response's deadline (`timeout`), and then
//! takes nothing. Turns are kept to the millisecond. A request that costs several tokens goes by its
//! first, and holds up the next by all of them. A request that is in the queue keeps its place when
//! its client goes away. The fields below say `Limit` of the queue, and `Remaining` of its free places.
//!
//! A **fixed window** of a minute begins with the clock's minute, a day with the day of UTC. A
//! **sliding window** remembers every token by itself and refuses to log more than 10,000; on Redis it takes about
//! 11 bytes a token, and in memory 8.
//!
//! Windows have no `burst`: it is the rate's number. A clock that steps back takes what is left, for one period
//! at most; one that jumps ahead refills.
//!
//! # What a request costs
//!
//! One token, or as many as `cost = 3` says, which is at most the burst. Where requests differ, a function of
//! their head says it. It is called once a request, before the store is asked, and before a run under an
//! idempotency key begins.
//!
//! ```
//! use aplomb::{Query, endpoint};
//! use axum::http::request::Parts;
//!
//! #[derive(serde::Deserialize)]
//! struct Export {
//!     rows: u64,
//! }
//!
//! /// A token for each hundred rows. What cannot be read is refused by the handler's own argument.
//! fn weigh(head: &Parts) -> u64 {
//!     Query::<Export>::try_from_uri(&head.uri).map_or(1, |Query(export)| export.rows.div_ceil(100))
//! }
//!
//! #[endpoint(get = "/export", rate_limit("100/min", cost = weigh))]
//! async fn export(Query(export): Query<Export>) -> String {
//!     format!("{} rows", export.rows)
//! }
//! ```
//!
//! - A cost of 0 takes nothing and is admitted, however little is left; the fields are there all the same.
//! - A cost above the burst takes the whole bucket, and so is admitted only while the bucket is full. It never
//!   holds more: a request that had to find more would be told to wait for what cannot come.
//! - The head is as it came. The body and what extractors make of the request are not there yet, nor are path
//!   parameters with their types; the path itself is in `head.uri`.
//! - It is the client that says `rows`. Read it as the handler does, and let the handler do no more than was
//!   paid for.
//! - A panic is a 500, which takes nothing; the handler does not run.
//! - What a function says is not compared with the burst at start; neither is it where operators lower the
//!   burst.
//!
//! # Counted by a tenant
//!
//! A request counts by its caller (`by = caller`: where there is none, by the client's address), by the
//! address (`by = ip`) or with all others (`by = route`); or by what a header or a path parameter says, once
//! that is verified:
//!
//! ```
//! use aplomb::auth::Caller;
//! use aplomb::endpoint;
//! use aplomb::policies::rate_limit::LimitKey;
//!
//! /// The tenant of callers such as `acme/alice`.
//! struct Tenant;
//!
//! impl LimitKey for Tenant {
//!     fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
//!         let (tenant, _) = caller?.id().split_once('/')?;
//!         (value == tenant).then(|| tenant.to_owned())
//!     }
//! }
//!
//! #[endpoint(
//!     get = "/reports",
//!     rate_limit("1000/min", by = header("x-tenant", Tenant)),
//!     rate_limit("100/min", by = caller)
//! )]
//! async fn reports() {}
//!
//! #[endpoint(get = "/tenants/{tenant_id}/users", rate_limit("1000/min", by = param("tenant_id", Tenant)))]
//! async fn users() {}
//! ```
//!
//! **There is no limit by a header that nobody verifies**: a client that makes up a new value for each request
//! would have a full bucket for each; see [`LimitKey`].
//!
//! - Where the header is missing, stands there twice, is not ASCII, or is not verified, the request counts as
//!   `by = caller` would have it. So nobody escapes: a client has its own bucket, and those of the keys that
//!   are verified for it.
//! - One caller can use up what its tenant has for all: a second limit by caller keeps some for the others.
//! - A key is no caller: the tenant `alice` and the caller `alice` have a bucket each. On Redis neither stands
//!   in the clear.
//! - A panic in `verify` is a 500, which takes nothing; the handler does not run.
//!
//! # Tokens taken ahead
//!
//! `rate_limit("1000/min", prefetch = 50)` lets each instance take 50 tokens ahead, and admit the next requests by
//! them without a trip to the store. It is for limits that are met often, with a store that is a trip away; on the
//! store in memory it does nothing.
//!
//! - Never more is admitted: a batch is good for as long as its tokens take to come back (here three seconds), and
//!   the bucket holds as much less (here 950). So in any period no more than burst + limit pass, as without.
//! - A request may be refused although another instance has tokens that it does not need, and `Remaining` tells
//!   what the store had at the last trip, and what this instance has.
//! - An instance that dies loses its batch; the bucket refills by itself.
//! - The bucket must hold two batches and a request. The limit must be a token bucket, and the only one of its
//!   endpoint; the record of an idempotency key is begun in a trip of its own.
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
//! A limit that is changed, here or in the code, begins with full buckets. While instances with the old and
//! with the new one run beside each other, each have buckets of their own: what passes is at most what both limits
//! let through together.
//!
//! # Tried before they are enforced
//!
//! `rate_limit("100/min", shadow)` counts and never refuses. A request takes its tokens as from any
//! limit; one for which there are not enough is admitted all the same, takes nothing from that
//! bucket, and is counted in the log: an info line at once, then at most one a second for each limit
//! of an endpoint, with how many `requests` there were since the last one, the endpoint, the limit,
//! and `by`, which says whether the last of them was counted by caller, by address, by a verified key, or
//! with everyone's.
//!
//! Clients are told nothing of it: it has no part in the fields above or in `Retry-After`, and an
//! endpoint with no other limits sends none. Where an enforced limit refuses, nothing is taken from
//! the shadow ones either, and nothing is written. On Redis a bucket of a shadow that cannot be read
//! refuses nobody: it counts as one without tokens. Without `shadow` the same buckets decide.
//!
//! A limit that several endpoints name is `shadow` in all of them or in none, or the service does
//! not start.
//!
//! # Clients behind proxies
//!
//! `by = ip`, requests without a caller and failed authentication are counted by the client's address:
//! that of the peer, unless the peer is a proxy that is trusted.
//!
//! ```text
//! APLOMB_TRUSTED_PROXIES=10.0.0.0/8,192.0.2.7,2001:db8::/32
//! APLOMB_FORWARDED_FIELD=x-forwarded-for
//! ```
//!
//! or [`Api::trusted_proxies`](crate::Api::trusted_proxies) and
//! [`Api::forwarded_field`](crate::Api::forwarded_field) say which proxies are, and in which field they
//! tell their client. All lines of that field are walked from the right, where the nearest proxy has
//! appended, to the first address that is not trusted. That is the client: what stands further left,
//! the client may have made itself, and nobody reads it.
//!
//! | what the trusted peer tells | the client's address |
//! |---|---|
//! | nothing, for the field is missing or empty | the peer's |
//! | only addresses of trusted proxies | the leftmost |
//! | on the way, a hop that cannot be read, is `unknown` or hidden (`_x`) | the peer's |
//! | more than 100 hops, or 8 KiB in all lines together | decided by what is within, from the right |
//!
//! Ports and zones are dropped. IPv4-mapped addresses are IPv4, and IPv6 is counted by its /64, which is
//! what one customer usually has.
//!
//! **Only one field is read**: `X-Forwarded-For`, unless `Forwarded` (RFC 7239) is set. A proxy that
//! writes one of them passes the other one through as the client made it, and nothing in the request
//! tells which is which: whoever read both would let clients choose their address. So set the field that
//! your proxies write. Where they write only `Forwarded` and the setting still says `X-Forwarded-For`,
//! clients can choose their address.
//!
//! What else surprises:
//!
//! - Every proxy on the way has to append to the field, or to replace it. One that passes it through
//!   lets clients choose their address.
//! - Whoever reaches the service from a trusted address without passing the proxy chooses an address,
//!   too: trust the proxies, and not the whole network in which others live. A network of everybody
//!   (`/0`) is refused at start.
//! - Without this setting all clients behind a proxy share its bucket.
//! - A router that is served without the peer's address has one bucket for all, which the log says at
//!   the first such request; see [`Api::into_router`](crate::Api::into_router).
//!
//! # Refused again
//!
//! Whom a store that takes a trip has refused, the instance refuses itself for as long as the store said
//! to wait, and for a second at most: the same limits, the same callers or addresses, the same costs. Such
//! a request is refused before its body is read; its fields and its `Retry-After` are those of the store,
//! with the time that has passed taken off. What limits admit is never decided so, nor is what the
//! instance decides while the store is out. An instance remembers 4,096 refusals, in less than
//! 700 KiB with two limits an endpoint.
//!
//! # While the store is slow or down
//!
//! An answer of the store is waited for 250 ms. Where none comes, the instance decides by itself, in
//! its memory, at its share of the limit: the rate divided by the number of instances that
//! `APLOMB_INSTANCES` or [`Api::instances`](crate::Api::instances) says (1 unless it is set), the
//! burst divided and rounded up, and never below what a request costs, which is the whole burst where a
//! function says it. After three such answers in
//! a row the store is left alone for a second; then one request tries it while the others are still
//! decided by the instance, until it answers. The log says when this begins, why, and when it ends.
//!
//! What an instance decides by itself has none of the fields above, for they would be true of one
//! instance only; a 429 still has `Retry-After`. A bucket that holds what cannot be read is a 503
//! `STORE_UNAVAILABLE`.
//!
//! Under an idempotency key the limits and the record are asked for together where one Redis keeps both
//! and the body is small ([`AdmissionStore`](crate::store::AdmissionStore)). That answer is waited for as
//! long as one about a record is, a second, and without it the request is a 503 whatever its limits
//! would have said: nobody knows whether its run has begun. One that comes after 250 ms counts as one that
//! did not come, and once the store is left alone, the instance decides the limits and the record is asked
//! for alone.
//!
//! `on_error = deny` lets no instance decide by itself, where a limit guards what must never be exceeded, or
//! what costs more than being out: what the store does not decide is a 503 `STORE_UNAVAILABLE` with
//! `Retry-After`, at once while the store is left alone, and the handler does not run. One enforced limit of
//! an endpoint that says so is enough. A limit that several endpoints name says it in all of them or in none;
//! one that is `shadow` refuses nothing, and cannot say it.
//!
//! ```
//! # use aplomb::endpoint;
//! #[endpoint(get = "/vouchers", rate_limit("100/day", by = route, on_error = deny))]
//! async fn vouchers() {}
//! ```
//!
//! An instance that decides by itself remembers 65,536 buckets, in 1 MiB, and beside them 640,000 tokens of sliding
//! windows, in 5 to 20 MiB.
//!
//! With one instance set and several running, each of them lets the whole rate through while the
//! store is out.
//!
//! ```
//! use core::time::Duration;
//! use aplomb::policies::rate_limit::{Bucket, Claim, Quota, State, Subject};
//!
//! let quota = Quota::new(100, Duration::from_mins(1), 2).unwrap();
//! let claim = Claim::new(Bucket { limit: 1, subject: Subject::Everyone }, quota);
//! // One of its two tokens is taken: it is full again in 600 ms.
//! assert_eq!(claim.decide(State::Ahead(600_000)).remaining, 0);
//! assert_eq!(claim.decide(State::Ahead(1_200_000)).wait, Some(Duration::from_millis(600)));
//! ```

mod breaker;
mod client;
mod cost;
mod decide;
mod failures;
mod fields;
mod instances;
mod key;
mod limits;
mod logs;
mod max_costs;
pub(crate) mod memory;
mod overrides;
mod prefetch;
mod quota;
mod rate;
mod rejection_cache;
mod request_keys;
mod shadow;
mod shared_breaker;
mod spec;
mod stage;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use client::LimitClient;
pub use cost::Cost;
pub use decide::{LimitStatus, State};
pub(crate) use failures::Failures;
pub(crate) use instances::Instances;
pub use key::{KeyKind, LimitKey};
pub(crate) use limits::{Limits, impossible};
pub(crate) use max_costs::MaxCosts;
pub(crate) use overrides::Overrides;
pub use quota::Quota;
#[cfg(any(test, fuzzing))]
pub(crate) use rate::Rate;
pub use spec::{Algorithm, LimitBy, OnError, RateLimitSpec};
pub(crate) use stage::{EndpointLimits, LimitResponseWriter, LimitStage, QueueDelay};
pub use store::{Acquired, Bucket, LimitRequest, LimitStore, LimitSubject};
