//! Deprecated endpoints: `deprecated`, `sunset` and `successor`.
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
//! Every response of the endpoint has these fields, including error responses:
//!
//! | field | value | defined in |
//! |---|---|---|
//! | `Deprecation: @1782777600` | the start of the day of `deprecated`, which may be in the future | RFC 9745 |
//! | `Sunset: Thu, 31 Dec 2026 23:59:59 GMT` | the end of the day of `sunset` | RFC 8594 |
//! | `Link: <…>; rel="deprecation"`, `rel="sunset"` | a page for humans: the page in `info`, or else the page of [`Api::deprecation_info`](crate::Api::deprecation_info), if it is set | RFC 9745, RFC 8594 |
//! | `Link: </v2/accounts/7>; rel="successor-version"` | the same resource in the successor, with the path parameters of the request and the prefix of an outer router | RFC 5829 |
//!
//! Other `Link` fields of the response are kept. The endpoint works as before, even after its
//! sunset. With `enforce`, requests after the sunset get a 410 `VERSION_GONE` with a link to the
//! successor. The 410 comes before authentication and all other policies: every client gets it, and
//! no limit, store or handler is called.
//!
//! # What operators see
//!
//! [`Api::deprecated_calls`](crate::Api::deprecated_calls) counts the calls of each deprecated
//! endpoint and version, and separately the calls after its sunset. From the day of its deprecation
//! on, calls of an endpoint are logged: the first call immediately, and then at most one line per
//! minute. A line has the number of calls since the last line, and the caller of the last call.
//!
//! # What surprises
//!
//! - `sunset` without `deprecated` means that the endpoint is already deprecated. Its responses
//!   then have no `Deprecation` field.
//! - The successor is an endpoint of the same [`routes!`](crate::routes) list with the same method.
//!   The deprecated endpoint must have all path parameters of its successor. If both have a sunset,
//!   the sunset of the successor must be later. Otherwise the list does not compile.
//! - Days are in UTC, by the clock of the process or of [`Api::clock`](crate::Api::clock).

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
