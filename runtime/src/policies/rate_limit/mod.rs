//! Rate limits: `rate_limit = "100/min"`.
//!
//! Each limit has a bucket of tokens for every caller. The bucket refills at the rate and holds up
//! to `burst` tokens. Without `burst`, it holds as many tokens as the rate has requests (here 100).
//! A request takes one token, or `cost` tokens. An endpoint can have several limits. If one of them
//! rejects a request, the request takes no tokens from any of them.
//!
//! A rejected request gets a 429 `RATE_LIMITED` with `Retry-After`, in whole seconds. After that
//! time the same request is admitted, unless other requests have taken the tokens. Every response
//! of a limited endpoint carries these fields:
//!
//! | field | value |
//! |---|---|
//! | `X-RateLimit-Limit` | the burst; for a window, its limit |
//! | `X-RateLimit-Remaining` | the number of whole tokens left |
//! | `X-RateLimit-Reset` | the time at which the bucket is full, in Unix seconds |
//! | `RateLimit-Policy`, `RateLimit` | the same as structured fields (draft-ietf-httpapi-ratelimit-headers), with one item per limit |
//!
//! With several limits, the `X-` fields describe the limit that rejects the request for the longest
//! time. If no limit rejects it, they describe the limit with the fewest tokens left.
//!
//! # Algorithms
//!
//! `rate_limit("100/min", algorithm = …)` selects how requests are counted:
//!
//! | `algorithm` | how it works | most tokens in any period | use it for |
//! |---|---|---|---|
//! | `token_bucket` (default) | refills at the rate; stored as one theoretical arrival time (GCRA, ITU-T I.371) | limit + burst | almost everything |
//! | `leaky_bucket` | a queue that releases requests at the rate | the limit, evenly spaced | backends that must not receive bursts |
//! | `fixed_window` | a counter that restarts with each period; periods are counted from 1970 | 2 × limit | calendar quotas: 1,000 a day |
//! | `sliding_window` | a log of the tokens of the last period | the limit, exactly | contracts about "any minute" |
//!
//! **Leaky bucket.** An admitted request waits in the queue before its handler runs, and before a
//! body of more than 64 KiB is read. The queue holds `burst` requests; the first one runs
//! immediately. A request is rejected if the queue is full, or if its turn would come after the
//! response deadline (`timeout`). A rejected request takes nothing. Turns are accurate to the
//! millisecond. A request that costs three tokens waits no longer than a request that costs one,
//! but the next request runs at least three intervals after it. If the client of a queued request
//! disconnects, the request stays in the queue. In the fields above, `Limit` is the length of the
//! queue and `Remaining` is the number of its free places.
//!
//! **Fixed window.** A window of a minute starts with the clock's minute, and a window of a day
//! with the UTC day.
//!
//! **Sliding window.** The log stores every token separately, so a limit of more than 10,000 is
//! refused. A token takes about 11 bytes on Redis and 8 bytes in memory.
//!
//! A window has no `burst` option: its burst is the number of requests in the rate. If the clock
//! steps back, the remaining tokens are lost for one period at most. If the clock jumps ahead, the
//! bucket refills.
//!
//! # What a request costs
//!
//! A request costs one token, or `cost = 3` tokens. A fixed cost can be at most the burst. If the
//! cost depends on the request, set `cost` to a function of the request's head. The function is
//! called one time per request, before the store is called and before a run with an idempotency key
//! begins.
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
//! /// Costs one token per hundred rows. The extractor of the handler rejects an invalid query.
//! fn export_cost(head: &Parts) -> u64 {
//!     Query::<Export>::try_from_uri(&head.uri).map_or(1, |Query(export)| export.rows.div_ceil(100))
//! }
//!
//! #[endpoint(get = "/export", rate_limit("100/min", cost = export_cost))]
//! async fn export(Query(export): Query<Export>) -> String {
//!     format!("{} rows", export.rows)
//! }
//! ```
//!
//! - A request of cost 0 takes no token and is always admitted. Its response also has the fields
//!   above.
//! - A cost above the burst is lowered to the burst, so the request is admitted only while the
//!   bucket is full. The bucket never holds more tokens, so a higher cost could never be paid.
//! - The function gets the head as the client sent it: no body, no results of extractors and no
//!   typed path parameters. The path is in `head.uri`.
//! - Clients choose values such as `rows`. Read them as the handler does, and do not let the
//!   handler do more work than the cost covers.
//! - If the function panics, the request gets a 500 and takes nothing. The handler does not run.
//! - The check at start compares only fixed costs with the burst. It does not check a cost
//!   function, even if operators lower the burst.
//!
//! # Buckets and tenants
//!
//! `by` selects the requests that share a bucket:
//!
//! - `by = caller` (the default): the requests of one caller, or of one client address if there is
//!   no caller;
//! - `by = ip`: the requests of one client address;
//! - `by = route`: all requests of the endpoint;
//! - `by = header(…)` and `by = param(…)`: the requests with the same verified value of a header or
//!   path parameter.
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
//! **A limit cannot count by an unverified header**: a client that invents a new value for each
//! request would get a full bucket for each request; see [`LimitKey`].
//!
//! - If the header is missing, repeated, not ASCII or not verified, the request counts as with
//!   `by = caller`. So a client cannot avoid the limit: it can use only its own bucket and the
//!   buckets of the keys that are verified for it.
//! - One caller can use up the tokens of its whole tenant. A second limit by caller keeps some
//!   tokens for the other callers.
//! - A key is not a caller: the tenant `alice` and the caller `alice` have separate buckets. Redis
//!   stores neither name in plain text.
//! - If `verify` panics, the request gets a 500 and takes nothing. The handler does not run.
//!
//! # Prefetched tokens
//!
//! With `rate_limit("1000/min", prefetch = 50)`, each instance takes 50 tokens in advance and
//! admits the next requests without a call to the store. Use it for busy limits in a remote store.
//! On the in-memory store it has no effect.
//!
//! - Prefetching never admits more requests: at most burst + limit tokens pass in any period, as
//!   without prefetching. A batch expires after the time in which its tokens refill (here 3
//!   seconds), and the bucket holds one batch less (here 950 tokens).
//! - A request can be rejected although another instance has unused tokens. `Remaining` is the
//!   store's number at the last call plus the tokens that this instance has prefetched.
//! - An instance that crashes loses its batch. The bucket refills by itself.
//! - The bucket must hold the tokens of two batches and one request. The limit must be a token
//!   bucket and the only limit of its endpoint. The record of an idempotency key is begun in a
//!   separate call.
//!
//! # Overrides by operators
//!
//! Operators can change a named limit in the environment, without a new build. If endpoints declare
//! `rate_limit("100/min", name = "payments")`, then
//!
//! ```text
//! APLOMB_LIMITS=payments=1000/min,login=5/min:burst=20
//! ```
//!
//! admits a thousand requests per minute. The rate has the same syntax as in the attribute. The
//! burst is
//!
//! 1. the value of `:burst=`, if present;
//! 2. else the declared burst, if it differs from the number of requests in the declared rate;
//! 3. else the number of requests in the new rate.
//!
//! The cost, `by` and the algorithm stay as declared. The service does not start if a name is not
//! declared by any endpoint or appears twice, if a rate is invalid, or if a burst is below the cost
//! of an endpoint.
//!
//! If a limit is changed, in the environment or in the code, it starts with full buckets. While
//! instances with the old and with the new limit run at the same time, each group counts in its own
//! buckets. Together they admit at most the sum of both limits.
//!
//! # Shadow limits
//!
//! `rate_limit("100/min", shadow)` counts requests and never rejects one. A request takes its
//! tokens as from any other limit. If the bucket has too few tokens, the request is admitted, takes
//! nothing from that bucket, and is logged. The first log line, of level info, is written
//! immediately. Further lines follow at most once per second for each limit of an endpoint. A line
//! has four fields: `requests`, the number of requests over the limit since the last line; the
//! endpoint; the limit; and `by`, the kind of the last request's bucket (caller, address, key or
//! everyone).
//!
//! Clients do not see a shadow limit: it affects neither the fields above nor `Retry-After`, and an
//! endpoint with only shadow limits sends no fields. If an enforced limit rejects the request, the
//! shadow limits take nothing and log nothing. If Redis has an unreadable value for the bucket
//! of a shadow limit, the bucket counts as empty and rejects no request. When `shadow` is removed,
//! the limit continues with the same buckets.
//!
//! If several endpoints name the same limit, it must be `shadow` in all of them or in none.
//! Otherwise the service does not start.
//!
//! # Clients behind proxies
//!
//! The client address counts for `by = ip`, for requests without a caller, and for failed
//! authentication. It is the peer's address, unless the peer is a trusted proxy.
//!
//! ```text
//! APLOMB_TRUSTED_PROXIES=10.0.0.0/8,192.0.2.7,2001:db8::/32
//! APLOMB_FORWARDED_FIELD=x-forwarded-for
//! ```
//!
//! These variables set the trusted proxies and the field in which they send the address of their
//! client. In code, [`Api::trusted_proxies`](crate::Api::trusted_proxies) and
//! [`Api::forwarded_field`](crate::Api::forwarded_field) set them. All lines of that field are read
//! as one list, from right to left, because the nearest proxy has appended the last entry. The
//! first address that is not trusted is the client. Entries further left can be made up by the
//! client, so they are not read.
//!
//! | content of the field | client address |
//! |---|---|
//! | the field is missing or empty | the peer's |
//! | only addresses of trusted proxies | the leftmost address |
//! | a hop that is invalid, `unknown` or obfuscated (`_x`), before the client is found | the peer's |
//! | more than 100 hops, or more than 8 KiB in all lines together | determined only by the hops within these bounds, counted from the right |
//!
//! Ports and zones are dropped. IPv4-mapped addresses count as IPv4. IPv6 addresses count by their
//! /64 network, which is usually assigned to one customer.
//!
//! **Only one field is read.** The default is `X-Forwarded-For`. To read `Forwarded` (RFC 7239)
//! instead, set `APLOMB_FORWARDED_FIELD=forwarded`. A proxy that writes one of these fields
//! forwards the other field unchanged, and a request does not show which field the proxy wrote.
//! Reading both would let clients choose their address. Set the field that your proxies write. If
//! they write only `Forwarded` and the setting is still `X-Forwarded-For`, clients can choose their
//! address.
//!
//! Other surprises:
//!
//! - Every proxy on the way must append to the field or replace it. A proxy that forwards the field
//!   unchanged lets clients choose their address.
//! - A client that reaches the service from a trusted address, but not through the proxy, can
//!   choose its address. Trust the proxies, not the whole network in which other hosts live. A
//!   network that contains every address (`/0`) is refused at start.
//! - Without trusted proxies, all clients behind a proxy share one bucket, the bucket of the
//!   proxy's address.
//! - A router that is served without the peer's address has one bucket for all clients. The first
//!   such request logs an error; see [`Api::into_router`](crate::Api::into_router).
//!
//! # Cached rejections
//!
//! When a remote store rejects a request, the instance caches the rejection for the time that the
//! store returned, up to one second. During that time, the instance rejects requests with the same
//! limits, the same callers or addresses and the same costs. It rejects them without a call to the
//! store, and before it reads their bodies. The fields and `Retry-After` have the values of the
//! store, reduced by the elapsed time. Admissions are never cached. Decisions that the instance
//! makes while the store is down are not cached either. An instance caches up to 4,096 rejections.
//! They take less than 700 KiB with two limits per endpoint.
//!
//! # While the store is slow or down
//!
//! The instance waits 250 ms for a reply of the store. Without a reply, it decides by itself, with
//! buckets in its own memory. These buckets have its share of the limit:
//!
//! - the rate divided by the number of instances, set by `APLOMB_INSTANCES` or
//!   [`Api::instances`](crate::Api::instances) (1 by default);
//! - the burst divided by that number and rounded up, and at least the cost of a request. If a
//!   function computes the cost, that minimum is the whole burst.
//!
//! After three failures in a row the instance does not call the store for one second. After that,
//! one request per second calls the store as a probe. The instance decides all other requests by
//! itself until a probe succeeds. The instance logs a line with the cause when it begins to decide
//! by itself, and another line when the store decides again.
//!
//! If the instance decides by itself, the response has none of the fields above, because the
//! numbers would be true for one instance only. A 429 still has `Retry-After`. If a bucket has
//! unreadable content, the request gets a 503 `STORE_UNAVAILABLE`.
//!
//! If one Redis stores the limits and the records, and the body is small, a request with an
//! idempotency key needs only one call to the store: the call checks the limits and begins the
//! record ([`AdmissionStore`](crate::store::AdmissionStore)). The instance waits one second for the
//! reply, as for any reply about a record. Without a reply, the request gets a 503 even if its
//! limits would admit it, because its run may have begun. A reply after more than 250 ms counts as
//! a failure of the store. After three failures in a row, and until a probe succeeds, the instance
//! decides the limits by itself, and begins the record in a separate call.
//!
//! `on_error = deny` forbids an instance to decide by itself. Use it if a limit must never be
//! exceeded, or if exceeding it costs more than an outage. A request that the store does not decide
//! gets a 503 `STORE_UNAVAILABLE` with `Retry-After`. While the store is not called, this response
//! is immediate. The handler does not run. If one enforced limit of an endpoint has
//! `on_error = deny`, this rule applies to all requests of the endpoint. If several endpoints name
//! the same limit, all of them or none must set `on_error = deny`. A `shadow` limit rejects
//! nothing, so it cannot set `on_error = deny`.
//!
//! ```
//! # use aplomb::endpoint;
//! #[endpoint(get = "/vouchers", rate_limit("100/day", by = route, on_error = deny))]
//! async fn vouchers() {}
//! ```
//!
//! For its own decisions, an instance stores up to 65,536 buckets in 1 MiB, and up to 640,000
//! tokens of sliding windows in 5 to 20 MiB.
//!
//! If the number of instances is set to 1 but several run, each of them admits the whole rate while
//! the store is down.
//!
//! ```
//! use core::time::Duration;
//! use aplomb::policies::rate_limit::{Bucket, BucketState, LimitRequest, LimitSubject, Quota};
//!
//! let quota = Quota::new(100, Duration::from_mins(1), 2).unwrap();
//! let request = LimitRequest::new(Bucket { limit: 1, subject: LimitSubject::Everyone }, quota);
//! // The bucket is full in 600 ms: one of its two tokens is left, and the request takes it.
//! assert_eq!(request.decide(BucketState::Ahead(600_000)).remaining, 0);
//! assert_eq!(request.decide(BucketState::Ahead(1_200_000)).wait, Some(Duration::from_millis(600)));
//! ```

mod auth_failures;
mod breaker;
mod client;
mod cost;
mod decide;
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

pub(crate) use auth_failures::AuthFailures;
pub(crate) use client::LimitClient;
pub use cost::Cost;
pub use decide::{BucketState, LimitStatus};
pub(crate) use instances::Instances;
pub use key::{LimitKey, LimitKeyType};
pub(crate) use limits::{Limits, invalid_limit};
pub(crate) use max_costs::MaxCosts;
pub(crate) use overrides::Overrides;
pub use quota::Quota;
#[cfg(any(test, fuzzing))]
pub(crate) use rate::Rate;
pub use spec::{Algorithm, LimitBy, OnError, RateLimitSpec};
pub(crate) use stage::{EndpointLimits, LimitResponseWriter, LimitStage, QueueDelay};
pub use store::{Acquired, Bucket, LimitRequest, LimitStore, LimitSubject};
