//! A cache of the store's last rejections. While a rejection applies, the store is not called for
//! the same requests.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decide::{LimitStatus, status_after};
use super::spec::Algorithm;
use super::store::{Acquired, LimitRequest};
use crate::clock::Timestamp;
use crate::sharded::{Sharded, Slots};

/// The rejections of the last second, at most 4,096 at a time. They take less than 700 KiB with two
/// limits per endpoint.
///
/// Each rejection belongs to a set of 16 slots. If the set is full, a new rejection replaces the
/// one that expires first. The store is then called again for the requests of the replaced
/// rejection.
pub(super) struct RejectionCache {
    table: Sharded<Slots<Rejection>, 16>,
    /// The time at which the last cached rejection expires, in microseconds; 0 before the first
    /// rejection. Requests read this time before they lock the table, so that a service without
    /// rejections does no look-up.
    latest_expiry: AtomicU64,
}

/// One rejection.
#[derive(Debug, Clone, Default)]
struct Rejection {
    /// The time of the call to the store.
    asked_at: Timestamp,
    /// The time of the store's reply.
    answered_at: Timestamp,
    expires_at: Timestamp,
    statuses: Vec<LimitStatus>,
    /// The longest time for which the rejected request could wait for its turn.
    max_queue_wait: Duration,
}

/// The longest time for which a rejection is cached. It bounds the effect of changes in the store
/// that this instance cannot see, such as tokens that are given back.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The number of slots in each of the 16 shards.
const SLOTS_PER_SHARD: usize = 256;

impl RejectionCache {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(|| Slots::with_slots(SLOTS_PER_SHARD)),
            latest_expiry: AtomicU64::new(0),
        }
    }

    /// Returns `true` if the cache may have entries. Before the first rejection the clock is not
    /// read.
    pub(super) fn may_have_entries(&self, now: impl FnOnce() -> Timestamp) -> bool {
        // A relaxed load suffices, because the value is only a hint. An old value costs a look-up
        // or a call to the store.
        let latest_expiry = self.latest_expiry.load(Ordering::Relaxed);
        latest_expiry != 0 && now().as_micros() < latest_expiry
    }

    /// Caches the decision about requests, if they were rejected.
    pub(super) fn insert(
        &self,
        requests: &[LimitRequest<'_>],
        acquired: &Acquired,
        asked_at: Timestamp,
        answered_at: Timestamp,
    ) {
        let Some(rejection) = Rejection::from_rejected(requests, acquired, asked_at, answered_at)
        else {
            return;
        };
        let hash = self.table.hash(CacheKey(requests));
        self.latest_expiry
            .fetch_max(rejection.expires_at.as_micros(), Ordering::Relaxed);
        self.table
            .lock(hash)
            .insert(hash, rejection, |rejection| rejection.expires_at);
    }

    /// Returns the cached rejection of these requests as of `now`, or `None` if the cache has no
    /// valid rejection.
    pub(super) fn find(&self, requests: &[LimitRequest<'_>], now: Timestamp) -> Option<Acquired> {
        let hash = self.table.hash(CacheKey(requests));
        self.table.lock(hash).get(hash)?.replay(requests, now)
    }
}

/// The key of a rejection: the buckets and costs of its requests.
struct CacheKey<'a>(&'a [LimitRequest<'a>]);

impl Hash for CacheKey<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for request in self.0 {
            request.bucket.hash(hasher);
            request.cost.hash(hasher);
        }
    }
}

impl fmt::Debug for RejectionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectionCache").finish_non_exhaustive()
    }
}

impl Rejection {
    /// Returns the rejection of these requests, or `None` if they were admitted.
    ///
    /// The store decided at some time between the call and its reply. The expiry of the rejection
    /// counts from the call, so that no request is rejected for too long. The age of the status
    /// counts from the reply, so that `Retry-After` is never too short.
    fn from_rejected(
        requests: &[LimitRequest<'_>],
        acquired: &Acquired,
        asked_at: Timestamp,
        answered_at: Timestamp,
    ) -> Option<Self> {
        let max_queue_wait = requests.first()?.max_queue_wait;
        let wait = remaining_wait(requests, &acquired.statuses, max_queue_wait)
            .filter(|_| !acquired.admitted)?;
        let expires_at = asked_at.after(wait.min(MAX_AGE));
        Some(Self {
            asked_at,
            answered_at,
            expires_at,
            statuses: acquired.statuses.clone(),
            max_queue_wait,
        })
    }

    /// Returns the rejection as of now, or `None` if it has expired, or if the clock has stepped
    /// back to a time before the call.
    fn replay(&self, requests: &[LimitRequest<'_>], now: Timestamp) -> Option<Acquired> {
        let wait = remaining_wait(requests, &self.statuses, self.max_queue_wait)?;
        if now < self.asked_at || now >= self.expires_at.min(self.asked_at.after(wait)) {
            return None;
        }
        let elapsed = now.since(self.answered_at);
        let statuses = self.statuses.iter().zip(requests);
        let statuses =
            statuses.map(|(status, request)| status_after(*status, request.quota, elapsed));
        Some(Acquired {
            admitted: false,
            statuses: statuses.collect(),
        })
    }
}

/// Returns the time for which a rejection applies to these requests. `max_queue_wait` is the value
/// of the rejected request. If a new request can wait longer in the queue of a leaky bucket, the
/// rejection ends earlier by the difference of the two waits.
fn remaining_wait(
    requests: &[LimitRequest<'_>],
    statuses: &[LimitStatus],
    max_queue_wait: Duration,
) -> Option<Duration> {
    let enforced = requests
        .iter()
        .zip(statuses)
        .filter(|(request, _)| !request.shadow);
    let waits = enforced.filter_map(|(request, status)| {
        let has_queue = request.quota.algorithm() == Algorithm::LeakyBucket;
        let extra_wait = if has_queue {
            request.max_queue_wait.saturating_sub(max_queue_wait)
        } else {
            Duration::ZERO
        };
        Some(status.wait?.saturating_sub(extra_wait))
    });
    waits.max()
}

#[cfg(test)]
mod tests;
