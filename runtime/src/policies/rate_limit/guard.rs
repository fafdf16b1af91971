//! The store of limits, what decides while it is slow or down, and what it need not be asked.

use core::fmt;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::breaker::{Breaker, Pass};
use super::decide::Reading;
use super::denials::Denials;
use super::instances::Instances;
use super::spec::OnError;
use super::store::{Acquired, Claim, LimitStore};
use crate::clock::{Clock, SystemClock};
use crate::policies::idempotency::{Begin, Begun};
use crate::policies::timeout::within;
use crate::store::{Admission, AdmissionStore, MemoryLimits, StoreError};

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
    /// What the store has refused a moment ago.
    denials: Denials,
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

/// Buckets that are held locally at a time: 1 MiB when full, without the logs of sliding windows.
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
            denials: Denials::new(),
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
        answer.map_or_else(|| self.undecided(claims, on_error), |acquired| Ok(Decided::ByStore(acquired)))
    }

    /// What comes of claims that the store does not decide.
    fn undecided(&self, claims: &[Claim<'_>], on_error: OnError) -> Result<Decided, StoreError> {
        match on_error {
            OnError::Local => Ok(Decided::Locally(self.decide(claims))),
            // Nothing has begun that would have to be given back.
            OnError::Deny => Err(StoreError::Unreachable(String::from(UNDECIDED))),
        }
    }

    /// The same and `begin`, as one step of a store of both. What `begin` found is missing where the limits
    /// refuse, and where it is still to be asked, because this instance has decided.
    ///
    /// The store is waited for as long as `begin` waits: whoever gave up earlier would not know whether
    /// a run has begun. It fails wherever that is not known.
    pub(crate) async fn acquire_with(
        &self,
        store: &dyn AdmissionStore,
        claims: &[Claim<'_>],
        on_error: OnError,
        begin: &Begin,
    ) -> Result<(Decided, Option<Begun>), StoreError> {
        if !self.is_closed() {
            return self.acquire(claims, on_error).await.map(|decided| (decided, None));
        }
        let (started, asked) = (Instant::now(), self.clock.now());
        let answer = store.admit(claims, begin).await;
        self.judge(&answer, started.elapsed());
        match answer {
            Ok(Admission::Admitted(acquired, found)) => Ok((Decided::ByStore(acquired), Some(found))),
            Ok(Admission::Refused(acquired)) => {
                self.denials.note(claims, &acquired, asked, self.clock.now());
                Ok((Decided::ByStore(acquired), None))
            }
            // Nothing was done, and what has begun before can be told all the same.
            Err(StoreError::Full) => self.undecided(claims, on_error).map(|decided| (decided, None)),
            Err(error) => Err(error),
        }
    }

    /// Whether anything may be refused without asking the store.
    pub(crate) fn denies(&self) -> bool {
        self.denials.any(|| self.clock.now())
    }

    /// What the store would say of claims that it has refused a moment ago.
    pub(crate) fn denial(&self, claims: &[Claim<'_>]) -> Option<Acquired> {
        self.denials.find(claims, self.clock.now())
    }

    /// The same, of a store that is well and need not be waited for; else nothing is taken, and `None`.
    pub(crate) fn acquire_at_once(&self, claims: &[Claim<'_>]) -> Option<Acquired> {
        if self.troubled() { None } else { self.store.acquire_at_once(claims) }
    }

    /// What the store says of claims that cost nothing; nothing while it is left alone.
    pub(crate) async fn peek(&self, claims: &[Claim<'_>]) -> Option<Vec<Reading>> {
        if !self.is_closed() {
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
        let answer = self.store.acquire(claims);
        // What takes no trip need not be spared one.
        let asked = (!answer.is_ready()).then(|| self.clock.now());
        match within(PATIENCE, answer).await {
            None => self.failed(pass, &format_args!("no answer within {PATIENCE:?}")),
            Some(Err(error)) if !error.is_about_the_key() => self.failed(pass, &error),
            Some(answer) => {
                self.succeeded(pass);
                if let (Some(asked), Ok(acquired)) = (asked, &answer) {
                    self.denials.note(claims, acquired, asked, self.clock.now());
                }
                return answer.map(Some);
            }
        }
        Ok(None)
    }

    /// What an answer to both says of the store: one that comes late is a failure, too.
    fn judge(&self, answer: &Result<Admission, StoreError>, elapsed: Duration) {
        match answer {
            Err(error) if !error.is_about_the_key() => self.failed(Pass::Request, error),
            _ if elapsed > PATIENCE => {
                self.failed(Pass::Request, &format_args!("an answer after {elapsed:?}"));
            }
            _ => self.succeeded(Pass::Request),
        }
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

    /// Whether every request asks the store.
    fn is_closed(&self) -> bool {
        !self.troubled() || self.breaker(|breaker| breaker).0.is_closed()
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
