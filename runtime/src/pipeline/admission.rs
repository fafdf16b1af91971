//! Admission: takes the tokens of rate limits and begins the record of an idempotency key. Both are
//! in one module, because one call to the store can do both.

use std::sync::Arc;

use tokio::time::Instant;

use super::mount::Mount;
use crate::policies::idempotency::{ActiveRun, BeginOutcome, EndpointRuns, PendingRun};
use crate::policies::rate_limit::{LimitResponseWriter, QueueDelay};
use crate::problem::Problem;
use crate::request::{BodyRules, EndpointResponse, IncomingRequest, RequestInfo, RequestState};
use crate::store::{Admission as StoreAdmission, AdmissionStore, StoreError};

/// The admission to one mounted endpoint.
#[derive(Debug)]
pub(super) struct Admission {
    body: BodyRules,
    runs: Option<Arc<EndpointRuns>>,
    /// A store that checks the limits and begins the record in one call. `None` if the endpoint has
    /// only limits or only keys, or if no store can do both.
    store: Option<Arc<dyn AdmissionStore>>,
}

impl Admission {
    /// Returns the admission to an endpoint that has limits or idempotency keys.
    pub(super) fn new(mount: &Mount) -> Option<Self> {
        let Mount {
            limits,
            runs,
            body,
            shared,
            ..
        } = mount;
        let store = shared
            .admission
            .clone()
            .filter(|_| limits.is_some() && runs.is_some());
        mount.uses_store().then(|| Self {
            body: body.clone(),
            runs: runs.clone(),
            store,
        })
    }

    /// Takes the tokens of a request without a key, if this needs no waiting. Returns `None` if
    /// [`enter`](Self::enter) has to take the tokens.
    pub(super) fn try_enter(&self, state: &RequestState) -> Option<Result<QueueDelay, Problem>> {
        if self.runs.is_some() && state.info.key.is_some() {
            return None;
        }
        match state.writers.get::<LimitResponseWriter>() {
            Some(limits) => limits.acquire_in_process(&state.info),
            None => Some(Ok(QueueDelay::default())),
        }
    }

    /// Takes the tokens of a request without a key, and waits for its queue delay.
    ///
    /// For a request with a key, this only prepares the run. The run itself takes the tokens and
    /// begins the record, because it continues if the client disconnects.
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
        let caller = state.info.caller.as_ref();
        let (mut permit, mut acquired) = (None, None);
        if request.has_body() {
            // Takes the tokens before the body is read: a client over its limits must not make the
            // service read a large body. The body stage has already read a small body.
            //
            // Tokens cannot be given back to a store. So the permit is taken before the tokens, and
            // a request that has taken tokens is not refused for want of a permit. The upload then
            // holds the permit, but only until the response deadline, and only for a request within
            // its limits.
            if let Some(limits) = &limits {
                permit = Some(runs.bounds().acquire(caller, request.head())?);
                acquired = Some(limits.acquire(&state.info).await?);
            }
            request.read(&self.body, &state.body).await?;
        }
        let permit = match permit {
            Some(permit) => permit,
            None => runs.bounds().acquire(caller, request.head())?,
        };
        let run = runs.pending(key, caller, request.head(), &request.bytes(), permit);
        Ok(Some(KeyedAdmission {
            run,
            limits,
            acquired,
            store: self.store.clone(),
        }))
    }
}

/// The admission of a request with a key, before its run begins.
#[derive(Debug)]
pub(super) struct KeyedAdmission {
    run: PendingRun,
    limits: Option<Arc<LimitResponseWriter>>,
    /// The queue delay, if the tokens were taken before the body was read.
    acquired: Option<QueueDelay>,
    store: Option<Arc<dyn AdmissionStore>>,
}

impl KeyedAdmission {
    /// Takes the tokens, begins the record, and then waits for the queue delay. If a limit refuses
    /// the request, no record begins.
    pub(super) async fn begin(self, info: &RequestInfo) -> Result<ActiveRun, EndpointResponse> {
        let asked_at = Instant::now();
        let (delay, begun) = self
            .acquire(info)
            .await
            .map_err(EndpointResponse::refused)?;
        let run = match begun {
            Some(begun) => self.run.activate(begun, asked_at),
            None => self.run.begin().await,
        };
        // Waits only after the record has begun: a retry during the wait gets a 409 immediately.
        delay.wait().await;
        run
    }

    /// Takes the tokens. If the store can do both in one call, this also begins the record, and
    /// returns its `BeginOutcome`. Otherwise the outcome is `None`, and the caller begins the
    /// record.
    async fn acquire(
        &self,
        info: &RequestInfo,
    ) -> Result<(QueueDelay, Option<Result<BeginOutcome, StoreError>>), Problem> {
        let limits = match (&self.limits, self.acquired) {
            (Some(limits), None) => limits,
            (_, acquired) => return Ok((acquired.unwrap_or_default(), None)),
        };
        let requests = limits.requests(info);
        let can_join = |store: &&Arc<dyn AdmissionStore>| {
            // Prefetched tokens are taken without a call to the store. The record then needs a
            // separate call. If a run of the record is alive in this process, the request only
            // takes its tokens, and `PendingRun::begin` refuses it.
            limits.limits().prefetch().is_none()
                && !self.run.is_alive_here()
                && store.joins(&requests, self.run.request())
        };
        let Some(store) = self.store.as_ref().filter(can_join) else {
            return Ok((limits.acquire(info).await?, None));
        };
        let call = async {
            Ok(match store.admit(&requests, self.run.request()).await? {
                StoreAdmission::Refused(acquired) => (acquired, None),
                StoreAdmission::Admitted(acquired, begun) => (acquired, Some(begun)),
            })
        };
        match limits
            .client()
            .acquire_with(&requests, limits.limits().on_error(), call)
            .await
        {
            Ok((decided, begun)) => Ok((limits.apply(&requests, decided)?, begun.map(Ok))),
            Err(error) => Ok((QueueDelay::default(), Some(Err(error)))),
        }
    }
}
