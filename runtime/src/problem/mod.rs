//! Errors that tell the truth: RFC 9457 problem documents for every 4xx and 5xx.
//!
//! A problem says what went wrong (`code`, `title`, `detail`), what kind of mistake it is
//! (`category`) and whether sending the same request again can help (`retryable`): it cannot where the
//! answer is kept under the request's idempotency key. The document of a 5xx is constant: what happened goes to
//! the log, under the `request_id` that the client sees.
//!
//! ```
//! use aplomb::problem::{Category, Problem, ProblemSpec, registry};
//!
//! const CLOSED: ProblemSpec = ProblemSpec::new(Category::Conflict, "ACCOUNT_CLOSED", "Account closed");
//!
//! fn withdraw(open: bool, balance: &str) -> Result<i64, Problem> {
//!     if !open {
//!         return Err(Problem::new(&CLOSED).with_detail("it was closed in May").with_extension("year", 2026));
//!     }
//!     balance.parse().map_err(Problem::internal)
//! }
//!
//! assert_eq!(withdraw(false, "7").unwrap_err().code(), "ACCOUNT_CLOSED");
//! let mistake = withdraw(true, "seven").unwrap_err();
//! assert_eq!((mistake.spec(), mistake.cause()), (&registry::INTERNAL, Some("invalid digit found in string")));
//! ```
//!
//! What surprises:
//!
//! - A code that endpoints declare as two kinds keeps the API from starting ([`ProblemKinds`]).
//! - A status that a handler sets over a problem counts, and the category follows it; a 5xx set over a 4xx hides code
//!   and title, too.
//! - A body that the handler typed itself is left alone, and one that is streamed cannot become a problem later.

pub(crate) mod answer;
mod category;
mod document;
mod error;
mod field;
mod kinds;
#[cfg(test)]
mod pages;
pub mod registry;
mod rejection;
mod spec;

pub(crate) use answer::{EndpointResponse, ResponseOrigin};
pub use category::Category;
#[cfg(test)]
pub(crate) use document::RESERVED_MEMBERS;
pub use document::{PROBLEM_JSON, Problem};
pub(crate) use document::{ProblemContext, Retry, TYPE_BASE, seconds_up, whole_seconds};
pub use error::{ApiError, error_response};
pub use field::{FieldError, Location};
pub use kinds::{ProblemKind, ProblemKinds, ProblemsProbe};
pub(crate) use rejection::rewrite;
pub use spec::{Effects, ProblemSpec};
