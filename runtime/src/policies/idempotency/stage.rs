use std::sync::Arc;

use http::HeaderMap;

use super::key;
use super::run::EndpointRuns;
use super::run_bounds::RunBounds;
use super::spec::{IdempotencyPolicy, IdempotencySpec};
use crate::problem::Problem;
use crate::request::{Caller, IncomingRequest, RequestInfo, RequestState, Stage, StageResult};

/// A stage that reads the idempotency key of a request.
///
/// The record itself is begun at admission, together with the rate limits.
#[derive(Debug)]
pub(crate) struct KeyStage(IdempotencySpec);

impl KeyStage {
    /// Creates the stage. Returns `None` if the endpoint does not declare `idempotent`.
    pub(crate) fn new(policy: IdempotencyPolicy) -> Option<Self> {
        policy.spec().map(Self)
    }

    /// Returns the key if the endpoint accepts it from this caller.
    fn accepted_key(
        &self,
        headers: &HeaderMap,
        caller: Option<&Caller>,
    ) -> Result<Option<String>, Problem> {
        let spec = &self.0;
        match key::key_from_headers(headers)? {
            None if spec.optional => Ok(None),
            None => Err(key::missing_key(spec.ttl)),
            Some(_) if caller.is_none() && !spec.anonymous => Err(key::key_without_caller()),
            Some(key) if caller.is_none() => key::check_anonymous_key(&key).map(|()| Some(key)),
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
        match self.accepted_key(&request.head().headers, caller.as_ref()) {
            Ok(accepted) => {
                *key = accepted.map(Arc::from);
                StageResult::PASS
            }
            Err(problem) => StageResult::Ready(Err(problem)),
        }
    }
}

/// A stage that refuses a request with a key if its run would exceed a bound of runs.
///
/// The stage takes no permit: the request may still wait for its body, and a client that sends
/// slowly must not use up the permits. The permit is taken at admission.
#[derive(Debug)]
pub(crate) struct RunBoundsStage(Arc<RunBounds>);

impl RunBoundsStage {
    /// Creates the stage. Returns `None` if the endpoint has no runs.
    pub(crate) fn new(runs: Option<&Arc<EndpointRuns>>) -> Option<Self> {
        runs.map(|runs| Self(Arc::clone(runs.bounds())))
    }
}

impl Stage for RunBoundsStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        let RequestInfo { caller, key, .. } = &state.info;
        if key.is_none() {
            return StageResult::PASS;
        }
        StageResult::Ready(self.0.check(caller.as_ref(), request.head()))
    }
}
