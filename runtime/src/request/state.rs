//! The state of one request between the stages of its endpoint.

use std::sync::Arc;

use tokio::time::Instant;

use super::body::BodyReadState;
use super::caller::Caller;
use super::id::RequestId;
use super::stage::ResponseWriters;

/// The data of one request, apart from its head and body.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) id: RequestId,
    /// The response deadline.
    pub(crate) due: Instant,
    /// The authenticated caller. `None` before the authentication stage, and for anonymous
    /// requests.
    pub(crate) caller: Option<Caller>,
    /// The idempotency key. A request with a key runs to its end, even if the client hangs up.
    pub(crate) key: Option<Arc<str>>,
}

/// The state of one request between the stages.
#[derive(Debug)]
pub(crate) struct RequestState {
    pub(crate) info: RequestInfo,
    /// The writers that the stages added for the response.
    pub(crate) writers: ResponseWriters,
    /// The progress of reading the body.
    pub(crate) body: BodyReadState,
}
