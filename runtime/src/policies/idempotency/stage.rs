use std::sync::Arc;

use http::HeaderMap;

use super::key;
use super::spec::{IdempotencyPolicy, IdempotencySpec};
use crate::problem::Problem;
use crate::request::{Caller, IncomingRequest, RequestInfo, RequestState, Stage, StageResult};

/// Reads the idempotency key of a request. The record itself is begun at admission.
#[derive(Debug)]
pub(crate) struct KeyStage(IdempotencySpec);

impl KeyStage {
    /// The stage of an endpoint that declares `idempotent`.
    pub(crate) fn new(policy: IdempotencyPolicy) -> Option<Self> {
        policy.spec().map(Self)
    }

    fn key(&self, headers: &HeaderMap, caller: Option<&Caller>) -> Result<Option<String>, Problem> {
        let spec = &self.0;
        match key::key_of(headers)? {
            None if spec.optional => Ok(None),
            None => Err(key::missing(spec.ttl)),
            Some(_) if caller.is_none() && !spec.anonymous => Err(key::without_caller()),
            Some(key) if caller.is_none() => key::check_anonymous(&key).map(|()| Some(key)),
            Some(key) => Ok(Some(key)),
        }
    }
}

impl Stage for KeyStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let RequestInfo { caller, key, .. } = &mut state.info;
        match self.key(&request.head().headers, caller.as_ref()) {
            Ok(found) => {
                *key = found.map(Arc::from);
                StageResult::PASS
            }
            Err(problem) => StageResult::Ready(Err(problem)),
        }
    }
}
