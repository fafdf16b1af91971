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

/// A failure of a store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails and does not reach the store.
    Lost,
    /// The call reaches the store, but its result is lost, so the caller gets an error.
    ReplyLost,
    /// A [`begin`](IdempotencyStore::begin) fails, and reaches the store only after the next
    /// [`abort`](IdempotencyStore::abort). For other operations this is the same as
    /// [`Lost`](Self::Lost).
    Late,
}

/// A method of [`IdempotencyStore`].
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

/// An [`IdempotencyStore`] that fails on demand, to test a service whose store fails. Clones share
/// their planned faults.
///
/// Each planned fault fails one call of its operation. Other calls reach the store. A failed call
/// returns [`StoreError::Unavailable`].
///
/// ```
/// use std::sync::Arc;
/// use aplomb::store::MemoryRecords;
/// use aplomb::testing::{Fault, FaultyRecords, StoreOperation, TestClock};
///
/// let clock = Arc::new(TestClock::new());
/// let records = FaultyRecords::new(MemoryRecords::with_bounds(1_000, 1 << 20, clock));
/// // The next run stores its response, but the service does not get the confirmation.
/// records.fail_next(StoreOperation::Complete, Fault::ReplyLost);
/// ```
#[derive(Debug, Clone)]
pub struct FaultyRecords<R> {
    inner: R,
    planned: Arc<Mutex<Vec<(StoreOperation, Fault)>>>,
    late_begins: Arc<Mutex<Vec<Begin>>>,
    late_begin_arrived: Arc<Notify>,
    broken: Arc<AtomicBool>,
}

impl<R: IdempotencyStore> FaultyRecords<R> {
    /// Creates a store that passes its calls to `inner`.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            planned: Arc::default(),
            late_begins: Arc::default(),
            late_begin_arrived: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// Waits until a [late](Fault::Late) begin has reached the store.
    pub async fn until_late(&self) {
        self.late_begin_arrived.notified().await;
    }

    /// Plans a fault for the next call of this operation that has no planned fault yet.
    pub fn fail_next(&self, operation: StoreOperation, fault: Fault) {
        self.planned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((operation, fault));
    }

    /// With `true`, every call fails until `set_broken(false)`.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    async fn abort_and_begin_late(&self, lease: Lease, marker: Duration) -> Result<(), StoreError> {
        self.inner.abort(lease, marker).await?;
        let late_begins = core::mem::take(
            &mut *self
                .late_begins
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for begin in late_begins {
            self.inner.begin(&begin).await?;
            self.late_begin_arrived.notify_one();
        }
        Ok(())
    }

    fn is_planned_next(&self, operation: StoreOperation, fault: Fault) -> bool {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        planned.iter().find(|(planned, _)| *planned == operation) == Some(&(operation, fault))
    }

    fn take_fault(&self, operation: StoreOperation) -> Option<Fault> {
        if self.broken.load(Ordering::SeqCst) {
            return Some(Fault::Lost);
        }
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let index = planned
            .iter()
            .position(|(planned, _)| *planned == operation)?;
        Some(planned.remove(index).1)
    }

    fn call<'a, T: Send + Unpin + 'a>(
        &self,
        operation: StoreOperation,
        call: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let unavailable = || {
            Err(StoreError::Unavailable(String::from(
                "a planned fault of `FaultyRecords`",
            )))
        };
        match self.take_fault(operation) {
            None => call(),
            Some(Fault::Lost | Fault::Late) => StoreFuture::ready(unavailable()),
            Some(Fault::ReplyLost) => {
                let result = call();
                StoreFuture::later(async move { result.await.and_then(|_| unavailable()) })
            }
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for FaultyRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        // The planned fault is read before `call`, because `call` removes it.
        if self.is_planned_next(StoreOperation::Begin, Fault::Late) {
            self.late_begins
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

/// A [`LimitStore`] that fails or hangs on demand. Clones share these settings.
#[derive(Debug, Clone)]
pub struct FaultyLimits<L> {
    inner: L,
    broken: Arc<AtomicBool>,
    hanging: Arc<AtomicBool>,
}

impl<L: LimitStore> FaultyLimits<L> {
    /// Creates a store that passes its calls to `inner`.
    pub fn new(inner: L) -> Self {
        Self {
            inner,
            broken: Arc::default(),
            hanging: Arc::default(),
        }
    }

    /// With `true`, every call fails until `set_broken(false)`.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// With `true`, every call hangs until `hang(false)`. Calls that already hang never return.
    pub fn hang(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }
}

impl<L: LimitStore> LimitStore for FaultyLimits<L> {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        if self.broken.load(Ordering::SeqCst) {
            return StoreFuture::ready(Err(StoreError::Unavailable(String::from(
                "`FaultyLimits` is broken",
            ))));
        }
        if self.hanging.load(Ordering::SeqCst) {
            return StoreFuture::later(pending());
        }
        self.inner.acquire(requests)
    }
}
