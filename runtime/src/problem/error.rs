use axum::response::{IntoResponse, Response};

use super::document::Problem;
use super::kinds::ProblemKinds;

/// An error that knows which problem it is. Derive it:
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
    label = "not an `ApiError`: write `.map_err(Problem::internal)`, or derive `ApiError` for an error that holds it",
    note = "an error that derives `ApiError` holds other errors as its `#[source]`"
)]
pub trait ApiError: std::error::Error + Send + Sync + 'static {
    /// The problem that a client is told.
    fn problem(&self) -> Problem;

    /// Adds the kinds of problems that it can be. The derive says them all; an implementation by hand that says none
    /// is not looked at when the API starts, and not described.
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

/// The response of an [`ApiError`]: what its derive implements `IntoResponse` with.
#[doc(hidden)]
pub fn error_response<E: ApiError>(error: &E) -> Response {
    error.problem().into_response()
}
