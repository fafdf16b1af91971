use axum::response::{IntoResponse, Response};

use super::document::Problem;

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
pub trait ApiError: std::error::Error + Send + Sync + 'static {
    /// The problem that a client is told.
    fn problem(&self) -> Problem;
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
