use std::collections::{BTreeSet, HashMap, VecDeque};

use super::decide::State;
use super::quota::Quota;
use super::store::LimitRequest;
use crate::clock::Timestamp;

/// The logs of sliding windows: the moments of their tokens, within a bound.
#[derive(Debug)]
pub(super) struct Logs {
    by_hash: HashMap<u64, Log>,
    /// The logs in the order in which they make room.
    order: BTreeSet<(u64, u64)>,
    size: usize,
    bound: usize,
}

#[derive(Debug, Default)]
struct Log {
    /// Microseconds since 1970, in their order.
    moments: VecDeque<u64>,
    /// When a bucket of which as much was taken would be full again: as it stands in the order.
    full: u64,
    /// When the last moment leaves.
    end: u64,
}

/// What a log takes besides its moments, in as many moments.
const LOG_OVERHEAD: usize = 16;

/// The least bound: of the longest log.
#[expect(clippy::cast_possible_truncation, reason = "ten thousand")]
const MIN_ENTRIES: usize = Quota::MAX_LOG as usize + LOG_OVERHEAD;

impl Logs {
    /// Logs of so many moments together, or as many as the longest log has.
    pub(super) fn with_bound(bound: usize) -> Self {
        Self {
            by_hash: HashMap::new(),
            order: BTreeSet::new(),
            size: 0,
            bound: bound.max(MIN_ENTRIES),
        }
    }

    /// What the claim meets.
    pub(super) fn state(&mut self, hash: u64, claim: &LimitRequest<'_>, now: Timestamp) -> State {
        let (now, window) = (now.as_micros(), claim.quota.window());
        let Some(log) = self.by_hash.get_mut(&hash) else {
            return State::Log {
                used: 0,
                leaves: 0,
                room: 0,
            };
        };
        self.size -= log.remove_expired(now, window);
        let used = log.moments.len() as u64;
        let leaves = |moment: &u64| (moment + window).saturating_sub(now);
        let surplus = (used + claim.cost).checked_sub(claim.quota.burst() + 1);
        let blocking = surplus.and_then(|index| log.moments.get(usize::try_from(index).ok()?));
        State::Log {
            used: used.min(claim.quota.burst()),
            leaves: log.moments.back().map_or(0, leaves),
            room: blocking.map_or(0, leaves),
        }
    }

    /// Takes what the claim costs.
    pub(super) fn take(&mut self, hash: u64, claim: &LimitRequest<'_>, now: Timestamp) {
        let (now, window) = (now.as_micros(), claim.quota.window());
        let cost = usize::try_from(claim.cost).unwrap_or(MIN_ENTRIES);
        let mut log = self.by_hash.remove(&hash).unwrap_or_else(|| {
            self.size += LOG_OVERHEAD;
            Log::default()
        });
        self.order.remove(&(log.full, hash));
        self.size += cost;
        // Its own tokens are what the claim was decided by: others make room for them.
        self.make_room();
        log.moments.extend(core::iter::repeat_n(now, cost));
        log.end = now.saturating_add(window);
        log.full = now.saturating_add(window / claim.quota.burst() * log.moments.len() as u64);
        self.order.insert((log.full, hash));
        self.by_hash.insert(hash, log);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Moments for which there is room.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.by_hash
            .values()
            .map(|log| log.moments.capacity())
            .sum()
    }

    /// How many logs have tokens that have not left yet.
    pub(super) fn active(&self, now: u64) -> usize {
        self.by_hash.values().filter(|log| log.end > now).count()
    }

    /// Forgets logs until the bound is kept: first those of which the least was taken, or the longest ago, so that
    /// many new ones do not make those forgotten that have used up their tokens.
    fn make_room(&mut self) {
        while self.size > self.bound
            && let Some((_, hash)) = self.order.pop_first()
        {
            let log = self.by_hash.remove(&hash);
            self.size -= log.map_or(0, |log| log.moments.len() + LOG_OVERHEAD);
        }
    }
}

impl Log {
    /// Drops the moments that have left the window, and says how many. One that is still to come (the clock
    /// stepped back) counts as now.
    fn remove_expired(&mut self, now: u64, window: u64) -> usize {
        let left = self
            .moments
            .partition_point(|moment| moment + window <= now);
        self.moments.drain(..left);
        // What a rush has needed is given back after it: the bound counts moments, and not the room for them.
        if self.moments.len() < self.moments.capacity() / 4 {
            self.moments.shrink_to(2 * self.moments.len());
        }
        let first_late = self.moments.partition_point(|moment| *moment <= now);
        self.moments
            .range_mut(first_late..)
            .for_each(|moment| *moment = now);
        left
    }
}
