//! Reading a request's body, with the problem that each way of failing is.

use axum::body::HttpBody as Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError};

use crate::policies::body_limit::Stalled;
use crate::problem::{Problem, registry};

/// Reads the whole body.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, Problem>
where
    B: Body<Error = axum::Error>,
{
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(failure(&error)),
    }
}

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
