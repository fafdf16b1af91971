//! Reading a request's body, with the problem that each way of failing is.

use core::fmt;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError};

use crate::problem::{Problem, registry};

/// Reads the whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, Problem> {
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(failure(&error)),
    }
}

/// A body of which nothing more came.
#[derive(Debug)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body stopped coming")
    }
}

impl std::error::Error for Stalled {}

/// The problem that a failure to read is.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Problem::new(&registry::BODY_TOO_LARGE);
        }
        if error.is::<Stalled>() {
            return Problem::new(&registry::REQUEST_TIMEOUT);
        }
        cause = error.source();
    }
    Problem::new(&registry::BODY_INCOMPLETE)
        .with_detail("the body ended early, or its framing is wrong")
        .with_cause(error)
}
