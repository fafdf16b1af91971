//! The bounds of runs: how many runs the process and one caller may have at the same time.
//!
//! A run continues if its client disconnects. Without these bounds, a client could send requests
//! with keys, disconnect immediately, and repeat this: the number of running handlers would grow
//! without limit. A [`RunPermit`] counts a run until its record is settled, with or without its
//! client.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::request::Parts;

use crate::client::{TrustedProxies, peer, rate_limit_prefix};
use crate::clock::{Clock, SystemClock};
use crate::log_throttle::LogThrottle;
use crate::problem::Problem;
use crate::request::Caller;
use crate::sharded::{KeyHash, Sharded};

/// The largest numbers of simultaneous runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxRuns {
    pub(crate) process: u32,
    pub(crate) per_caller: u32,
}

/// The runs of an API in this process, and their bounds.
pub(crate) struct RunBounds {
    max: MaxRuns,
    proxies: TrustedProxies,
    /// The number of all permits. No other memory depends on the number, so relaxed atomics
    /// suffice.
    running: AtomicU32,
    /// The callers that have at least one permit. The part of a caller depends on a random secret,
    /// so no client can choose callers that all belong to one part.
    by_caller: Sharded<Vec<CallerRuns>, SHARDS>,
    clock: SystemClock,
    process_refusals: LogThrottle,
    caller_refusals: LogThrottle,
}

/// The number of permits of one caller.
struct CallerRuns {
    owner: KeyHash,
    runs: u32,
}

/// The number of parts of the table of callers, each with its own lock. A part is a list, because a
/// search in a short list takes half the instructions of a hash table. With the default bound of
/// 1,000 runs, a part has four callers on average, if each of them has one run.
const SHARDS: usize = 256;

/// The time between two log lines about refused requests. A client that is refused can send
/// thousands of requests per second.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The client whose runs share a bound.
enum RunOwner<'a> {
    Caller(&'a Caller),
    /// A client without a caller. An IPv6 address represents its /64 network.
    Address(IpAddr),
    /// All clients without a caller whose address is unknown.
    Unknown,
}

/// A permit for one run. The run counts until the permit is dropped.
#[must_use = "a run without its permit is not counted"]
pub(crate) struct RunPermit {
    bounds: Arc<RunBounds>,
    owner: KeyHash,
}

impl RunBounds {
    pub(crate) fn new(max: MaxRuns, proxies: TrustedProxies) -> Self {
        Self {
            max,
            proxies,
            running: AtomicU32::new(0),
            by_caller: Sharded::new(Vec::new),
            clock: SystemClock::new(),
            process_refusals: LogThrottle::new(LOG_INTERVAL),
            caller_refusals: LogThrottle::new(LOG_INTERVAL),
        }
    }

    /// Refuses a request whose run would exceed a bound now. Takes no permit, so
    /// [`acquire`](Self::acquire) can still refuse the request later.
    pub(crate) fn check(&self, caller: Option<&Caller>, head: &Parts) -> Result<(), Problem> {
        let running = self.running.load(Ordering::Relaxed);
        // With fewer runs in the process than one caller may have, no bound is reached. This is the
        // usual case, and needs no look-up of the caller.
        if running < self.max.process.min(self.max.per_caller) {
            return Ok(());
        }
        if running >= self.max.process {
            return Err(self.refuse_for_process());
        }
        let owner = self.owner(caller, head);
        let callers = self.by_caller.lock(owner);
        let is_full =
            |caller: &CallerRuns| caller.owner == owner && caller.runs >= self.max.per_caller;
        if callers.iter().any(is_full) {
            drop(callers);
            return Err(self.refuse_for_caller());
        }
        Ok(())
    }

    /// Takes the permit for one run, or refuses the run.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        caller: Option<&Caller>,
        head: &Parts,
    ) -> Result<RunPermit, Problem> {
        let owner = self.owner(caller, head);
        // The caller is counted first. So the refusals of a caller at its bound never change the
        // number of the process, and cause no refusals of other callers.
        if !self.count_for_caller(owner) {
            return Err(self.refuse_for_caller());
        }
        let count = |running: u32| (running < self.max.process).then(|| running + 1);
        if self
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .is_err()
        {
            self.release_for_caller(owner);
            return Err(self.refuse_for_process());
        }
        Ok(RunPermit {
            bounds: Arc::clone(self),
            owner,
        })
    }

    fn owner(&self, caller: Option<&Caller>, head: &Parts) -> KeyHash {
        let owner = match caller {
            Some(caller) => RunOwner::Caller(caller),
            None => self
                .address(head)
                .map_or(RunOwner::Unknown, RunOwner::Address),
        };
        self.by_caller.hash(owner)
    }

    /// Returns the client address, if the server provides the address of the peer. An IPv6 address
    /// is the one of its /64 network.
    pub(crate) fn address(&self, head: &Parts) -> Option<IpAddr> {
        let peer = peer(&head.extensions)?;
        Some(rate_limit_prefix(self.proxies.client(peer, &head.headers)))
    }

    /// Counts a run of a caller. Returns `false` if the caller is at its bound.
    fn count_for_caller(&self, owner: KeyHash) -> bool {
        let mut callers = self.by_caller.lock(owner);
        match callers.iter_mut().find(|caller| caller.owner == owner) {
            Some(caller) => {
                let fits = caller.runs < self.max.per_caller;
                caller.runs += u32::from(fits);
                fits
            }
            None => {
                callers.push(CallerRuns { owner, runs: 1 });
                true
            }
        }
    }

    /// Removes a run of a caller. A caller without runs takes no memory.
    fn release_for_caller(&self, owner: KeyHash) {
        let mut callers = self.by_caller.lock(owner);
        if let Some(index) = callers.iter().position(|caller| caller.owner == owner) {
            callers[index].runs -= 1;
            if callers[index].runs == 0 {
                callers.swap_remove(index);
            }
        }
    }

    #[cold]
    fn refuse_for_process(&self) -> Problem {
        if let Some(requests) = self.process_refusals.add(self.clock.now()) {
            tracing::warn!(
                requests,
                max_runs = self.max.process,
                "requests with an idempotency key were refused, because the process has \
                 APLOMB_MAX_RUNS runs"
            );
        }
        Problem::overloaded()
    }

    #[cold]
    fn refuse_for_caller(&self) -> Problem {
        if let Some(requests) = self.caller_refusals.add(self.clock.now()) {
            tracing::warn!(
                requests,
                max_runs_per_caller = self.max.per_caller,
                "requests with an idempotency key were refused, because their caller has \
                 APLOMB_MAX_RUNS_PER_CALLER runs"
            );
        }
        Problem::overloaded()
    }
}

/// Hashes fewer bytes than a derived implementation, because this function runs for every request
/// with a key. Each kind of owner ends with another byte, so owners of different kinds have
/// different hash inputs. The text of a caller ends with 0xff.
impl Hash for RunOwner<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Unknown => state.write_u8(0),
            Self::Address(IpAddr::V4(address)) => {
                state.write_u32(address.to_bits());
                state.write_u8(1);
            }
            Self::Address(IpAddr::V6(address)) => {
                state.write_u128(address.to_bits());
                state.write_u8(2);
            }
            Self::Caller(caller) => caller.hash(state),
        }
    }
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        self.bounds.running.fetch_sub(1, Ordering::Relaxed);
        self.bounds.release_for_caller(self.owner);
    }
}

impl fmt::Debug for RunBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunBounds")
            .field("max", &self.max)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RunPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunPermit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
