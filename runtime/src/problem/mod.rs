//! RFC 9457 problem documents: the body of every 4xx and 5xx response.
//!
//! A document describes the error (`code`, `title`, `detail`), its kind (`category`), and whether
//! the same request may succeed when it is sent again (`retryable`). A response that is stored
//! under an idempotency key is never retryable, because a retry gets the same response. The
//! document of a 5xx is constant. Its cause is written to the log, under the `request_id` that the
//! client sees.
//!
//! ```
//! use aplomb::problem::{Category, Problem, ProblemSpec, registry};
//!
//! const CLOSED: ProblemSpec =
//!     ProblemSpec::new(Category::Conflict, "ACCOUNT_CLOSED", "Account closed");
//!
//! fn withdraw(open: bool, balance: &str) -> Result<i64, Problem> {
//!     if !open {
//!         let problem = Problem::new(&CLOSED).with_detail("the account was closed in May");
//!         return Err(problem.with_extension("year", 2026));
//!     }
//!     balance.parse().map_err(Problem::internal)
//! }
//!
//! assert_eq!(withdraw(false, "7").unwrap_err().code(), "ACCOUNT_CLOSED");
//! let problem = withdraw(true, "seven").unwrap_err();
//! assert_eq!(problem.spec(), &registry::INTERNAL);
//! assert_eq!(problem.cause(), Some("invalid digit found in string"));
//! ```
//!
//! Surprises:
//!
//! - The API does not start if its endpoints declare one code with two different categories,
//!   statuses or titles ([`ProblemKinds`]).
//! - A handler may return a problem with another status, such as `(StatusCode::GONE, problem)`. The
//!   document then has this status and the category of this status. If a 5xx replaces a 4xx, the
//!   document also loses its code and title.
//! - An error response whose body the handler wrote itself is not changed. A stream that fails
//!   after the response has begun cannot become a problem document.

mod category;
mod document;
pub(crate) mod endpoint_response;
mod error;
mod field;
mod kinds;
#[cfg(test)]
mod pages;
pub mod registry;
mod rejection;
mod spec;

pub use category::Category;
#[cfg(test)]
pub(crate) use document::RESERVED_MEMBERS;
pub use document::{PROBLEM_JSON, Problem};
pub(crate) use document::{ProblemContext, Retry, TYPE_BASE, seconds_rounded_up, whole_seconds};
pub(crate) use endpoint_response::{EndpointResponse, ResponseOrigin};
pub use error::{ApiError, error_response};
pub use field::{FieldError, Location};
pub use kinds::{ProblemKind, ProblemKinds};
pub(crate) use rejection::take_problem;
pub use spec::{Effects, ProblemSpec};
