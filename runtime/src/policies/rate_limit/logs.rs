use std::collections::{BTreeSet, HashMap, VecDeque};

use super::decide::BucketState;
use super::quota::Quota;
use super::store::LimitRequest;
use crate::clock::Timestamp;

/// The logs of all sliding windows. A log contains the times of its tokens. The total size of the
/// logs is bounded.
#[derive(Debug)]
pub(super) struct Logs {
    by_hash: HashMap<u64, Log>,
    /// The order in which logs are dropped: the `full_at` and the hash of each log.
    eviction_order: BTreeSet<(u64, u64)>,
    size: usize,
    max_size: usize,
}

#[derive(Debug, Default)]
struct Log {
    /// The times of the tokens in microseconds since 1970, sorted.
    times: VecDeque<u64>,
    /// The rank in the eviction order. Each request sets it to the current time plus one refill
    /// interval (`window / burst`) per token in the log. Logs with fewer or older tokens have a
    /// lower rank.
    full_at: u64,
    /// The time at which the last token leaves the window.
    ends_at: u64,
}

/// The memory that a log takes in addition to its tokens, in units of 8 bytes (one token).
const LOG_OVERHEAD: usize = 16;

/// The smallest bound on the size of the logs: the size of one log with the maximum number of
/// tokens.
#[expect(clippy::cast_possible_truncation, reason = "the value is ten thousand")]
const MIN_ENTRIES: usize = Quota::MAX_LOG as usize + LOG_OVERHEAD;

impl Logs {
    /// Creates logs with this bound on their total size. The bound is at least the size of the
    /// longest log.
    pub(super) fn with_max_size(max_size: usize) -> Self {
        Self {
            by_hash: HashMap::new(),
            eviction_order: BTreeSet::new(),
            size: 0,
            max_size: max_size.max(MIN_ENTRIES),
        }
    }

    /// Returns the state of a bucket for a request.
    pub(super) fn state(
        &mut self,
        hash: u64,
        request: &LimitRequest<'_>,
        now: Timestamp,
    ) -> BucketState {
        let (now, window) = (now.as_micros(), request.quota.window());
        let Some(log) = self.by_hash.get_mut(&hash) else {
            return BucketState::Log {
                used: 0,
                leaves: 0,
                room: 0,
            };
        };
        self.size -= log.remove_expired(now, window);
        let used = log.times.len() as u64;
        let leaves_in = |time: &u64| (time + window).saturating_sub(now);
        // A request that exceeds the limit by n tokens fits after the n oldest tokens have left the
        // window. `surplus` is n - 1, the index of the last of these tokens.
        let surplus = (used + request.cost).checked_sub(request.quota.burst() + 1);
        let blocking = surplus.and_then(|index| log.times.get(usize::try_from(index).ok()?));
        BucketState::Log {
            used: used.min(request.quota.burst()),
            leaves: log.times.back().map_or(0, leaves_in),
            room: blocking.map_or(0, leaves_in),
        }
    }

    /// Adds the tokens of a request to its log.
    pub(super) fn take(&mut self, hash: u64, request: &LimitRequest<'_>, now: Timestamp) {
        let (now, window) = (now.as_micros(), request.quota.window());
        let cost = usize::try_from(request.cost).unwrap_or(MIN_ENTRIES);
        let mut log = self.by_hash.remove(&hash).unwrap_or_else(|| {
            self.size += LOG_OVERHEAD;
            Log::default()
        });
        self.eviction_order.remove(&(log.full_at, hash));
        self.size += cost;
        // The decision about the request depends on its own log, so this log must not be dropped
        // here. It was removed from the map above, so only other logs can be dropped.
        self.make_room();
        log.times.extend(core::iter::repeat_n(now, cost));
        log.ends_at = now.saturating_add(window);
        log.full_at = now.saturating_add(window / request.quota.burst() * log.times.len() as u64);
        self.eviction_order.insert((log.full_at, hash));
        self.by_hash.insert(hash, log);
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns the number of tokens for which memory is allocated.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.by_hash.values().map(|log| log.times.capacity()).sum()
    }

    /// Returns the number of logs with tokens in their window.
    pub(super) fn active(&self, now: u64) -> usize {
        self.by_hash
            .values()
            .filter(|log| log.ends_at > now)
            .count()
    }

    /// Drops logs until their size is within the bound. The logs with the fewest and the oldest
    /// tokens are dropped first, so that a flood of new logs does not drop the logs of callers that
    /// have used up their tokens.
    fn make_room(&mut self) {
        while self.size > self.max_size
            && let Some((_, hash)) = self.eviction_order.pop_first()
        {
            let log = self.by_hash.remove(&hash);
            self.size -= log.map_or(0, |log| log.times.len() + LOG_OVERHEAD);
        }
    }
}

impl Log {
    /// Drops the tokens that have left the window, and returns their number. After the clock has
    /// stepped back, tokens can have a time in the future. These tokens get the current time.
    fn remove_expired(&mut self, now: u64, window: u64) -> usize {
        let expired = self.times.partition_point(|time| time + window <= now);
        self.times.drain(..expired);
        // The bound on the logs counts tokens, not allocated memory, so a log must not keep much
        // unused memory. When less than a quarter of its memory is in use, the memory shrinks to
        // twice the size of its tokens.
        if self.times.len() < self.times.capacity() / 4 {
            self.times.shrink_to(2 * self.times.len());
        }
        let first_future = self.times.partition_point(|time| *time <= now);
        self.times
            .range_mut(first_future..)
            .for_each(|time| *time = now);
        expired
    }
}
