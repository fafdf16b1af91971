//! A request on its way to the buckets.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use tokio::time::{Instant, sleep_until};

use super::client::{Decision, LimitClient};
use super::decide::LimitStatus;
use super::limits::{LimitInputs, LimitRequests, Limits};
use super::request_keys::RequestKeys;
use super::store::LimitRequest;
use crate::client::TrustedProxies;
use crate::facet::StoreError;
use crate::problem::{Problem, registry};
use crate::request::{
    IncomingRequest, RequestInfo, RequestState, ResponseWriter, Stage, StageResult, catch_panic,
};
use crate::spec::EndpointSpec;

/// The limits of one mounted endpoint, and the client that asks their store.
#[derive(Debug)]
pub(crate) struct EndpointLimits {
    pub(crate) spec: &'static EndpointSpec,
    pub(crate) limits: Limits,
    pub(crate) client: Arc<LimitClient>,
    pub(crate) proxies: TrustedProxies,
}

/// Refuses a request that the store refused a moment ago, without asking the store again.
///
/// The tokens themselves are taken at admission, together with the record of an idempotency key.
#[derive(Debug)]
pub(crate) struct LimitStage(Arc<EndpointLimits>);

impl LimitStage {
    /// The stage of an endpoint with limits.
    pub(crate) fn new(limits: Option<&Arc<EndpointLimits>>) -> Option<Self> {
        limits.cloned().map(Self)
    }
}

impl Stage for LimitStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> StageResult<'a> {
        StageResult::Ready(self.check(state, request))
    }
}

impl LimitStage {
    fn check(
        &self,
        state: &mut RequestState,
        request: &mut IncomingRequest,
    ) -> Result<(), Problem> {
        let EndpointLimits {
            limits,
            client,
            proxies,
            ..
        } = &*self.0;
        let caller = &state.info.caller;
        let by_address = limits.ask_for_address(caller.as_ref());
        let peer = if by_address { request.peer() } else { None };
        let address = peer.map(|peer| proxies.client(peer, &request.head().headers));
        // The functions that weigh a request and verify its keys are the endpoint's own.
        let whose = "what a limit asks of a request";
        let known = catch_panic(whose, || {
            limits.resolve_keys(request.head_mut(), caller.as_ref())
        })?;
        let exit = LimitResponseWriter {
            endpoint: Arc::clone(&self.0),
            address,
            known,
            status: Mutex::default(),
        };
        let exit = Arc::new(exit);
        state.writers.push(Arc::<LimitResponseWriter>::clone(&exit));
        if !client.is_rejected() {
            return Ok(());
        }
        let claims = exit.requests(&state.info);
        client.cached_rejection(&claims).map_or(Ok(()), |refused| {
            exit.settle(&claims, Decision::ByStore(refused)).map(|_| ())
        })
    }
}

/// What the limits know of one request: whose it is, and what they said.
#[derive(Debug)]
pub(crate) struct LimitResponseWriter {
    endpoint: Arc<EndpointLimits>,
    /// The client's, if a limit counts by it and the peer is known.
    address: Option<IpAddr>,
    known: RequestKeys,
    /// The state of the limits. Empty if they were not asked, or if this instance decided alone: what
    /// one instance knows is not what the client has left.
    status: Mutex<Vec<LimitStatus>>,
}

impl LimitResponseWriter {
    pub(crate) fn limits(&self) -> &Limits {
        &self.endpoint.limits
    }

    pub(crate) fn client(&self) -> &LimitClient {
        &self.endpoint.client
    }

    /// What the request takes from each limit.
    pub(crate) fn requests<'a>(&'a self, info: &'a RequestInfo) -> LimitRequests<'a> {
        let shapes = self.limits().shape();
        let patience = if shapes {
            info.due.saturating_duration_since(Instant::now())
        } else {
            Duration::MAX
        };
        let RequestInfo { caller, .. } = info;
        self.limits().requests(&LimitInputs {
            caller: caller.as_ref(),
            address: self.address,
            keys: &self.known,
            max_queue_wait: patience,
        })
    }

    /// Takes what the request costs, and returns when its turn comes.
    pub(crate) async fn acquire(&self, info: &RequestInfo) -> Result<QueueDelay, Problem> {
        let claims = self.requests(info);
        let on_error = self.limits().on_error();
        let decided = match self.limits().prefetch() {
            Some(batch) => {
                self.client()
                    .acquire_prefetched(&claims[0], batch, on_error)
                    .await
            }
            None => self.client().acquire(&claims, on_error).await,
        };
        match decided {
            Ok(decided) => self.settle(&claims, decided),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Does the same with a store in this process. `None` where the limits have to be waited for.
    pub(crate) fn acquire_in_process(
        &self,
        info: &RequestInfo,
    ) -> Option<Result<QueueDelay, Problem>> {
        let claims = self.requests(info);
        let acquired = self.client().acquire_in_process(&claims)?;
        Some(self.settle(&claims, Decision::ByStore(acquired)))
    }

    /// Notes what was decided, and refuses the request if that is it.
    pub(crate) fn settle(
        &self,
        claims: &[LimitRequest<'_>],
        decided: Decision,
    ) -> Result<QueueDelay, Problem> {
        let (limits, acquired) = (self.limits(), decided.acquired());
        if acquired.admitted {
            limits.note_shadows(self.endpoint.spec, claims, acquired, self.client().clock());
        }
        let refusal = (!acquired.admitted).then(|| limits.refusal(acquired));
        let turn = QueueDelay::after(limits.queue_delay(acquired));
        if let Decision::ByStore(acquired) = decided {
            *self.status.lock().unwrap_or_else(PoisonError::into_inner) = acquired.statuses;
        }
        refusal.map_or(Ok(turn), Err)
    }
}

impl ResponseWriter for LimitResponseWriter {
    fn write(&self, _: &RequestInfo, response: &mut Response) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits().write(response.headers_mut(), &status);
    }
}

/// When the turn of an admitted request comes; `None` if nothing has to be waited for. A moment, because
/// a body that is read meanwhile must not be waited for twice.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(crate) struct QueueDelay(Option<Instant>);

impl QueueDelay {
    fn after(wait: Duration) -> Self {
        Self((!wait.is_zero()).then(|| Instant::now() + wait))
    }

    /// Whether nothing has to be waited for.
    pub(crate) const fn is_zero(self) -> bool {
        self.0.is_none()
    }

    pub(crate) async fn wait(self) {
        if let Some(turn) = self.0 {
            sleep_until(turn).await;
        }
    }
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error)
}
