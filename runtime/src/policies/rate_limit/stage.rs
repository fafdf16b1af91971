//! A request on its way to the buckets.

use core::time::Duration;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use tokio::time::{Instant, sleep_until};

use super::decide::Reading;
use super::guard::{Decided, Guard};
use super::known::Known;
use super::limits::{Claimant, Claims, Limits};
use super::store::Claim;
use crate::client::TrustedProxies;
use crate::facet::StoreError;
use crate::problem::{Problem, registry};
use crate::request::{Entry, Exit, IncomingRequest, RequestInfo, RequestState, Stage, catch_panic};
use crate::spec::EndpointSpec;

/// The limits of one mounted endpoint, and the client that asks their store.
#[derive(Debug)]
pub(crate) struct EndpointLimits {
    pub(crate) spec: &'static EndpointSpec,
    pub(crate) limits: Limits,
    pub(crate) client: Arc<Guard>,
    pub(crate) proxies: TrustedProxies,
}

/// Refuses a request that the store refused a moment ago, without asking the store again.
///
/// The tokens themselves are taken at admission, together with the record of an idempotency key.
#[derive(Debug)]
pub(crate) struct KnownRefusalsStage(Arc<EndpointLimits>);

impl KnownRefusalsStage {
    /// The stage of an endpoint with limits.
    pub(crate) fn new(limits: Option<&Arc<EndpointLimits>>) -> Option<Self> {
        limits.cloned().map(Self)
    }
}

impl Stage for KnownRefusalsStage {
    fn enter<'a>(
        &'a self,
        state: &'a mut RequestState,
        request: &'a mut IncomingRequest,
    ) -> Entry<'a> {
        Entry::Done(self.check(state, request))
    }
}

impl KnownRefusalsStage {
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
        let known = catch_panic(whose, || limits.look(request.head_mut(), caller.as_ref()))?;
        let exit = LimitExit {
            endpoint: Arc::clone(&self.0),
            address,
            known,
            status: Mutex::default(),
        };
        let exit = Arc::new(exit);
        state.exits.push(Arc::<LimitExit>::clone(&exit));
        if !client.denies() {
            return Ok(());
        }
        let claims = exit.claims(&state.info);
        client.denial(&claims).map_or(Ok(()), |refused| {
            exit.settle(&claims, Decided::ByStore(refused)).map(|_| ())
        })
    }
}

/// What the limits know of one request: whose it is, and what they said.
#[derive(Debug)]
pub(crate) struct LimitExit {
    endpoint: Arc<EndpointLimits>,
    /// The client's, if a limit counts by it and the peer is known.
    address: Option<IpAddr>,
    known: Known,
    /// The state of the limits. Empty if they were not asked, or if this instance decided alone: what
    /// one instance knows is not what the client has left.
    status: Mutex<Vec<Reading>>,
}

impl LimitExit {
    pub(crate) fn limits(&self) -> &Limits {
        &self.endpoint.limits
    }

    pub(crate) fn client(&self) -> &Guard {
        &self.endpoint.client
    }

    /// What the request takes from each limit.
    pub(crate) fn claims<'a>(&'a self, info: &'a RequestInfo) -> Claims<'a> {
        let shapes = self.limits().shape();
        let patience = if shapes {
            info.due.saturating_duration_since(Instant::now())
        } else {
            Duration::MAX
        };
        let RequestInfo { caller, .. } = info;
        self.limits().claims(&Claimant {
            caller: caller.as_ref(),
            address: self.address,
            known: &self.known,
            patience,
        })
    }

    /// Takes what the request costs, and returns when its turn comes.
    pub(crate) async fn acquire(&self, info: &RequestInfo) -> Result<Turn, Problem> {
        let claims = self.claims(info);
        let on_error = self.limits().on_error();
        let decided = match self.limits().lease() {
            Some(batch) => {
                self.client()
                    .acquire_leased(&claims[0], batch, on_error)
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
    pub(crate) fn acquire_in_process(&self, info: &RequestInfo) -> Option<Result<Turn, Problem>> {
        let claims = self.claims(info);
        let acquired = self.client().acquire_in_process(&claims)?;
        Some(self.settle(&claims, Decided::ByStore(acquired)))
    }

    /// Notes what was decided, and refuses the request if that is it.
    pub(crate) fn settle(&self, claims: &[Claim<'_>], decided: Decided) -> Result<Turn, Problem> {
        let (limits, acquired) = (self.limits(), decided.acquired());
        if acquired.admitted {
            limits.note_shadows(self.endpoint.spec, claims, acquired, self.client().clock());
        }
        let refusal = (!acquired.admitted).then(|| limits.refusal(acquired));
        let turn = Turn::after(limits.turn(acquired));
        if let Decided::ByStore(acquired) = decided {
            *self.status.lock().unwrap_or_else(PoisonError::into_inner) = acquired.readings;
        }
        refusal.map_or(Ok(turn), Err)
    }
}

impl Exit for LimitExit {
    fn finish(&self, _: &RequestInfo, response: &mut Response) {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits().write(response.headers_mut(), &status);
    }
}

/// When the turn of an admitted request comes; `None` if nothing has to be waited for. A moment, because
/// a body that is read meanwhile must not be waited for twice.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(crate) struct Turn(Option<Instant>);

impl Turn {
    fn after(wait: Duration) -> Self {
        Self((!wait.is_zero()).then(|| Instant::now() + wait))
    }

    /// Whether nothing has to be waited for.
    pub(crate) const fn is_now(self) -> bool {
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
