use crate::request::{BodyArgument, BodyRules, IncomingRequest, RequestState, Stage, StageResult};

/// A stage that reads a small body before the rate limits are checked and before the record of an
/// idempotency key is begun.
///
/// A client that sends its body too slowly or disconnects is rejected before it has used up tokens
/// or begun a record. Larger bodies are read after the rate limits are checked. So a client that
/// has exceeded its limits cannot make the server read large bodies.
#[derive(Debug)]
pub(crate) struct BodyStage {
    rules: BodyRules,
}

impl BodyStage {
    pub(crate) const fn new(rules: BodyRules) -> Self {
        Self { rules }
    }
}

impl Stage for BodyStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        // With an idempotency key, the fingerprint covers the body even if the handler does not
        // read the body.
        if self.rules.argument == BodyArgument::Unread && state.info.key.is_none() {
            return StageResult::PASS;
        }
        if let Err(problem) = request.check_body(&self.rules) {
            return StageResult::Ready(Err(problem));
        }
        if !request.has_small_body() || !request.has_body() {
            return StageResult::PASS;
        }
        let body = &state.body;
        StageResult::Waiting(Box::pin(
            async move { request.read(&self.rules, body).await },
        ))
    }
}
