//! The end of an endpoint: `deprecated`, `sunset` and `successor`.
//!
//! ```
//! use aplomb::prelude::*;
//!
//! /// Reads the balance as a number.
//! #[endpoint(
//!     get = "/accounts/{id}",
//!     version = 1,
//!     deprecated("2026-06-30", info = "https://api.example/changes/v2"),
//!     sunset("2026-12-31", enforce),
//!     successor = get_account_v2
//! )]
//! async fn get_account(Path(id): Path<u64>) -> Json<u64> {
//!     Json(id * 100)
//! }
//!
//! /// Reads the balance with its currency.
//! #[endpoint(get = "/accounts/{id}", version = 2)]
//! async fn get_account_v2(Path(id): Path<u64>) -> String {
//!     format!("{} EUR", id * 100)
//! }
//!
//! let api: Api<()> = Api::new("accounts", routes![get_account, get_account_v2]).without_auth();
//! let calls = api.deprecated_calls();
//! assert_eq!(calls.snapshot()[0].route, "/v1/accounts/{id}");
//! assert_eq!(calls.snapshot()[0].calls, 0);
//! ```
//!
//! # What clients see
//!
//! Every response of the endpoint, whoever made it, has
//!
//! | field | | of |
//! |---|---|---|
//! | `Deprecation: @1782777600` | the beginning of the day of `deprecated`, which may lie in the future | RFC 9745 |
//! | `Sunset: Thu, 31 Dec 2026 23:59:59 GMT` | the end of the day of `sunset` | RFC 8594 |
//! | `Link: <…>; rel="deprecation"`, `rel="sunset"` | a page for humans: that of `info`, else of [`Api::deprecation_info`](crate::Api::deprecation_info), where there is one | the same |
//! | `Link: </v2/accounts/7>; rel="successor-version"` | the same thing in the successor: with the request's own path parameters, below the prefix of an outer router | RFC 5829 |
//!
//! beside the `Link` fields that the response has anyway. Nothing else changes before the sunset, nor after it, but where
//! it says `enforce`: then requests are a 410 `VERSION_GONE`, whose link leads to the successor. That is decided
//! before anything else, authentication included: what is gone is gone for everybody, and no limit, no store and no
//! handler is asked.
//!
//! # What operators see
//!
//! [`Api::deprecated_calls`](crate::Api::deprecated_calls) counts the calls of each such endpoint and version, and those
//! after its sunset. The log is told of the first call of each from the day of its deprecation on, and then at most once
//! a minute of how many more there were, with the caller of the last.
//!
//! # What surprises
//!
//! - `sunset` without `deprecated` is an endpoint that is deprecated since ever; it tells no `Deprecation`.
//! - The successor is an endpoint of the same [`routes!`](crate::routes), answers the same method, has no path parameter that the
//!   deprecated one has not, and has a later sunset, if any: else the list does not compile.
//! - Days are in UTC, by the clock of the process, or of [`Api::clock`](crate::Api::clock).

mod calls;
mod date;
mod decide;
mod fields;
mod link;
mod spec;
mod stage;

pub use calls::{CallCount, DeprecatedCalls};
pub use date::Date;
#[doc(hidden)]
pub use date::date;
pub use decide::Phase;
pub use spec::DeprecationSpec;
pub(crate) use stage::{Deprecation, DeprecationStage};
