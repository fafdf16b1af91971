use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::policies::rate_limit::{Claim, Quota, State};

/// The logs of sliding windows: the moments of their tokens, within a bound.
#[derive(Debug)]
pub(super) struct Logs {
    by_hash: HashMap<u64, Log>,
    /// The logs by the moment at which the last of their tokens leaves.
    ends: BTreeSet<(u64, u64)>,
    size: usize,
    bound: usize,
}

#[derive(Debug, Default)]
struct Log {
    /// Microseconds since 1970, in their order.
    moments: VecDeque<u64>,
    /// As it stands in `ends`; 0 if it does not.
    end: u64,
}

/// What a log takes besides its moments, in as many moments.
const OVERHEAD: usize = 16;

/// The least bound: of the longest log.
#[expect(clippy::cast_possible_truncation, reason = "ten thousand")]
const LEAST: usize = Quota::LONGEST_LOG as usize + OVERHEAD;

impl Logs {
    /// Logs of so many moments together, or as many as the longest log has.
    pub(super) fn with_bound(bound: usize) -> Self {
        Self { by_hash: HashMap::new(), ends: BTreeSet::new(), size: 0, bound: bound.max(LEAST) }
    }

    /// What the claim meets.
    pub(super) fn state(&mut self, hash: u64, claim: &Claim<'_>, now: Timestamp) -> State {
        let (now, window) = (now.as_micros(), claim.quota.window());
        let Some(log) = self.by_hash.get_mut(&hash) else {
            return State::Log { used: 0, leaves: 0, room: 0 };
        };
        self.size -= log.forget(now, window);
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
    pub(super) fn take(&mut self, hash: u64, claim: &Claim<'_>, now: Timestamp) {
        let cost = usize::try_from(claim.cost).unwrap_or(LEAST);
        let mut log = self.by_hash.remove(&hash).unwrap_or_else(|| {
            self.size += OVERHEAD;
            Log::default()
        });
        self.ends.remove(&(log.end, hash));
        self.size += cost;
        // Its own tokens are what the claim was decided by: others make room for them.
        self.make_room(now);
        log.moments.extend(core::iter::repeat_n(now.as_micros(), cost));
        log.end = now.as_micros().saturating_add(claim.quota.window());
        self.ends.insert((log.end, hash));
        self.by_hash.insert(hash, log);
    }

    /// How many logs have tokens that have not left yet.
    pub(super) fn active(&self, now: u64) -> usize {
        self.ends.range((now + 1, 0)..).count()
    }

    /// Forgets the logs that are idle; then, until the bound is kept, the one that is idle next. What another
    /// has counted then is lost.
    fn make_room(&mut self, now: Timestamp) {
        while let Some((end, hash)) = self.ends.first().copied() {
            if end > now.as_micros() && self.size <= self.bound {
                return;
            }
            self.ends.remove(&(end, hash));
            let log = self.by_hash.remove(&hash);
            self.size -= log.map_or(0, |log| log.moments.len() + OVERHEAD);
        }
    }
}

impl Log {
    /// Drops the moments that have left the window, and says how many. One that is still to come (the clock
    /// stepped back) counts as now.
    fn forget(&mut self, now: u64, window: u64) -> usize {
        let left = self.moments.partition_point(|moment| moment + window <= now);
        self.moments.drain(..left);
        let first_late = self.moments.partition_point(|moment| *moment <= now);
        self.moments.range_mut(first_late..).for_each(|moment| *moment = now);
        left
    }
}
