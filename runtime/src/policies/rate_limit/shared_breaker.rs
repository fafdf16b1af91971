//! A circuit breaker that many requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::breaker::{Breaker, Permit};
use crate::clock::Timestamp;

/// The breaker of one part of the rate limit store.
#[derive(Debug)]
pub(super) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Set if the breaker is in any state other than [`Breaker::CLOSED`]. The flag is read before
    /// the lock is taken, so that requests to a healthy store take no lock.
    degraded: AtomicBool,
}

impl SharedBreaker {
    pub(super) const fn new() -> Self {
        Self {
            breaker: Mutex::new(Breaker::CLOSED),
            degraded: AtomicBool::new(false),
        }
    }

    /// Returns a permit if the request may call the store.
    pub(super) fn acquire_permit(&self, now: impl FnOnce() -> Timestamp) -> Option<Permit> {
        if !self.is_degraded() {
            return Some(Permit::Normal);
        }
        let mut permit = None;
        self.transition(|breaker| {
            let (next, acquired) = breaker.acquire_permit(now());
            permit = acquired;
            next
        });
        permit
    }

    /// Records a reply of the store. Returns `true` if this reply closed the breaker.
    pub(super) fn record_success(&self, permit: Permit) -> bool {
        if !self.is_degraded() {
            return false;
        }
        let (before, after) = self.transition(|breaker| breaker.on_success(permit));
        !before.is_closed() && after.is_closed()
    }

    /// Records a failure of the store. Returns `true` if this failure opened the breaker.
    pub(super) fn record_failure(&self, permit: Permit, now: Timestamp) -> bool {
        let (before, after) = self.transition(|breaker| breaker.on_failure(permit, now));
        before.is_closed() && !after.is_closed()
    }

    /// Returns `true` if every request calls the store.
    pub(super) fn is_closed(&self) -> bool {
        !self.is_degraded() || self.transition(|breaker| breaker).0.is_closed()
    }

    fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Acquire)
    }

    /// Applies a transition. Returns the states before and after it.
    fn transition(&self, next: impl FnOnce(Breaker) -> Breaker) -> (Breaker, Breaker) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *breaker;
        *breaker = next(before);
        // The flag is stored under the lock, so that it changes in the order of the transitions. A
        // request that reads an old value makes an unnecessary call to the store, or takes the lock
        // unnecessarily.
        self.degraded
            .store(*breaker != Breaker::CLOSED, Ordering::Release);
        (before, *breaker)
    }
}
