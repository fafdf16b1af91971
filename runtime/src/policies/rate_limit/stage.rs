//! The stage that rejects a request if a cached rejection applies to the request. The
//! `LimitResponseWriter` takes tokens from the buckets, and writes the rate-limit fields of the
//! response.

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

/// The limits of one mounted endpoint, with the client of their store.
#[derive(Debug)]
pub(crate) struct EndpointLimits {
    pub(crate) spec: &'static EndpointSpec,
    pub(crate) limits: Limits,
    pub(crate) client: Arc<LimitClient>,
    pub(crate) proxies: TrustedProxies,
}

/// A stage that rejects a request without calling the store if the store rejected the same request
/// a moment ago.
///
/// The tokens of a request are taken later, at admission, together with the record of an
/// idempotency key.
#[derive(Debug)]
pub(crate) struct LimitStage(Arc<EndpointLimits>);

impl LimitStage {
    /// Returns the stage of an endpoint with limits, or `None` if the endpoint has no limits.
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
        StageResult::Ready(self.reject_cached(state, request))
    }
}

impl LimitStage {
    fn reject_cached(
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
        let needs_address = limits.needs_address(caller.as_ref());
        let peer = if needs_address { request.peer() } else { None };
        let address = peer.map(|peer| proxies.client(peer, &request.head().headers));
        // The cost function and `LimitKey::verify` are user code, so they can panic.
        let context = "the cost or key function of a rate limit";
        let keys = catch_panic(context, || {
            limits.resolve_keys(request.head_mut(), caller.as_ref())
        })?;
        let writer = LimitResponseWriter {
            endpoint: Arc::clone(&self.0),
            address,
            keys,
            statuses: Mutex::default(),
        };
        let writer = Arc::new(writer);
        state
            .writers
            .push(Arc::<LimitResponseWriter>::clone(&writer));
        if !client.may_have_rejections() {
            return Ok(());
        }
        let requests = writer.requests(&state.info);
        client
            .cached_rejection(&requests)
            .map_or(Ok(()), |rejected| {
                writer
                    .apply(&requests, Decision::ByStore(rejected))
                    .map(|_| ())
            })
    }
}

/// The limits of one request. Takes the tokens of the request, and writes the response fields.
#[derive(Debug)]
pub(crate) struct LimitResponseWriter {
    endpoint: Arc<EndpointLimits>,
    /// The client address, if a limit counts by it and the peer is known.
    address: Option<IpAddr>,
    keys: RequestKeys,
    /// The status of each limit. Empty if the store was not called or if this instance decided. The
    /// numbers of one instance do not show how many tokens the client has left.
    statuses: Mutex<Vec<LimitStatus>>,
}

impl LimitResponseWriter {
    pub(crate) fn limits(&self) -> &Limits {
        &self.endpoint.limits
    }

    pub(crate) fn client(&self) -> &LimitClient {
        &self.endpoint.client
    }

    /// Returns a [`LimitRequest`] for each limit of this HTTP request.
    pub(crate) fn requests<'a>(&'a self, info: &'a RequestInfo) -> LimitRequests<'a> {
        let has_queue = self.limits().has_leaky_bucket();
        let max_queue_wait = if has_queue {
            info.due.saturating_duration_since(Instant::now())
        } else {
            Duration::MAX
        };
        let RequestInfo { caller, .. } = info;
        self.limits().requests(&LimitInputs {
            caller: caller.as_ref(),
            address: self.address,
            keys: &self.keys,
            max_queue_wait,
        })
    }

    /// Takes the tokens of the request. Returns the delay after which the request may run.
    pub(crate) async fn acquire(&self, info: &RequestInfo) -> Result<QueueDelay, Problem> {
        let requests = self.requests(info);
        let on_error = self.limits().on_error();
        let decision = match self.limits().prefetch() {
            Some(batch) => {
                self.client()
                    .acquire_prefetched(&requests[0], batch, on_error)
                    .await
            }
            None => self.client().acquire(&requests, on_error).await,
        };
        match decision {
            Ok(decision) => self.apply(&requests, decision),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Takes the tokens from an in-memory store. Returns `None` for any other store.
    pub(crate) fn acquire_in_process(
        &self,
        info: &RequestInfo,
    ) -> Option<Result<QueueDelay, Problem>> {
        let requests = self.requests(info);
        let acquired = self.client().acquire_in_process(&requests)?;
        Some(self.apply(&requests, Decision::ByStore(acquired)))
    }

    /// Stores the status of a decision for the response fields. Fails if the request is rejected.
    pub(crate) fn apply(
        &self,
        requests: &[LimitRequest<'_>],
        decision: Decision,
    ) -> Result<QueueDelay, Problem> {
        let (limits, acquired) = (self.limits(), decision.acquired());
        if acquired.admitted {
            limits.count_shadow_rejections(
                self.endpoint.spec,
                requests,
                acquired,
                self.client().clock(),
            );
        }
        let rejection = (!acquired.admitted).then(|| limits.rejection(acquired));
        let delay = QueueDelay::after(limits.queue_delay(acquired));
        if let Decision::ByStore(acquired) = decision {
            *self.statuses.lock().unwrap_or_else(PoisonError::into_inner) = acquired.statuses;
        }
        rejection.map_or(Ok(delay), Err)
    }
}

impl ResponseWriter for LimitResponseWriter {
    fn write(&self, _: &RequestInfo, response: &mut Response) {
        let statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits()
            .write_fields(response.headers_mut(), &statuses);
    }
}

/// The instant at which an admitted request may run; `None` if it may run immediately. This is an
/// instant, not a duration, because the time in which the body is read counts towards the wait.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(crate) struct QueueDelay(Option<Instant>);

impl QueueDelay {
    fn after(wait: Duration) -> Self {
        Self((!wait.is_zero()).then(|| Instant::now() + wait))
    }

    /// Returns `true` if the request may run immediately.
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
