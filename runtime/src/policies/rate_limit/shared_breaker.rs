//! A circuit breaker that many requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::breaker::{Breaker, Permit};
use crate::clock::Timestamp;

/// The breaker of one part of the rate limit store.
#[derive(Debug)]
pub(super) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Whether the breaker is in any state but [`Breaker::CLOSED`]. Read before the lock, so that
    /// requests to a healthy store take no lock.
    degraded: AtomicBool,
}

impl SharedBreaker {
    pub(super) const fn new() -> Self {
        Self {
            breaker: Mutex::new(Breaker::CLOSED),
            degraded: AtomicBool::new(false),
        }
    }

    /// Returns the permit, if the request may call the store.
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

    /// Records an answer of the store. Returns whether the breaker has closed by it.
    pub(super) fn record_success(&self, permit: Permit) -> bool {
        if !self.is_degraded() {
            return false;
        }
        let (before, after) = self.transition(|breaker| breaker.on_success(permit));
        !before.is_closed() && after.is_closed()
    }

    /// Records a failure of the store. Returns whether the breaker has opened by it.
    pub(super) fn record_failure(&self, permit: Permit, now: Timestamp) -> bool {
        let (before, after) = self.transition(|breaker| breaker.on_failure(permit, now));
        before.is_closed() && !after.is_closed()
    }

    /// Returns whether every request calls the store.
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
        // Stored under the lock, so that the flag follows the order of the transitions. A request
        // that reads an old value calls the store once more, or takes the lock for nothing.
        self.degraded
            .store(*breaker != Breaker::CLOSED, Ordering::Release);
        (before, *breaker)
    }
}
