//! The client of the rate limit store. It stops calling a failing store (circuit breakers), and
//! decides by itself while the store is down. Cached rejections and prefetched tokens save calls.

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
use crate::request::with_timeout;

/// A client that calls the rate limit store, and decides by itself if the store does not reply in
/// time.
#[derive(Debug)]
pub(crate) struct LimitClient {
    store: Arc<dyn LimitStore>,
    local: MemoryLimits,
    instances: Instances,
    clock: Arc<dyn Clock>,
    /// One breaker for each part of the store, so that a failed part does not affect the others.
    breakers: [SharedBreaker; PARTS],
    /// The number of requests that this instance has decided by itself during the current outage.
    /// Relaxed atomics suffice, because the number is only logged.
    decided_locally: AtomicU64,
    /// The last rejections of the store.
    rejections: RejectionCache,
    batches: TokenBatches,
}

/// The decision about a request, by the store or by this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Decided by the store, for all instances.
    ByStore(Acquired),
    /// Decided by this instance, by its share of the limits.
    Locally(Acquired),
}

/// The number of breakers. If a store has more parts, such as a cluster of more than 16 nodes,
/// several parts share a breaker.
const PARTS: usize = 16;

/// The longest time for which a request waits for a reply of the store. A healthy store replies
/// within a few milliseconds, and limits should not delay a request much longer than that.
const STORE_TIMEOUT: Duration = Duration::from_millis(250);

/// The cause in the log if the store does not decide and this instance must not decide.
const NOT_DECIDED: &str = "the rate limit store did not decide, and a limit has `on_error = deny`";

/// The maximum number of buckets for local decisions. A full table takes 1 MiB, without the logs of
/// sliding windows.
const MAX_LOCAL_BUCKETS: usize = 1 << 16;

impl LimitClient {
    /// Creates a client of a store that `instances` share.
    pub(crate) fn new(store: Arc<dyn LimitStore>, instances: Instances) -> Self {
        Self::with_clock(Arc::new(SystemClock::new()), store, instances)
    }

    fn with_clock(clock: Arc<dyn Clock>, store: Arc<dyn LimitStore>, instances: Instances) -> Self {
        Self {
            store,
            local: MemoryLimits::with_capacity(MAX_LOCAL_BUCKETS, Arc::clone(&clock)),
            instances,
            clock,
            breakers: [const { SharedBreaker::new() }; PARTS],
            decided_locally: AtomicU64::new(0),
            rejections: RejectionCache::new(),
            batches: TokenBatches::new(),
        }
    }

    /// Takes the tokens of all requests, or of none.
    ///
    /// # Errors
    ///
    /// Fails if a bucket is unreadable, or if the store does not decide and `on_error` forbids a
    /// local decision.
    pub(crate) async fn acquire(
        &self,
        requests: &[LimitRequest<'_>],
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        let breaker = self.breaker_of(requests);
        let answer = match breaker.acquire_permit(|| self.clock.now()) {
            Some(permit) => self.call_store(breaker, permit, requests).await?,
            None => None,
        };
        answer.map_or_else(
            || self.decide_without_store(requests, on_error),
            |acquired| Ok(Decision::ByStore(acquired)),
        )
    }

    /// Decides about requests if the store did not decide.
    fn decide_without_store(
        &self,
        requests: &[LimitRequest<'_>],
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        match on_error {
            OnError::Local => Ok(Decision::Locally(self.decide_locally(requests))),
            // `NotExecuted` means that no record has begun, so the caller does not have to abort a
            // record.
            OnError::Deny => Err(StoreError::NotExecuted(String::from(NOT_DECIDED))),
        }
    }

    /// Takes the tokens of one request from the prefetched tokens of this instance. If there are
    /// too few, takes the tokens from the store, together with a new batch of `batch` tokens.
    pub(crate) async fn acquire_prefetched(
        &self,
        request: &LimitRequest<'_>,
        batch: u64,
        on_error: OnError,
    ) -> Result<Decision, StoreError> {
        if self.store.is_in_process() {
            return self.acquire(&[*request], on_error).await;
        }
        let asked_at = self.clock.now();
        let refill = match self.batches.take(request, asked_at) {
            Prefetched::Hit(acquired) => return Ok(Decision::ByStore(acquired)),
            Prefetched::Bypass => return self.acquire(&[*request], on_error).await,
            Prefetched::Refill(refill) => refill,
        };
        let breaker = self.breaker_of(&[*request]);
        let answer = match breaker.acquire_permit(|| self.clock.now()) {
            Some(permit) => {
                self.call_store(
                    breaker,
                    permit,
                    &[LimitRequest {
                        cost: request.cost + batch,
                        ..*request
                    }],
                )
                .await?
            }
            None => None,
        };
        match answer {
            Some(Acquired {
                admitted: true,
                statuses,
            }) => Ok(Decision::ByStore(refill.fill(
                request,
                batch,
                statuses[0],
                asked_at,
            ))),
            Some(Acquired { statuses, .. }) => {
                let now = self.clock.now();
                let status = refill.defer(request, statuses[0], now);
                // The bucket has too few tokens for a batch, but enough for this request.
                if status.wait.is_none() {
                    return self.acquire(&[*request], on_error).await;
                }
                let rejected = Acquired {
                    admitted: false,
                    statuses: vec![status],
                };
                self.rejections
                    .insert(&[*request], &rejected, asked_at, now);
                Ok(Decision::ByStore(rejected))
            }
            None => self.decide_without_store(&[*request], on_error),
        }
    }

    /// Takes the tokens with `call`. This call to the store also has a second effect, such as
    /// beginning an idempotency record. Returns the decision and the result of the second effect.
    /// The second result is `None` if the limits reject the request, or if the decision does not
    /// come from `call`.
    ///
    /// The call has no timeout here. A caller that stopped waiting would not know whether the
    /// second effect happened.
    ///
    /// # Errors
    ///
    /// Fails in the same cases as [`acquire`](Self::acquire). Also fails if `call` fails with an
    /// error other than [`StoreError::Full`].
    pub(crate) async fn acquire_with<T>(
        &self,
        requests: &[LimitRequest<'_>],
        on_error: OnError,
        call: impl Future<Output = Result<(Acquired, Option<T>), StoreError>>,
    ) -> Result<(Decision, Option<T>), StoreError> {
        let breaker = self.breaker_of(requests);
        if !breaker.is_closed() {
            return self
                .acquire(requests, on_error)
                .await
                .map(|decision| (decision, None));
        }
        let (started, asked_at) = (Instant::now(), self.clock.now());
        let answer = call.await;
        self.report_outcome(breaker, answer.as_ref().err(), started.elapsed());
        match answer {
            Ok((acquired, found)) => {
                if !acquired.admitted {
                    self.rejections
                        .insert(requests, &acquired, asked_at, self.clock.now());
                }
                Ok((Decision::ByStore(acquired), found))
            }
            // A full store has changed nothing, so the instance can decide the limits. The record
            // is then begun in a separate call.
            Err(StoreError::Full) => self
                .decide_without_store(requests, on_error)
                .map(|decision| (decision, None)),
            Err(error) => Err(error),
        }
    }

    /// Takes the tokens from an in-memory store, which decides immediately. Any other store is not
    /// called, and the result is `None`. The result is also `None` if the store fails:
    /// [`acquire`](Self::acquire) then handles the error.
    pub(crate) fn acquire_in_process(&self, requests: &[LimitRequest<'_>]) -> Option<Acquired> {
        if self.store.is_in_process() {
            self.store.acquire(requests).try_ready().ok()?.ok()
        } else {
            None
        }
    }

    /// Returns `true` if the cache may have a rejection that still applies.
    pub(crate) fn may_have_rejections(&self) -> bool {
        self.rejections.may_have_entries(|| self.clock.now())
    }

    /// Returns the cached rejection of these requests, if the store has rejected them within the
    /// last second.
    pub(crate) fn cached_rejection(&self, requests: &[LimitRequest<'_>]) -> Option<Acquired> {
        self.rejections.find(requests, self.clock.now())
    }

    /// Returns the clock by which this instance decides.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Calls the store. Returns `None` if the store does not reply in time or fails.
    async fn call_store(
        &self,
        breaker: &SharedBreaker,
        permit: Permit,
        requests: &[LimitRequest<'_>],
    ) -> Result<Option<Acquired>, StoreError> {
        let answer = self.store.acquire(requests);
        // If the future is ready, the store is in memory. Its rejections are not cached, because a
        // call to it needs no network.
        let asked_at = (!answer.is_ready()).then(|| self.clock.now());
        match with_timeout(STORE_TIMEOUT, answer).await {
            None => self.report_failure(
                breaker,
                permit,
                &format_args!("no answer within {STORE_TIMEOUT:?}"),
            ),
            Some(Err(error)) if !error.is_malformed() => {
                self.report_failure(breaker, permit, &error);
            }
            Some(answer) => {
                self.report_success(breaker, permit);
                if let (Some(asked_at), Ok(acquired)) = (asked_at, &answer) {
                    self.rejections
                        .insert(requests, acquired, asked_at, self.clock.now());
                }
                return answer.map(Some);
            }
        }
        Ok(None)
    }

    /// Reports the outcome of a combined call to the breaker. A late reply counts as a failure.
    fn report_outcome(
        &self,
        breaker: &SharedBreaker,
        error: Option<&StoreError>,
        elapsed: Duration,
    ) {
        match error {
            Some(error) if !error.is_malformed() => {
                self.report_failure(breaker, Permit::Normal, error);
            }
            _ if elapsed > STORE_TIMEOUT => {
                self.report_failure(
                    breaker,
                    Permit::Normal,
                    &format_args!("an answer after {elapsed:?}"),
                );
            }
            _ => self.report_success(breaker, Permit::Normal),
        }
    }

    /// Decides by this instance's share of the limits.
    fn decide_locally(&self, requests: &[LimitRequest<'_>]) -> Acquired {
        self.decided_locally.fetch_add(1, Ordering::Relaxed);
        let instances = self.instances.count();
        let per_instance = |request: &LimitRequest<'_>| {
            request
                .quota
                .per_instance(instances, request.max_cost.max(request.cost))
        };
        let requests: Vec<_> = requests
            .iter()
            .map(|request| LimitRequest {
                quota: per_instance(request),
                ..*request
            })
            .collect();
        self.local.take(&requests)
    }

    /// Returns the breaker of the part of the store that decides these requests.
    fn breaker_of(&self, requests: &[LimitRequest<'_>]) -> &SharedBreaker {
        &self.breakers[self.store.part(requests) % PARTS]
    }

    fn report_success(&self, breaker: &SharedBreaker, permit: Permit) {
        if breaker.record_success(permit) {
            let decided_locally = self.decided_locally.swap(0, Ordering::Relaxed);
            tracing::info!(
                decided_locally,
                "the rate limit store answers again and decides the limits"
            );
        }
    }

    fn report_failure(&self, breaker: &SharedBreaker, permit: Permit, cause: &dyn fmt::Display) {
        if breaker.record_failure(permit, self.clock.now()) {
            let instances = self.instances.count();
            tracing::warn!(%cause, instances, "the rate limit store fails: each instance decides its share of the limits");
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
