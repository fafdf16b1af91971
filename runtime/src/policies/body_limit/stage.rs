use crate::request::{IncomingRequest, RequestState, Stage, StageResult};

/// Reads a small body before a store is asked, on an endpoint that asks one.
///
/// A client that sends its body slowly, or breaks off, is so refused before it has used up a limit or
/// begun a record. Longer bodies are read after the limits, because a client over its limits may not
/// make the server read them.
#[derive(Debug)]
pub(crate) struct BodyStage {
    limit: u64,
    reads_body: bool,
}

impl BodyStage {
    pub(crate) const fn new(limit: u64, reads_body: bool) -> Self {
        Self { limit, reads_body }
    }
}

impl Stage for BodyStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        // The fingerprint of a key covers the body, whether the handler reads it or not.
        if !self.reads_body && state.info.key.is_none() {
            return StageResult::PASS;
        }
        if let Err(problem) = request.check_length(self.limit) {
            return StageResult::Ready(Err(problem));
        }
        if !request.has_small_body() || !request.has_body() {
            return StageResult::PASS;
        }
        let body = &state.body;
        StageResult::Waiting(Box::pin(
            async move { request.read(self.limit, body).await },
        ))
    }
}
