//! A response of an endpoint before it is settled and finalized.

use axum::response::{IntoResponse, Response};

use super::document::Problem;

/// A response, and who made it.
#[derive(Debug)]
pub struct EndpointResponse {
    /// The response as the handler, an extractor or a stage made it.
    pub response: Response,
    /// Whether the handler ran.
    pub origin: ResponseOrigin,
}

impl EndpointResponse {
    /// The answer to a request that was refused before its handler began.
    pub(crate) fn refused(problem: Problem) -> Self {
        Self {
            response: problem.into_response(),
            origin: ResponseOrigin::Refused,
        }
    }

    /// The answer in place of a handler that began and gave none.
    pub(crate) fn failed(problem: Problem) -> Self {
        Self {
            response: problem.into_response(),
            origin: ResponseOrigin::Handler,
        }
    }
}

/// The part of an endpoint that made a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseOrigin {
    /// A stage or an extractor refused the request: the handler never began.
    Refused,
    /// The handler began.
    Handler,
}
