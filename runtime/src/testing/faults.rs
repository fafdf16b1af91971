use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::policies::idempotency::{
    Begin, Begun, Complete, Completed, IdempotencyStore, Kept, Lease, RecordKey,
};
use crate::store::{StoreError, StoreFuture};

/// How a store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call never reaches the store.
    Lost,
    /// The store does what is asked, and its answer is lost.
    AnswerLost,
}

/// A store of records that fails on demand: for showing what a service does when its store does.
///
/// Faults wait in line for one method each; calls beyond them succeed.
#[derive(Debug, Clone)]
pub struct FaultyRecords<R> {
    inner: R,
    plan: Arc<Mutex<Vec<(&'static str, Fault)>>>,
    broken: Arc<AtomicBool>,
}

impl<R: IdempotencyStore> FaultyRecords<R> {
    /// A store that does what `inner` does.
    pub fn new(inner: R) -> Self {
        Self { inner, plan: Arc::default(), broken: Arc::default() }
    }

    /// Fails the next call of the method of this name, after those planned before.
    pub fn fail_next(&self, method: &'static str, fault: Fault) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push((method, fault));
    }

    /// Fails every call until it is called with `false`.
    pub fn break_down(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    fn fault(&self, method: &str) -> Option<Fault> {
        if self.broken.load(Ordering::SeqCst) {
            return Some(Fault::Lost);
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let index = plan.iter().position(|(planned, _)| *planned == method)?;
        Some(plan.remove(index).1)
    }

    fn call<'a, T: Send + Unpin + 'a>(
        &self,
        method: &str,
        call: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let lost = || Err(StoreError::Unavailable(String::from("a fault was planned")));
        match self.fault(method) {
            None => call(),
            Some(Fault::Lost) => StoreFuture::ready(lost()),
            Some(Fault::AnswerLost) => {
                let done = call();
                StoreFuture::later(async move { done.await.and_then(|_| lost()) })
            }
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for FaultyRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, Begun> {
        self.call("begin", || self.inner.begin(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.call("heartbeat", || self.inner.heartbeat(leases, lease))
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, Completed> {
        self.call("complete", || self.inner.complete(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.call("abort", || self.inner.abort(lease, marker))
    }

    fn resolve(&self, key: RecordKey, response: Option<Kept>, ttl: Duration) -> StoreFuture<'_, bool> {
        self.call("resolve", || self.inner.resolve(key, response, ttl))
    }
}
