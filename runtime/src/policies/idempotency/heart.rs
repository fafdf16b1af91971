//! Renewing the leases of running requests, from a thread of its own: handlers that block the
//! runtime do not stop it. A run that takes longer than the longest is written off as UNKNOWN.

use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::store::{IdempotencyStore, Lease, Token};
use crate::store::StoreError;

/// Beats for every run that is held, until it is dropped.
#[derive(Debug)]
pub(crate) struct Heart {
    beats: Arc<Beats>,
}

#[derive(Debug)]
struct Beats {
    state: Mutex<State>,
    wake: Condvar,
    lease: Duration,
    max_run: Duration,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Token, Beat>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    since: Instant,
    lease: Lease,
    /// How long the record stays UNKNOWN if the run takes too long.
    ttl: Duration,
}

/// Keeps one run's lease renewed while it lives.
#[derive(Debug)]
pub(crate) struct Guard {
    beats: Arc<Beats>,
    token: Token,
}

impl Heart {
    /// Starts the thread. It beats every third of a `lease`, for each run up to `max_run`.
    pub(crate) fn start(
        store: Arc<dyn IdempotencyStore>,
        lease: Duration,
        max_run: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let beats = Arc::new(Beats { state: Mutex::default(), wake: Condvar::new(), lease, max_run });
        let thread_beats = Arc::clone(&beats);
        thread::Builder::new().name(String::from("aplomb-heartbeat")).spawn(move || {
            while thread_beats.wait() {
                let leases = thread_beats.leases();
                if !leases.is_empty() {
                    let answer = runtime.block_on(store.heartbeat(&leases, lease));
                    thread_beats.note(&leases, answer);
                }
                for hung in thread_beats.hung() {
                    match runtime.block_on(store.write_off(hung.lease, hung.ttl)) {
                        Ok(written) => thread_beats.write_off(hung.lease, written),
                        // It beats on, so that nobody runs beside it, and is written off later.
                        Err(error) => tracing::warn!(%error, "a hung request could not be written off"),
                    }
                }
            }
        })?;
        Ok(Self { beats })
    }

    /// Beats for a run until the guard is dropped; if that takes too long, the record is UNKNOWN
    /// for `ttl`.
    pub(crate) fn hold(&self, lease: Lease, ttl: Duration) -> Guard {
        self.beats.state().held.insert(lease.token, Beat { since: Instant::now(), lease, ttl });
        Guard { beats: Arc::clone(&self.beats), token: lease.token }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.beats.state().stopped = true;
        self.beats.wake.notify_all();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.beats.state().held.remove(&self.token);
    }
}

impl Beats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next beat; `false` once the heart is dropped.
    fn wait(&self) -> bool {
        let going = |state: &mut State| !state.stopped;
        let waited = self.wake.wait_timeout_while(self.state(), self.lease / 3, going);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// The runs that take too long.
    fn hung(&self) -> Vec<Beat> {
        let hung = |beat: &&Beat| beat.since.elapsed() >= self.max_run;
        self.state().held.values().filter(hung).copied().collect()
    }

    /// A run that was settled meanwhile is not written off.
    fn write_off(&self, lease: Lease, written: bool) {
        self.state().held.remove(&lease.token);
        if written {
            tracing::warn!(record = %lease.key, "a request runs for too long: its outcome is unknown");
        }
    }

    fn leases(&self) -> Vec<Lease> {
        self.state().held.values().map(|beat| beat.lease).collect()
    }

    fn note(&self, leases: &[Lease], answer: Result<Vec<bool>, StoreError>) {
        match answer {
            Err(error) => tracing::warn!(%error, "leases of running requests could not be renewed"),
            Ok(renewed) => {
                let lost = leases.iter().zip(renewed).filter(|(_, renewed)| !renewed);
                for (lease, _) in lost {
                    // A run that has ended since the beat began has no lease to lose.
                    if self.state().held.remove(&lease.token).is_some() {
                        tracing::warn!(record = %lease.key, "the lease of a running request is lost");
                    }
                }
            }
        }
    }
}
