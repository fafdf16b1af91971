//! A circuit breaker that many requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::breaker::{Breaker, Permit};
use crate::clock::Timestamp;

/// The breaker of one part of the store of limits.
#[derive(Debug)]
pub(super) struct SharedBreaker {
    breaker: Mutex<Breaker>,
    /// Whether the breaker is anything but calm. Looked at first, so that a store that is well costs
    /// no lock.
    troubled: AtomicBool,
}

impl SharedBreaker {
    pub(super) const fn new() -> Self {
        Self {
            breaker: Mutex::new(Breaker::CLOSED),
            troubled: AtomicBool::new(false),
        }
    }

    /// The leave to ask the store.
    pub(super) fn admit(&self, now: impl FnOnce() -> Timestamp) -> Option<Permit> {
        if !self.is_degraded() {
            return Some(Permit::Normal);
        }
        let mut pass = None;
        self.step(|breaker| {
            let (next, admitted) = breaker.admit(now());
            pass = admitted;
            next
        });
        pass
    }

    /// The store has answered; whether it is asked again from now on.
    pub(super) fn succeeded(&self, pass: Permit) -> bool {
        if !self.is_degraded() {
            return false;
        }
        let (before, after) = self.step(|breaker| breaker.succeeded(pass));
        !before.is_closed() && after.is_closed()
    }

    /// The store has not answered, or not in time; whether it is left alone from now on.
    pub(super) fn failed(&self, pass: Permit, now: Timestamp) -> bool {
        let (before, after) = self.step(|breaker| breaker.failed(pass, now));
        before.is_closed() && !after.is_closed()
    }

    /// Whether every request asks the store.
    pub(super) fn is_closed(&self) -> bool {
        !self.is_degraded() || self.step(|breaker| breaker).0.is_closed()
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Moves the breaker on: what it was, and what it is.
    fn step(&self, step: impl FnOnce(Breaker) -> Breaker) -> (Breaker, Breaker) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *breaker;
        *breaker = step(before);
        self.troubled
            .store(*breaker != Breaker::CLOSED, Ordering::Release);
        (before, *breaker)
    }
}
