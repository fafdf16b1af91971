use core::future::pending;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    RecordState, StoredResponse,
};
use crate::policies::rate_limit::{Acquired, LimitRequest, LimitStore};
use crate::store::{StoreError, StoreFuture};

/// How a store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call never reaches the store.
    Lost,
    /// The store does what is asked, and its answer is lost.
    AnswerLost,
    /// A [`begin`](IdempotencyStore::begin) has no answer, and reaches the store behind the next
    /// [`abort`](IdempotencyStore::abort). What else is asked is lost.
    Late,
}

/// What is asked of a store of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOperation {
    /// [`IdempotencyStore::begin`].
    Begin,
    /// [`IdempotencyStore::heartbeat`].
    Heartbeat,
    /// [`IdempotencyStore::complete`].
    Complete,
    /// [`IdempotencyStore::abort`].
    Abort,
    /// [`IdempotencyStore::mark_unknown`].
    MarkUnknown,
    /// [`IdempotencyStore::find`].
    Find,
    /// [`IdempotencyStore::resolve`].
    Resolve,
}

/// A store of records that fails on demand: for showing what a service does when its store does.
///
/// Planned faults wait for calls of their operation; calls beyond them succeed.
#[derive(Debug, Clone)]
pub struct FaultyRecords<R> {
    inner: R,
    plan: Arc<Mutex<Vec<(StoreOperation, Fault)>>>,
    late: Arc<Mutex<Vec<Begin>>>,
    arrived: Arc<Notify>,
    broken: Arc<AtomicBool>,
}

impl<R: IdempotencyStore> FaultyRecords<R> {
    /// A store that does what `inner` does.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            plan: Arc::default(),
            late: Arc::default(),
            arrived: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// Waits until what was [late](Fault::Late) has reached the store.
    pub async fn until_late(&self) {
        self.arrived.notified().await;
    }

    /// Fails the next call of this operation, after those planned before.
    pub fn fail_next(&self, operation: StoreOperation, fault: Fault) {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((operation, fault));
    }

    /// Fails every call until it is called with `false`.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    async fn abort_and_begin_late(&self, lease: Lease, marker: Duration) -> Result<(), StoreError> {
        self.inner.abort(lease, marker).await?;
        let late = core::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for begin in late {
            self.inner.begin(&begin).await?;
            self.arrived.notify_one();
        }
        Ok(())
    }

    fn is_next(&self, operation: StoreOperation, fault: Fault) -> bool {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.iter().find(|(planned, _)| *planned == operation) == Some(&(operation, fault))
    }

    fn fault(&self, operation: StoreOperation) -> Option<Fault> {
        if self.broken.load(Ordering::SeqCst) {
            return Some(Fault::Lost);
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let index = plan.iter().position(|(planned, _)| *planned == operation)?;
        Some(plan.remove(index).1)
    }

    fn call<'a, T: Send + Unpin + 'a>(
        &self,
        operation: StoreOperation,
        call: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let lost = || Err(StoreError::Unavailable(String::from("a fault was planned")));
        match self.fault(operation) {
            None => call(),
            Some(Fault::Lost | Fault::Late) => StoreFuture::ready(lost()),
            Some(Fault::AnswerLost) => {
                let done = call();
                StoreFuture::later(async move { done.await.and_then(|_| lost()) })
            }
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for FaultyRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        if self.is_next(StoreOperation::Begin, Fault::Late) {
            self.late
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(begin.clone());
        }
        self.call(StoreOperation::Begin, || self.inner.begin(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.call(StoreOperation::Heartbeat, || {
            self.inner.heartbeat(leases, lease)
        })
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        self.call(StoreOperation::Complete, || self.inner.complete(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.call(StoreOperation::Abort, || {
            StoreFuture::later(self.abort_and_begin_late(lease, marker))
        })
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        self.call(StoreOperation::MarkUnknown, || {
            self.inner.mark_unknown(lease, ttl)
        })
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        self.call(StoreOperation::Find, || self.inner.find(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        self.call(StoreOperation::Resolve, || {
            self.inner.resolve(key, response, ttl)
        })
    }
}

/// A store of limits that fails, or does not answer, while it is told to.
#[derive(Debug, Clone)]
pub struct FaultyLimits<L> {
    inner: L,
    broken: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
}

impl<L: LimitStore> FaultyLimits<L> {
    /// A store that does what `inner` does.
    pub fn new(inner: L) -> Self {
        Self {
            inner,
            broken: Arc::default(),
            hanging: Arc::default(),
        }
    }

    /// Fails every call until it is called with `false`.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Leaves every call without an answer until it is called with `false`; those that were left by
    /// then never get one.
    pub fn hang(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }
}

impl<L: LimitStore> LimitStore for FaultyLimits<L> {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        if self.broken.load(Ordering::SeqCst) {
            return StoreFuture::ready(Err(StoreError::Unavailable(String::from(
                "it was told to fail",
            ))));
        }
        if self.hanging.load(Ordering::SeqCst) {
            return StoreFuture::later(pending());
        }
        self.inner.acquire(claims)
    }
}
