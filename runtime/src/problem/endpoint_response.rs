//! The response of an endpoint before it is settled and finalized.

use axum::response::{IntoResponse, Response};

use super::document::Problem;

/// A response, together with the part of the endpoint that made it.
#[derive(Debug)]
pub struct EndpointResponse {
    /// The response as the handler, an extractor or a stage made it.
    pub response: Response,
    /// The part of the endpoint that made the response.
    pub origin: ResponseOrigin,
}

impl EndpointResponse {
    /// Returns the response to a request that was refused before its handler began.
    pub(crate) fn refused(problem: Problem) -> Self {
        Self {
            response: problem.into_response(),
            origin: ResponseOrigin::Refused,
        }
    }

    /// Returns the response for a handler that began, but returned no response.
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
    /// A stage or an extractor, which refused the request before the handler began.
    Refused,
    /// The handler, or the pipeline after the handler began.
    Handler,
}
