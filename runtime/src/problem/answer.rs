//! A response of an endpoint with who made it, while it is not settled and written yet.

use axum::response::{IntoResponse, Response};

use super::document::Problem;

/// What came back from an endpoint, and from how far inside.
#[derive(Debug)]
pub struct Answer {
    /// The response as the handler or the extractor made it.
    pub response: Response,
    /// Whether the handler ran.
    pub origin: Origin,
}

impl Answer {
    /// A request that the pipeline refused.
    pub(crate) fn refused(problem: Problem) -> Self {
        Self { response: problem.into_response(), origin: Origin::Refused }
    }

    /// A handler that came to no answer of its own.
    pub(crate) fn failed(problem: Problem) -> Self {
        Self { response: problem.into_response(), origin: Origin::Handler }
    }
}

/// Who made a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An extractor refused the request: the handler never began.
    Refused,
    /// The handler ran to its end.
    Handler,
}
