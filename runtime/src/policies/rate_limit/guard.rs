//! The store of limits, and what decides while it is slow or down.

use core::fmt;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::breaker::{Breaker, Pass};
use super::decide::Reading;
use super::instances::Instances;
use super::spec::OnError;
use super::store::{Acquired, Claim, LimitStore};
use crate::clock::{Clock, SystemClock};
use crate::policies::timeout::within;
use crate::store::{MemoryLimits, StoreError};

/// Asks the store of limits, and decides locally what it does not answer in time.
#[derive(Debug)]
pub(crate) struct Guard {
    store: Arc<dyn LimitStore>,
    local: MemoryLimits,
    instances: Instances,
    clock: Arc<dyn Clock>,
    breaker: Mutex<Breaker>,
    /// Whether the breaker is anything but calm. Looked at first, so that a store that is well costs
    /// no lock.
    troubled: AtomicBool,
    /// Requests decided locally since the store was last told to be back.
    decided_locally: AtomicU64,
}

/// What was decided, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decided {
    /// By the store, for all instances.
    ByStore(Acquired),
    /// By this instance alone.
    Locally(Acquired),
}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// What the log is told where nobody decides.
const UNDECIDED: &str = "a limit says `on_error = deny`";

/// Buckets that are held locally at a time: 1 MiB when full.
const BUCKETS: usize = 1 << 16;

impl Guard {
    /// Guards this store, which so many instances share.
    pub(crate) fn new(store: Arc<dyn LimitStore>, instances: Instances) -> Self {
        Self::by(Arc::new(SystemClock::new()), store, instances)
    }

    fn by(clock: Arc<dyn Clock>, store: Arc<dyn LimitStore>, instances: Instances) -> Self {
        Self {
            store,
            local: MemoryLimits::with_capacity(BUCKETS, Arc::clone(&clock)),
            instances,
            clock,
            breaker: Mutex::new(Breaker::CALM),
            troubled: AtomicBool::new(false),
            decided_locally: AtomicU64::new(0),
        }
    }

    /// Takes the tokens of every claim, or of none. Fails where a bucket cannot be read, and where the
    /// store does not decide and nobody else may.
    pub(crate) async fn acquire(
        &self,
        claims: &[Claim<'_>],
        on_error: OnError,
    ) -> Result<Decided, StoreError> {
        let answer = match self.admit() {
            Some(pass) => self.ask(pass, claims).await?,
            None => None,
        };
        match (answer, on_error) {
            (Some(acquired), _) => Ok(Decided::ByStore(acquired)),
            (None, OnError::Local) => Ok(Decided::Locally(self.decide(claims))),
            (None, OnError::Deny) => Err(StoreError::Unavailable(String::from(UNDECIDED))),
        }
    }

    /// What the store says of claims that cost nothing; nothing while it is left alone.
    pub(crate) async fn peek(&self, claims: &[Claim<'_>]) -> Option<Vec<Reading>> {
        if self.troubled() && !self.breaker(|breaker| breaker).0.is_closed() {
            return None;
        }
        let answer = self.ask(Pass::Request, claims).await.ok()?;
        answer.map(|acquired| acquired.readings)
    }

    /// The clock by which this instance decides.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The store's answer; `None` where there is none in time.
    async fn ask(&self, pass: Pass, claims: &[Claim<'_>]) -> Result<Option<Acquired>, StoreError> {
        match within(PATIENCE, self.store.acquire(claims)).await {
            None => self.failed(pass, &format_args!("no answer within {PATIENCE:?}")),
            Some(Err(error)) if !error.is_about_the_key() => self.failed(pass, &error),
            Some(answer) => {
                self.succeeded(pass);
                return answer.map(Some);
            }
        }
        Ok(None)
    }

    /// Decides by this instance's share of the limits.
    fn decide(&self, claims: &[Claim<'_>]) -> Acquired {
        self.decided_locally.fetch_add(1, Ordering::Relaxed);
        let instances = self.instances.count();
        let share = |claim: &Claim<'_>| claim.quota.share(instances, claim.dearest.max(claim.cost));
        let claims: Vec<_> = claims.iter().map(|claim| Claim { quota: share(claim), ..*claim }).collect();
        self.local.take(&claims)
    }

    fn admit(&self) -> Option<Pass> {
        if !self.troubled() {
            return Some(Pass::Request);
        }
        let mut pass = None;
        self.breaker(|breaker| {
            let (next, admitted) = breaker.admit(self.clock.now());
            pass = admitted;
            next
        });
        pass
    }

    fn succeeded(&self, pass: Pass) {
        if !self.troubled() {
            return;
        }
        let (before, after) = self.breaker(|breaker| breaker.succeeded(pass));
        if !before.is_closed() && after.is_closed() {
            let decided_locally = self.decided_locally.swap(0, Ordering::Relaxed);
            tracing::info!(decided_locally, "the store of limits answers again and decides");
        }
    }

    fn failed(&self, pass: Pass, cause: &dyn fmt::Display) {
        let (before, after) = self.breaker(|breaker| breaker.failed(pass, self.clock.now()));
        if before.is_closed() && !after.is_closed() {
            let instances = self.instances.count();
            tracing::warn!(%cause, instances, "limits are decided by each instance alone");
        }
    }

    fn troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Moves the breaker on: what it was, and what it is.
    fn breaker(&self, step: impl FnOnce(Breaker) -> Breaker) -> (Breaker, Breaker) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *breaker;
        *breaker = step(before);
        self.troubled.store(*breaker != Breaker::CALM, Ordering::Release);
        (before, *breaker)
    }
}

impl Decided {
    pub(crate) const fn acquired(&self) -> &Acquired {
        let (Self::ByStore(acquired) | Self::Locally(acquired)) = self;
        acquired
    }

    /// What clients are told: nothing of what one instance knows alone.
    pub(crate) fn into_readings(self) -> Vec<Reading> {
        match self {
            Self::ByStore(acquired) => acquired.readings,
            Self::Locally(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
