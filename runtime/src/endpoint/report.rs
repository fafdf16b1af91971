//! The constructors of problems that `#[derive(ApiError)]` calls.

use crate::problem::{ApiError, FieldError, Location, Problem, ProblemSpec};

/// Makes a 4xx problem. Its `detail` is the text of the error.
pub fn client_problem<E: ApiError>(spec: &ProblemSpec, error: &E) -> Problem {
    Problem::new(spec).with_detail(error.to_string())
}

/// Makes a 5xx problem. The error and its sources go to the log, not to the client.
pub fn server_problem<E: ApiError>(spec: &ProblemSpec, error: &E) -> Problem {
    Problem::new(spec).with_cause(error)
}

/// Makes a problem about one member of the body. The text of the error is the `detail` of the
/// problem. It is also the detail of the entry in `errors`, which has the pointer.
pub fn field_problem<E: ApiError>(
    spec: &ProblemSpec,
    error: &E,
    pointer: &'static str,
    code: &'static str,
) -> Problem {
    let detail = error.to_string();
    let field_error = FieldError::new(Location::Pointer(pointer.into()), code, detail.clone());
    Problem::new(spec)
        .with_detail(detail)
        .with_error(field_error)
}
