//! Limits and the record of a key, together: the one place that knows both, because they share a
//! trip to the store.

use std::sync::Arc;

use super::mount::Mount;
use crate::policies::idempotency::{ActiveRun, BeginOutcome, EndpointRuns, PendingRun};
use crate::policies::rate_limit::{LimitResponseWriter, QueueDelay};
use crate::problem::Problem;
use crate::request::{EndpointResponse, IncomingRequest, RequestInfo, RequestState};
use crate::store::{Admission as Admitted, AdmissionStore, StoreError};

/// Admission to one mounted endpoint.
#[derive(Debug)]
pub(super) struct Admission {
    body_limit: u64,
    runs: Option<Arc<EndpointRuns>>,
    /// Asked for both at once, where the endpoint has limits and keys.
    store: Option<Arc<dyn AdmissionStore>>,
}

impl Admission {
    /// The admission to an endpoint that has limits or keys.
    pub(super) fn new(mount: &Mount) -> Option<Self> {
        let Mount {
            limits,
            runs,
            body_limit,
            shared,
            ..
        } = mount;
        let store = shared
            .admission
            .clone()
            .filter(|_| limits.is_some() && runs.is_some());
        mount.asks_a_store().then(|| Self {
            body_limit: *body_limit,
            runs: runs.clone(),
            store,
        })
    }

    /// Asks the limits of a request without a key, if that takes no waiting. `None` leaves it to
    /// [`enter`](Self::enter).
    pub(super) fn try_enter(&self, state: &RequestState) -> Option<Result<QueueDelay, Problem>> {
        if self.runs.is_some() && state.info.key.is_some() {
            return None;
        }
        match state.writers.get::<LimitResponseWriter>() {
            Some(limits) => limits.acquire_in_process(&state.info),
            None => Some(Ok(QueueDelay::default())),
        }
    }

    /// Asks the limits of a request without a key, and waits for its turn. A request with a key gets
    /// what its run begins with: that is asked for by the run itself, which outlives its client.
    pub(super) async fn enter(
        &self,
        state: &mut RequestState,
        request: &mut IncomingRequest,
    ) -> Result<Option<KeyedAdmission>, Problem> {
        let limits = state.writers.share::<LimitResponseWriter>();
        let (Some(runs), Some(key)) = (&self.runs, &state.info.key) else {
            if let Some(limits) = limits {
                limits.acquire(&state.info).await?.wait().await;
            }
            return Ok(None);
        };
        let mut asked = None;
        if request.has_body() {
            // A client over its limits may not make the server read a large body.
            if let Some(limits) = &limits {
                asked = Some(limits.acquire(&state.info).await?);
            }
            request.read(self.body_limit, &state.body).await?;
        }
        let run = runs.pending(
            key,
            state.info.caller.as_ref(),
            request.head(),
            &request.bytes(),
        );
        Ok(Some(KeyedAdmission {
            run,
            limits,
            asked,
            store: self.store.clone(),
        }))
    }
}

/// What a run under a key begins with.
#[derive(Debug)]
pub(super) struct KeyedAdmission {
    run: PendingRun,
    limits: Option<Arc<LimitResponseWriter>>,
    /// What the limits said, if they were asked before the body was read.
    asked: Option<QueueDelay>,
    store: Option<Arc<dyn AdmissionStore>>,
}

impl KeyedAdmission {
    /// Asks the limits, takes the record, and waits for the run's turn. Refused limits begin nothing.
    pub(super) async fn begin(self, info: &RequestInfo) -> Result<ActiveRun, EndpointResponse> {
        let (turn, found) = self.ask(info).await.map_err(EndpointResponse::refused)?;
        let begun = match found {
            Some(found) => self.run.activate(found),
            None => self.run.begin().await,
        };
        // The record is there while the run waits, so that a retry meets it and waits for nothing.
        turn.wait().await;
        begun
    }

    /// Asks the limits, and for the record in the same trip where the store can: what that found, or
    /// `None` where the record is still to be asked for.
    async fn ask(
        &self,
        info: &RequestInfo,
    ) -> Result<(QueueDelay, Option<Result<BeginOutcome, StoreError>>), Problem> {
        let limits = match (&self.limits, self.asked) {
            (Some(limits), None) => limits,
            (_, asked) => return Ok((asked.unwrap_or_default(), None)),
        };
        let claims = limits.requests(info);
        let joins = |store: &&Arc<dyn AdmissionStore>| {
            // Prefetched tokens cost no trip.
            limits.limits().prefetch().is_none() && store.joins(&claims, self.run.request())
        };
        let Some(store) = self.store.as_ref().filter(joins) else {
            return Ok((limits.acquire(info).await?, None));
        };
        let call = async {
            Ok(match store.admit(&claims, self.run.request()).await? {
                Admitted::Refused(acquired) => (acquired, None),
                Admitted::Admitted(acquired, begun) => (acquired, Some(begun)),
            })
        };
        match limits
            .client()
            .acquire_with(&claims, limits.limits().on_error(), call)
            .await
        {
            Ok((decided, begun)) => Ok((limits.apply(&claims, decided)?, begun.map(Ok))),
            Err(error) => Ok((QueueDelay::default(), Some(Err(error)))),
        }
    }
}
