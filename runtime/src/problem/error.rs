//! The trait for errors that can become problems.

use axum::response::{IntoResponse, Response};

use super::document::Problem;
use super::kinds::ProblemKinds;

/// An error that can become a problem document. Derive this trait:
///
/// ```
/// use aplomb::ApiError;
///
/// #[derive(Debug, thiserror::Error, ApiError)]
/// enum PaymentError {
///     #[error("balance too low")]
///     #[problem(conflict, code = "INSUFFICIENT_FUNDS")]
///     InsufficientFunds,
///     #[error("the card network did not answer")]
///     #[problem(dependency, retry_after = "2s", effects = none)]
///     Network(#[source] std::io::Error),
/// }
///
/// let problem = aplomb::problem::Problem::from(PaymentError::InsufficientFunds);
/// assert_eq!((problem.status().as_u16(), problem.code()), (409, "INSUFFICIENT_FUNDS"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `ApiError`",
    label = "not an `ApiError`: write `.map_err(Problem::internal)`, or derive `ApiError` for an error that has it as its `#[source]`",
    note = "an error that derives `ApiError` stores any other error as its `#[source]`, with a kind such as `#[problem(internal)]`"
)]
pub trait ApiError: std::error::Error + Send + Sync + 'static {
    /// Returns the problem that the client gets.
    fn problem(&self) -> Problem;

    /// Adds the kinds of problems that this error can become. The derived implementation adds all
    /// of them. A manual implementation may add none, but then the start-up check does not see its
    /// codes.
    fn kinds(kinds: &mut ProblemKinds)
    where
        Self: Sized,
    {
        let _ = kinds;
    }
}

impl<E: ApiError> ApiError for Box<E> {
    fn problem(&self) -> Problem {
        E::problem(self)
    }

    fn kinds(kinds: &mut ProblemKinds) {
        kinds.include::<E>();
    }
}

impl<E: ApiError> From<E> for Problem {
    fn from(error: E) -> Self {
        error.problem()
    }
}

/// Returns the response of an [`ApiError`]. The derived `IntoResponse` calls this function.
#[doc(hidden)]
pub fn error_response<E: ApiError>(error: &E) -> Response {
    error.problem().into_response()
}
