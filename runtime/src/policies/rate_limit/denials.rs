//! What the store has refused a moment ago: it would refuse the same again, and is not asked.

use core::fmt;
use core::hash::{BuildHasher, Hash, Hasher};
use core::time::Duration;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::decide::{Reading, aged};
use super::spec::Algorithm;
use super::store::{Acquired, Claim};
use crate::clock::Timestamp;

/// Refusals that are remembered until they end, up to a second each and 4,096 at a time: less than 700 KiB
/// with two limits an endpoint.
///
/// A refusal's place is found by a keyed 64-bit hash of its claims among the 16 places of its set. Where
/// all are taken, the one that ends soonest is forgotten, and the store is asked again.
pub(super) struct Denials {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// When all have ended, in microseconds; 0 before the first. Looked at first, so that who refuses
    /// nobody looks nothing up.
    over: AtomicU64,
}

/// Places of refusals, set after set; none before the first refusal.
type Shard = Vec<Option<(u64, Denial)>>;

/// A refusal.
#[derive(Debug, Clone)]
struct Denial {
    asked: Timestamp,
    answered: Timestamp,
    until: Timestamp,
    readings: Vec<Reading>,
    /// How long the refused request could have waited for its turn.
    patience: Duration,
}

/// The longest time in which the store is not asked.
const LONGEST: Duration = Duration::from_secs(1);

const SHARDS: usize = 16;
const SETS: usize = 16;
const WAYS: usize = 16;

impl Denials {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), over: AtomicU64::new(0) }
    }

    /// Whether there can be any. Without a first refusal no clock is looked at.
    pub(super) fn any(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let over = self.over.load(Ordering::Relaxed);
        over != 0 && now().as_micros() < over
    }

    /// Remembers what came of claims, if they were refused.
    pub(super) fn note(
        &self,
        claims: &[Claim<'_>],
        acquired: &Acquired,
        asked: Timestamp,
        answered: Timestamp,
    ) {
        let Some(denial) = Denial::of(claims, acquired, asked, answered) else { return };
        let hash = self.hash(claims);
        self.over.fetch_max(denial.until.as_micros(), Ordering::Relaxed);
        let mut shard = self.shard(hash);
        if shard.is_empty() {
            shard.resize(SETS * WAYS, None);
        }
        put(&mut shard[set(hash)], hash, denial);
    }

    /// What the store would say now of claims that it has refused.
    pub(super) fn find(&self, claims: &[Claim<'_>], now: Timestamp) -> Option<Acquired> {
        let hash = self.hash(claims);
        let shard = self.shard(hash);
        let (_, denial) = shard.get(set(hash))?.iter().flatten().find(|(other, _)| *other == hash)?;
        denial.at(claims, now)
    }

    fn hash(&self, claims: &[Claim<'_>]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for claim in claims {
            claim.bucket.hash(&mut hasher);
            claim.cost.hash(&mut hasher);
        }
        hasher.finish()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

/// Where a hash can stand in its shard.
fn set(hash: u64) -> core::ops::Range<usize> {
    let start = usize::try_from(hash / SHARDS as u64 % SETS as u64).unwrap_or(0) * WAYS;
    start..start + WAYS
}

/// In its own place, else in a free one, else in that of the one that ends soonest.
fn put(set: &mut [Option<(u64, Denial)>], hash: u64, denial: Denial) {
    let own = set.iter().position(|place| matches!(place, Some((other, _)) if *other == hash));
    let end = |place: &Option<(u64, Denial)>| place.as_ref().map(|(_, denial)| denial.until);
    let soonest = || (0..set.len()).min_by_key(|way| end(&set[*way])).expect("a set has places");
    let way = own.unwrap_or_else(soonest);
    set[way] = Some((hash, denial));
}

impl Denial {
    /// The refusal of claims; `None` where they were admitted.
    ///
    /// The store has decided between the question and the answer. The refusal ends with what it said
    /// to wait, counted from the question, so that nobody is refused too long, and is told as it was at
    /// the answer, so that nobody is told to come too early.
    fn of(claims: &[Claim<'_>], acquired: &Acquired, asked: Timestamp, answered: Timestamp) -> Option<Self> {
        let patience = claims.first()?.patience;
        let wait = wait(claims, &acquired.readings, patience).filter(|_| !acquired.admitted)?;
        let until = asked.after(wait.min(LONGEST));
        Some(Self { asked, answered, until, readings: acquired.readings.clone(), patience })
    }

    /// What is told of it now; `None` once it is over, and where the clock has stepped back behind it.
    fn at(&self, claims: &[Claim<'_>], now: Timestamp) -> Option<Acquired> {
        let wait = wait(claims, &self.readings, self.patience)?;
        if now < self.asked || now >= self.until.min(self.asked.after(wait)) {
            return None;
        }
        let elapsed = now.since(self.answered);
        let readings = self.readings.iter().zip(claims);
        let readings = readings.map(|(reading, claim)| aged(*reading, claim.quota, elapsed));
        Some(Acquired { admitted: false, readings: readings.collect() })
    }
}

/// How long claims that were refused are refused. Whoever can wait longer for a turn than `patience`, with which they
/// were, is admitted so much sooner.
fn wait(claims: &[Claim<'_>], readings: &[Reading], patience: Duration) -> Option<Duration> {
    let enforced = claims.iter().zip(readings).filter(|(claim, _)| !claim.shadow);
    let waits = enforced.filter_map(|(claim, reading)| {
        let shapes = claim.quota.algorithm() == Algorithm::LeakyBucket;
        let longer = if shapes { claim.patience.saturating_sub(patience) } else { Duration::ZERO };
        Some(reading.wait?.saturating_sub(longer))
    });
    waits.max()
}

#[cfg(test)]
mod tests;
