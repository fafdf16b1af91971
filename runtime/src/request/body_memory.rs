//! The memory of request bodies, bounded over all connections.
//!
//! The body limit bounds one request. Without a bound over all connections, many clients that each
//! send most of a large body and then wait could use up the memory of the process.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::log_throttle::LogThrottle;

/// The memory that all request bodies of an API may use together.
///
/// The first [`SMALL`] bytes of each body are counted separately, so that ordinary requests pass
/// while other clients send large bodies. All bytes are counted when they arrive. The announced
/// length is not counted: otherwise a client could reserve memory without sending anything.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// The limit of each count.
    limit: u64,
    /// The first bytes of the bodies that are arriving.
    small: AtomicU64,
    /// All other bytes, until their memory is free.
    large: AtomicU64,
    clock: SystemClock,
    refusals: LogThrottle,
}

/// The number of bytes of each body that are counted separately: 16 KiB.
pub(crate) const SMALL: usize = 16 << 10;

/// The memory of a part that is kept separately, in addition to its bytes: an allocation and its
/// place in a list.
const PART_OVERHEAD: usize = 64;

/// The time between two log lines about refused bodies.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl BodyMemory {
    /// The default limit in bytes: 128 MiB.
    pub(crate) const DEFAULT_LIMIT: u64 = 128 << 20;

    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            small: AtomicU64::new(0),
            large: AtomicU64::new(0),
            clock: SystemClock::new(),
            refusals: LogThrottle::new(LOG_INTERVAL),
        }
    }

    // No other memory depends on a counter, so any memory ordering is correct.
    fn try_take(&self, counter: &AtomicU64, bytes: u64) -> Result<(), MemoryUsedUp> {
        if bytes == 0 {
            return Ok(());
        }
        let add = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.limit);
        let taken = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(drop).map_err(|_| {
            self.log_refusal();
            MemoryUsedUp
        })
    }

    #[cold]
    fn log_refusal(&self) {
        if let Some(requests) = self.refusals.add(self.clock.now()) {
            tracing::warn!(
                requests,
                body_memory = self.limit,
                "requests were refused, because bodies use up APLOMB_BODY_MEMORY"
            );
        }
    }
}

/// The part of the [`BodyMemory`] that one body uses. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct BodyShare {
    memory: Arc<BodyMemory>,
    received: u64,
    small: u64,
    large: u64,
}

impl BodyShare {
    /// Returns an empty share.
    #[inline]
    pub(crate) fn new(memory: &Arc<BodyMemory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            received: 0,
            small: 0,
            large: 0,
        }
    }

    /// Adds a part of the body that has arrived.
    ///
    /// # Errors
    ///
    /// Fails if the memory is used up.
    #[inline]
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), MemoryUsedUp> {
        self.received = self.received.saturating_add(bytes as u64);
        let small = self.received.min(SMALL as u64);
        let large = self.received - small;
        let memory = &*self.memory;
        memory.try_take(&memory.small, small - self.small)?;
        self.small = small;
        memory.try_take(&memory.large, large - self.large)?;
        self.large = large;
        Ok(())
    }

    /// Adds the memory of a part that is kept separately, in addition to its bytes.
    ///
    /// # Errors
    ///
    /// Fails if the memory is used up.
    pub(crate) fn add_part(&mut self, bytes: usize) -> Result<(), MemoryUsedUp> {
        self.add(bytes + PART_OVERHEAD)
    }

    /// Returns the number of bytes that have arrived.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Returns `true` if the body is small, so that its share ends when it has arrived.
    pub(crate) const fn is_small(&self) -> bool {
        self.large == 0
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.small > 0 {
            self.memory.small.fetch_sub(self.small, Ordering::Relaxed);
        }
        if self.large > 0 {
            self.memory.large.fetch_sub(self.large, Ordering::Relaxed);
        }
    }
}

/// The error for a body for which no memory is left.
#[derive(Debug)]
pub(crate) struct MemoryUsedUp;

impl fmt::Display for MemoryUsedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory for request bodies (APLOMB_BODY_MEMORY) is used up")
    }
}

impl std::error::Error for MemoryUsedUp {}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(memory: &BodyMemory) -> u64 {
        memory.large.load(Ordering::Relaxed)
    }

    #[test]
    fn the_first_bytes_of_all_bodies_are_bounded_as_well() {
        let memory = Arc::new(BodyMemory::new(3 * SMALL as u64));
        let mut shares: Vec<_> = (0..4).map(|_| BodyShare::new(&memory)).collect();
        for share in &mut shares[..3] {
            share.add(SMALL).expect("room");
        }
        assert!(shares[3].add(1).is_err());
        assert_eq!(used(&memory), 0);
        shares.remove(0);
        shares[2].add(SMALL).expect("room for the bytes given back");
        drop(shares);
        assert_eq!(memory.small.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_share_grows_with_the_bytes_that_arrive_after_the_first_ones() {
        let memory = Arc::new(BodyMemory::new(100_000));
        let mut share = BodyShare::new(&memory);
        for (bytes, expected) in [(SMALL - 1, 0), (1, 0), (1, 1), (0, 1), (99, 100)] {
            share.add(bytes).expect("room");
            assert_eq!(used(&memory), expected);
        }
        drop(share);
        assert_eq!(used(&memory), 0);
    }

    #[test]
    fn shares_together_reach_the_limit_but_do_not_exceed_it() {
        let memory = Arc::new(BodyMemory::new(100_000));
        let (mut one, mut other) = (BodyShare::new(&memory), BodyShare::new(&memory));
        one.add(SMALL + 40_000).expect("room");
        assert!(other.add(SMALL + 60_001).is_err());
        assert_eq!(used(&memory), 40_000);
        let mut other = BodyShare::new(&memory);
        other
            .add(SMALL + 60_000)
            .expect("room for exactly the rest");
        assert!(one.add(1).is_err());
        let mut small = BodyShare::new(&memory);
        small
            .add(SMALL)
            .expect("the first bytes are counted separately");
        drop(one);
        assert_eq!(used(&memory), 60_000);
        small.add(40_000).expect("room for the bytes given back");
    }
}
