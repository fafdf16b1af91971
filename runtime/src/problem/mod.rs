//! Errors that tell the truth: RFC 9457 problem documents for every 4xx and 5xx.
//!
//! A problem says what went wrong (`code`, `title`, `detail`), what kind of mistake it is
//! (`category`) and whether sending the same request again can help (`retryable`): it cannot where the
//! answer is kept under the request's idempotency key. The detail of a 5xx is constant: what happened goes to the log, under the `request_id` that the client sees.

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

pub use category::Category;
pub(crate) use document::{Occasion, Repeat, TYPE_BASE, seconds_up, whole_seconds};
pub use document::{PROBLEM_JSON, Problem};
pub use error::{ApiError, error_response};
pub use field::{FieldError, Location};
pub use kinds::{ProblemKind, ProblemKinds, ProblemsProbe};
pub(crate) use rejection::rewrite;
pub use spec::{Effects, ProblemSpec};
