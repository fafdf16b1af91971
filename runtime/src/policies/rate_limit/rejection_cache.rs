//! What the store has refused a moment ago: it would refuse the same again, and is not asked.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decide::{LimitStatus, after};
use super::spec::Algorithm;
use super::store::{Acquired, LimitRequest};
use crate::clock::Timestamp;
use crate::sharded::{Sharded, Slots};

/// Refusals that are remembered until they end, up to a second each and 4,096 at a time: less than 700 KiB
/// with two limits an endpoint.
///
/// Where a set has no place left, the refusal that ends soonest is forgotten, and the store is asked again.
pub(super) struct RejectionCache {
    table: Sharded<Slots<Rejection>, 16>,
    /// When all have ended, in microseconds; 0 before the first. Looked at first, so that who refuses
    /// nobody looks nothing up.
    over: AtomicU64,
}

/// A refusal.
#[derive(Debug, Clone, Default)]
struct Rejection {
    asked: Timestamp,
    answered: Timestamp,
    until: Timestamp,
    statuses: Vec<LimitStatus>,
    /// How long the refused request could have waited for its turn.
    patience: Duration,
}

/// The longest time in which the store is not asked.
const LONGEST: Duration = Duration::from_secs(1);

/// Places in each of the 16 parts of the table.
const PLACES: usize = 256;

impl RejectionCache {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(|| Slots::with_places(PLACES)),
            over: AtomicU64::new(0),
        }
    }

    /// Whether there can be any. Without a first refusal no clock is looked at.
    pub(super) fn any(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let over = self.over.load(Ordering::Relaxed);
        over != 0 && now().as_micros() < over
    }

    /// Remembers what came of claims, if they were refused.
    pub(super) fn insert(
        &self,
        claims: &[LimitRequest<'_>],
        acquired: &Acquired,
        asked: Timestamp,
        answered: Timestamp,
    ) {
        let Some(denial) = Rejection::of(claims, acquired, asked, answered) else {
            return;
        };
        let hash = self.table.hash(Asked(claims));
        self.over
            .fetch_max(denial.until.as_micros(), Ordering::Relaxed);
        self.table
            .lock(hash)
            .insert(hash, denial, |denial| denial.until);
    }

    /// What the store would say now of claims that it has refused.
    pub(super) fn find(&self, claims: &[LimitRequest<'_>], now: Timestamp) -> Option<Acquired> {
        let hash = self.table.hash(Asked(claims));
        self.table.lock(hash).get(hash)?.at(claims, now)
    }
}

/// Claims as the key of a refusal: their buckets and costs.
struct Asked<'a>(&'a [LimitRequest<'a>]);

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for claim in self.0 {
            claim.bucket.hash(hasher);
            claim.cost.hash(hasher);
        }
    }
}

impl fmt::Debug for RejectionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

impl Rejection {
    /// The refusal of claims; `None` where they were admitted.
    ///
    /// The store has decided between the question and the answer. The refusal ends with what it said
    /// to wait, counted from the question, so that nobody is refused too long, and is told as it was at
    /// the answer, so that nobody is told to come too early.
    fn of(
        claims: &[LimitRequest<'_>],
        acquired: &Acquired,
        asked: Timestamp,
        answered: Timestamp,
    ) -> Option<Self> {
        let patience = claims.first()?.max_queue_wait;
        let wait = wait(claims, &acquired.statuses, patience).filter(|_| !acquired.admitted)?;
        let until = asked.after(wait.min(LONGEST));
        Some(Self {
            asked,
            answered,
            until,
            statuses: acquired.statuses.clone(),
            patience,
        })
    }

    /// What is told of it now; `None` once it is over, and where the clock has stepped back behind it.
    fn at(&self, claims: &[LimitRequest<'_>], now: Timestamp) -> Option<Acquired> {
        let wait = wait(claims, &self.statuses, self.patience)?;
        if now < self.asked || now >= self.until.min(self.asked.after(wait)) {
            return None;
        }
        let elapsed = now.since(self.answered);
        let readings = self.statuses.iter().zip(claims);
        let readings = readings.map(|(reading, claim)| after(*reading, claim.quota, elapsed));
        Some(Acquired {
            admitted: false,
            statuses: readings.collect(),
        })
    }
}

/// How long claims that were refused are refused. Whoever can wait longer for a turn than `max_queue_wait`, with which they
/// were, is admitted so much sooner.
fn wait(
    claims: &[LimitRequest<'_>],
    readings: &[LimitStatus],
    patience: Duration,
) -> Option<Duration> {
    let enforced = claims
        .iter()
        .zip(readings)
        .filter(|(claim, _)| !claim.shadow);
    let waits = enforced.filter_map(|(claim, reading)| {
        let shapes = claim.quota.algorithm() == Algorithm::LeakyBucket;
        let longer = if shapes {
            claim.max_queue_wait.saturating_sub(patience)
        } else {
            Duration::ZERO
        };
        Some(reading.wait?.saturating_sub(longer))
    });
    waits.max()
}

#[cfg(test)]
mod tests;
