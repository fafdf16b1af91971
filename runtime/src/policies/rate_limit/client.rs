//! The store of limits, what decides while it is slow or down, and what it need not be asked.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::breaker::Permit;
use super::instances::Instances;
use super::memory::MemoryLimits;
use super::prefetch::{Prefetched, TokenBatches};
use super::rejection_cache::RejectionCache;
use super::shared_breaker::SharedBreaker;
use super::spec::OnError;
use super::store::{Acquired, LimitRequest, LimitStore};
use crate::clock::{Clock, SystemClock};
use crate::facet::StoreError;
use crate::request::within;

/// Asks the store of limits, and decides locally what it does not answer in time.
#[derive(Debug)]
pub(crate) struct LimitClient {
    store: Arc<dyn LimitStore>,
    local: MemoryLimits,
    instances: Instances,
    clock: Arc<dyn Clock>,
    /// A breaker for each part of the store.
    breakers: [SharedBreaker; PARTS],
    /// Requests decided locally since the store was last told to be back.
    decided_locally: AtomicU64,
    /// What the store has refused a moment ago.
    rejections: RejectionCache,
    batches: TokenBatches,
}

/// What was decided, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// By the store, for all instances.
    ByStore(Acquired),
    /// By this instance alone.
    Locally(Acquired),
}

/// Parts of the store that are told apart.
const PARTS: usize = 16;

/// How long an answer is waited for.
const STORE_TIMEOUT: Duration = Duration::from_millis(250);

/// What the log is told where nobody decides.
const UNDECIDED: &str = "a limit says `on_error = deny`";

/// Buckets that are held locally at a time: 1 MiB when full, without the logs of sliding windows.
const BUCKETS: usize = 1 << 16;

impl LimitClient {
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
            breakers: [const { SharedBreaker::new() }; PARTS],
            decided_locally: AtomicU64::new(0),
            rejections: RejectionCache::new(),
            batches: TokenBatches::new(),
        }
    }

    /// Takes the tokens of every claim, or of none. Fails where a bucket cannot be read, and where the
    /// store does not decide and nobody else may.
    pub(crate) async fn acquire(
        &self,
        claims: &[LimitRequest<'_>],
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        let gate = self.breaker(claims);
        let answer = match gate.admit(|| self.clock.now()) {
            Some(pass) => self.ask(gate, pass, claims).await?,
            None => None,
        };
        answer.map_or_else(
            || self.undecided(claims, on_error),
            |acquired| Ok(Decision::ByStore(acquired)),
        )
    }

    /// What comes of claims that the store does not decide.
    fn undecided(
        &self,
        claims: &[LimitRequest<'_>],
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        match on_error {
            OnError::Local => Ok(Decision::Locally(self.decide(claims))),
            // Nothing has begun that would have to be given back.
            OnError::Deny => Err(StoreError::Unreachable(String::from(UNDECIDED))),
        }
    }

    /// The same of one claim: from the tokens that this instance has taken ahead, else from the store, with a batch
    /// of so many more.
    pub(crate) async fn acquire_prefetched(
        &self,
        claim: &LimitRequest<'_>,
        batch: u64,
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        if self.store.is_in_process() {
            return self.acquire(&[*claim], on_error).await;
        }
        let asked = self.clock.now();
        let errand = match self.batches.take(claim, asked) {
            Prefetched::Hit(acquired) => return Ok(Decision::ByStore(acquired)),
            Prefetched::Bypass => return self.acquire(&[*claim], on_error).await,
            Prefetched::Refill(errand) => errand,
        };
        let gate = self.breaker(&[*claim]);
        let answer = match gate.admit(|| self.clock.now()) {
            Some(pass) => {
                self.ask(
                    gate,
                    pass,
                    &[LimitRequest {
                        cost: claim.cost + batch,
                        ..*claim
                    }],
                )
                .await?
            }
            None => None,
        };
        match answer {
            Some(Acquired {
                admitted: true,
                statuses: readings,
            }) => Ok(Decision::ByStore(errand.store(
                claim,
                batch,
                readings[0],
                asked,
            ))),
            Some(Acquired {
                statuses: readings, ..
            }) => {
                let now = self.clock.now();
                let reading = errand.without(claim, readings[0], now);
                if reading.wait.is_none() {
                    return self.acquire(&[*claim], on_error).await;
                }
                let refused = Acquired {
                    admitted: false,
                    statuses: vec![reading],
                };
                self.rejections.insert(&[*claim], &refused, asked, now);
                Ok(Decision::ByStore(refused))
            }
            None => self.undecided(&[*claim], on_error),
        }
    }

    /// Takes the tokens by a call to the store that does more in the same step, and returns what else
    /// it found. That is `None` where the limits refuse, and where the call was not made because this
    /// instance decides.
    ///
    /// The call is waited for to its end, for as long as the rest of it needs: a caller that gave up
    /// earlier would not know whether the rest was done. It fails wherever that is not known.
    pub(crate) async fn acquire_by<T>(
        &self,
        claims: &[LimitRequest<'_>],
        on_error: OnError,
        call: impl Future<Output = Result<(Acquired, Option<T>), StoreError>>,
    ) -> Result<(Decision, Option<T>), StoreError> {
        let gate = self.breaker(claims);
        if !gate.is_closed() {
            return self
                .acquire(claims, on_error)
                .await
                .map(|decided| (decided, None));
        }
        let (started, asked) = (Instant::now(), self.clock.now());
        let answer = call.await;
        self.merge(gate, answer.as_ref().err(), started.elapsed());
        match answer {
            Ok((acquired, found)) => {
                if !acquired.admitted {
                    self.rejections
                        .insert(claims, &acquired, asked, self.clock.now());
                }
                Ok((Decision::ByStore(acquired), found))
            }
            // Nothing was done, and what has begun before can be told all the same.
            Err(StoreError::Full) => self
                .undecided(claims, on_error)
                .map(|decided| (decided, None)),
            Err(error) => Err(error),
        }
    }

    /// Takes the tokens from a store in this process, which answers at once. `None` of any other store,
    /// which is not asked, and of one that fails, which [`acquire`](Self::acquire) deals with.
    pub(crate) fn acquire_in_process(&self, claims: &[LimitRequest<'_>]) -> Option<Acquired> {
        if self.store.is_in_process() {
            self.store.acquire(claims).try_ready().ok()?.ok()
        } else {
            None
        }
    }

    /// Whether anything may be refused without asking the store.
    pub(crate) fn is_rejected(&self) -> bool {
        self.rejections.any(|| self.clock.now())
    }

    /// What the store would say of claims that it has refused a moment ago.
    pub(crate) fn cached_rejection(&self, claims: &[LimitRequest<'_>]) -> Option<Acquired> {
        self.rejections.find(claims, self.clock.now())
    }

    /// The clock by which this instance decides.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The store's answer; `None` where there is none in time.
    async fn ask(
        &self,
        gate: &SharedBreaker,
        pass: Permit,
        claims: &[LimitRequest<'_>],
    ) -> Result<Option<Acquired>, StoreError> {
        let answer = self.store.acquire(claims);
        // What takes no trip need not be spared one.
        let asked = (!answer.is_ready()).then(|| self.clock.now());
        match within(STORE_TIMEOUT, answer).await {
            None => self.failed(
                gate,
                pass,
                &format_args!("no answer within {STORE_TIMEOUT:?}"),
            ),
            Some(Err(error)) if !error.is_about_the_key() => self.failed(gate, pass, &error),
            Some(answer) => {
                self.succeeded(gate, pass);
                if let (Some(asked), Ok(acquired)) = (asked, &answer) {
                    self.rejections
                        .insert(claims, acquired, asked, self.clock.now());
                }
                return answer.map(Some);
            }
        }
        Ok(None)
    }

    /// Notes how the store fares by a call that does more: an answer that comes late is a failure, too.
    fn merge(&self, gate: &SharedBreaker, error: Option<&StoreError>, elapsed: Duration) {
        match error {
            Some(error) if !error.is_about_the_key() => self.failed(gate, Permit::Normal, error),
            _ if elapsed > STORE_TIMEOUT => {
                self.failed(
                    gate,
                    Permit::Normal,
                    &format_args!("an answer after {elapsed:?}"),
                );
            }
            _ => self.succeeded(gate, Permit::Normal),
        }
    }

    /// Decides by this instance's share of the limits.
    fn decide(&self, claims: &[LimitRequest<'_>]) -> Acquired {
        self.decided_locally.fetch_add(1, Ordering::Relaxed);
        let instances = self.instances.count();
        let share = |claim: &LimitRequest<'_>| {
            claim
                .quota
                .per_instance(instances, claim.max_cost.max(claim.cost))
        };
        let claims: Vec<_> = claims
            .iter()
            .map(|claim| LimitRequest {
                quota: share(claim),
                ..*claim
            })
            .collect();
        self.local.take(&claims)
    }

    /// The breaker of the part of the store that decides these claims.
    fn breaker(&self, claims: &[LimitRequest<'_>]) -> &SharedBreaker {
        &self.breakers[self.store.part(claims) % PARTS]
    }

    fn succeeded(&self, gate: &SharedBreaker, pass: Permit) {
        if gate.succeeded(pass) {
            let decided_locally = self.decided_locally.swap(0, Ordering::Relaxed);
            tracing::info!(
                decided_locally,
                "the store of limits answers again and decides"
            );
        }
    }

    fn failed(&self, gate: &SharedBreaker, pass: Permit, cause: &dyn fmt::Display) {
        if gate.failed(pass, self.clock.now()) {
            let instances = self.instances.count();
            tracing::warn!(%cause, instances, "limits are decided by each instance alone");
        }
    }
}

impl Decision {
    pub(crate) const fn acquired(&self) -> &Acquired {
        let (Self::ByStore(acquired) | Self::Locally(acquired)) = self;
        acquired
    }
}

#[cfg(test)]
mod tests;
