//! What `#[derive(ApiError)]` makes its problems with.

use crate::problem::{ApiError, FieldError, Location, Problem, ProblemSpec};

/// A 4xx: the error's own text is told to the client.
pub fn client_problem<E: ApiError>(spec: &ProblemSpec, error: &E) -> Problem {
    Problem::new(spec).with_detail(error.to_string())
}

/// A 5xx: the error and its sources are kept for the log.
pub fn server_problem<E: ApiError>(spec: &ProblemSpec, error: &E) -> Problem {
    Problem::new(spec).with_cause(error)
}

/// A mistake in one member of the body: the error's own text is told at the pointer.
pub fn field_problem<E: ApiError>(
    spec: &ProblemSpec,
    error: &E,
    pointer: &'static str,
    code: &'static str,
) -> Problem {
    let detail = error.to_string();
    let mistake = FieldError::new(Location::Pointer(pointer.into()), code, detail.clone());
    Problem::new(spec).with_detail(detail).with_error(mistake)
}
