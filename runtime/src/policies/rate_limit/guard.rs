//! The store of limits, what decides while it is slow or down, and what it need not be asked.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::breaker::Pass;
use super::decide::Reading;
use super::denials::Denials;
use super::gate::Gate;
use super::instances::Instances;
use super::leases::{Leases, Taken};
use super::memory::MemoryLimits;
use super::spec::OnError;
use super::store::{Acquired, Claim, LimitStore};
use crate::clock::{Clock, SystemClock};
use crate::facet::StoreError;
use crate::policies::idempotency::{Begin, Begun};
use crate::policies::timeout::within;
use crate::store::{Admission, AdmissionStore};

/// Asks the store of limits, and decides locally what it does not answer in time.
#[derive(Debug)]
pub(crate) struct Guard {
    store: Arc<dyn LimitStore>,
    local: MemoryLimits,
    instances: Instances,
    clock: Arc<dyn Clock>,
    /// A breaker for each part of the store.
    gates: [Gate; PARTS],
    /// Requests decided locally since the store was last told to be back.
    decided_locally: AtomicU64,
    /// What the store has refused a moment ago.
    denials: Denials,
    leases: Leases,
}

/// What was decided, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decided {
    /// By the store, for all instances.
    ByStore(Acquired),
    /// By this instance alone.
    Locally(Acquired),
}

/// Parts of the store that are told apart.
const PARTS: usize = 16;

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
            gates: [const { Gate::new() }; PARTS],
            decided_locally: AtomicU64::new(0),
            denials: Denials::new(),
            leases: Leases::new(),
        }
    }

    /// Takes the tokens of every claim, or of none. Fails where a bucket cannot be read, and where the
    /// store does not decide and nobody else may.
    pub(crate) async fn acquire(
        &self,
        claims: &[Claim<'_>],
        on_error: OnError,
    ) -> Result<Decided, StoreError> {
        let gate = self.gate(claims);
        let answer = match gate.admit(|| self.clock.now()) {
            Some(pass) => self.ask(gate, pass, claims).await?,
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

    /// The same of one claim: from the tokens that this instance has taken ahead, else from the store, with a batch
    /// of so many more.
    pub(crate) async fn acquire_leased(
        &self,
        claim: &Claim<'_>,
        batch: u64,
        on_error: OnError,
    ) -> Result<Decided, StoreError> {
        // What takes no trip need not be spared one.
        if let Some(acquired) = self.acquire_at_once(&[*claim]) {
            return Ok(Decided::ByStore(acquired));
        }
        let asked = self.clock.now();
        let errand = match self.leases.take(claim, asked) {
            Taken::Here(acquired) => return Ok(Decided::ByStore(acquired)),
            Taken::Alone => return self.acquire(&[*claim], on_error).await,
            Taken::Go(errand) => errand,
        };
        let gate = self.gate(&[*claim]);
        let answer = match gate.admit(|| self.clock.now()) {
            Some(pass) => self.ask(gate, pass, &[Claim { cost: claim.cost + batch, ..*claim }]).await?,
            None => None,
        };
        match answer {
            Some(Acquired { admitted: true, readings }) => {
                Ok(Decided::ByStore(errand.bring(claim, batch, readings[0], asked)))
            }
            Some(Acquired { readings, .. }) => {
                let now = self.clock.now();
                let reading = errand.without(claim, readings[0], now);
                if reading.wait.is_none() {
                    return self.acquire(&[*claim], on_error).await;
                }
                let refused = Acquired { admitted: false, readings: vec![reading] };
                self.denials.note(&[*claim], &refused, asked, now);
                Ok(Decided::ByStore(refused))
            }
            None => self.undecided(&[*claim], on_error),
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
        let gate = self.gate(claims);
        if !gate.is_closed() {
            return self.acquire(claims, on_error).await.map(|decided| (decided, None));
        }
        let (started, asked) = (Instant::now(), self.clock.now());
        let answer = store.admit(claims, begin).await;
        self.judge(gate, &answer, started.elapsed());
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
        if self.gate(claims).troubled() { None } else { self.store.acquire_at_once(claims) }
    }

    /// What the store says of claims that cost nothing; nothing while it is left alone.
    pub(crate) async fn peek(&self, claims: &[Claim<'_>]) -> Option<Vec<Reading>> {
        let gate = self.gate(claims);
        if !gate.is_closed() {
            return None;
        }
        let answer = self.ask(gate, Pass::Request, claims).await.ok()?;
        answer.map(|acquired| acquired.readings)
    }

    /// The clock by which this instance decides.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The store's answer; `None` where there is none in time.
    async fn ask(
        &self,
        gate: &Gate,
        pass: Pass,
        claims: &[Claim<'_>],
    ) -> Result<Option<Acquired>, StoreError> {
        let answer = self.store.acquire(claims);
        // What takes no trip need not be spared one.
        let asked = (!answer.is_ready()).then(|| self.clock.now());
        match within(PATIENCE, answer).await {
            None => self.failed(gate, pass, &format_args!("no answer within {PATIENCE:?}")),
            Some(Err(error)) if !error.is_about_the_key() => self.failed(gate, pass, &error),
            Some(answer) => {
                self.succeeded(gate, pass);
                if let (Some(asked), Ok(acquired)) = (asked, &answer) {
                    self.denials.note(claims, acquired, asked, self.clock.now());
                }
                return answer.map(Some);
            }
        }
        Ok(None)
    }

    /// What an answer to both says of the store: one that comes late is a failure, too.
    fn judge(&self, gate: &Gate, answer: &Result<Admission, StoreError>, elapsed: Duration) {
        match answer {
            Err(error) if !error.is_about_the_key() => self.failed(gate, Pass::Request, error),
            _ if elapsed > PATIENCE => {
                self.failed(gate, Pass::Request, &format_args!("an answer after {elapsed:?}"));
            }
            _ => self.succeeded(gate, Pass::Request),
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

    /// The breaker of the part of the store that decides these claims.
    fn gate(&self, claims: &[Claim<'_>]) -> &Gate {
        &self.gates[self.store.part(claims) % PARTS]
    }

    fn succeeded(&self, gate: &Gate, pass: Pass) {
        if gate.succeeded(pass) {
            let decided_locally = self.decided_locally.swap(0, Ordering::Relaxed);
            tracing::info!(decided_locally, "the store of limits answers again and decides");
        }
    }

    fn failed(&self, gate: &Gate, pass: Pass, cause: &dyn fmt::Display) {
        if gate.failed(pass, self.clock.now()) {
            let instances = self.instances.count();
            tracing::warn!(%cause, instances, "limits are decided by each instance alone");
        }
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
