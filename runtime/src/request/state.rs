use std::sync::Arc;

use tokio::time::Instant;

use super::body::BodyReadState;
use super::caller::Caller;
use super::id::RequestId;
use super::stage::ResponseWriters;

/// What is known of one request, apart from its head and body.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) id: RequestId,
    /// When the response is due.
    pub(crate) due: Instant,
    /// The authenticated caller. `None` before the stage of authentication, and for anonymous requests.
    pub(crate) caller: Option<Caller>,
    /// The idempotency key. A request that has one runs to its end, whatever its client does.
    pub(crate) key: Option<Arc<str>>,
}

/// One request on its way through the stages.
#[derive(Debug)]
pub(crate) struct RequestState {
    pub(crate) info: RequestInfo,
    /// What the stages left behind for the response.
    pub(crate) writers: ResponseWriters,
    /// How far the body has been read.
    pub(crate) body: BodyReadState,
}
