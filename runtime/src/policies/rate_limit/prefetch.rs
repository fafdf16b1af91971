//! Tokens that an instance takes in advance, so that most requests need no call to the store.
//!
//! A batch expires after the time in which its tokens refill, and its bucket holds one batch less
//! ([`Quota::reserve`](super::Quota)). So at most burst + limit tokens pass in any period, as
//! without prefetching. The tokens that pass in a period were taken from the bucket during the
//! period, or before it by at most the lifetime of a batch. In the period and that lifetime
//! together, the bucket provides at most
//!
//! - its reserved burst, which is the burst minus one batch;
//! - the tokens that refill in the period, which are the limit;
//! - the tokens that refill in the lifetime of a batch, which are one batch.

use core::fmt;

use super::decide::{BucketState, LimitStatus};
use super::store::{Acquired, LimitRequest};
use crate::clock::{Timestamp, micros};
use crate::sharded::{KeyHash, Sharded, Slots};

/// The batches of an instance, up to 65,536 at a time in about 6.5 MiB. Each batch belongs to a set
/// of 16 slots. Practically no set is full while the instance has fewer than 16,384 batches, a
/// quarter of the maximum.
///
/// If a set is full, the batch that expires first is dropped. Its tokens are lost, because they
/// were already taken from the bucket.
pub(super) struct TokenBatches {
    table: Sharded<Slots<TokenBatch>, 16>,
}

/// The prefetched tokens of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TokenBatch {
    tokens: u64,
    /// The time at which the tokens expire.
    expires_at: Timestamp,
    /// The status that the store returned with the tokens.
    status: LimitStatus,
    /// The time of the call to the store.
    taken_at: Timestamp,
    /// Set while a request fetches the next batch.
    refilling: bool,
    /// The time before which the store has too few tokens for a batch.
    retry_at: Timestamp,
}

/// The result of taking tokens from the batches.
pub(super) enum Prefetched<'a> {
    /// The batch had enough tokens.
    Hit(Acquired),
    /// The batch has too few tokens. The caller fetches the next batch.
    Refill(Refill<'a>),
    /// The batch has too few tokens, and the next batch is not available: another request is
    /// fetching it, or the store had too few tokens a moment ago. The caller takes only its own
    /// tokens from the store.
    Bypass,
}

/// The fetch of a batch. At most one fetch runs per bucket. When the `Refill` is dropped, another
/// request can start a fetch.
pub(super) struct Refill<'a> {
    batches: &'a TokenBatches,
    hash: KeyHash,
}

/// The number of slots in each of the 16 shards.
const SLOTS_PER_SHARD: usize = 4_096;

impl TokenBatches {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(|| Slots::with_slots(SLOTS_PER_SHARD)),
        }
    }

    /// Takes the tokens of a request from the batch of its bucket.
    pub(super) fn take(&self, request: &LimitRequest<'_>, now: Timestamp) -> Prefetched<'_> {
        let hash = self.table.hash(request.bucket);
        let mut shard = self.table.lock(hash);
        let batch = shard.get_or_insert(hash, TokenBatch::empty(now), TokenBatch::rank);
        if let Some(status) = batch.take(request, now) {
            return Prefetched::Hit(Acquired {
                admitted: true,
                statuses: vec![status],
            });
        }
        // The flag is checked and set under the lock of the shard, so that only one request fetches
        // the batch.
        if batch.refilling || now < batch.retry_at {
            return Prefetched::Bypass;
        }
        batch.refilling = true;
        Prefetched::Refill(Refill {
            batches: self,
            hash,
        })
    }
}

impl fmt::Debug for TokenBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBatches").finish_non_exhaustive()
    }
}

impl TokenBatch {
    fn empty(now: Timestamp) -> Self {
        Self {
            tokens: 0,
            expires_at: now,
            status: LimitStatus::default(),
            taken_at: now,
            refilling: false,
            retry_at: now,
        }
    }

    /// Returns the rank in the table: the batch that expires first is dropped first.
    fn rank(&self) -> Timestamp {
        self.expires_at
    }

    /// Takes the tokens of a request. Returns the new status, or `None` if the batch has too few
    /// tokens.
    fn take(&mut self, request: &LimitRequest<'_>, now: Timestamp) -> Option<LimitStatus> {
        // If `now` is before the call to the store, the clock has stepped back. The remaining
        // lifetime of the tokens is then unknown, so the tokens are not used.
        if now >= self.expires_at || now < self.taken_at {
            return None;
        }
        self.tokens = self.tokens.checked_sub(request.cost)?;
        let resets_in = self
            .status
            .resets_in
            .saturating_sub(now.since(self.taken_at));
        Some(LimitStatus {
            remaining: self.status.remaining + self.tokens,
            resets_in,
            ..LimitStatus::default()
        })
    }
}

impl Refill<'_> {
    /// Stores the fetched batch. `asked_at` is the time of the call to the store.
    pub(super) fn fill(
        self,
        request: &LimitRequest<'_>,
        batch: u64,
        status: LimitStatus,
        asked_at: Timestamp,
    ) -> Acquired {
        let expires_at = asked_at.after(request.quota.refill_time(batch));
        let with_batch = LimitStatus {
            remaining: status.remaining + batch,
            ..status
        };
        let batch = TokenBatch {
            tokens: batch,
            expires_at,
            status,
            taken_at: asked_at,
            refilling: false,
            retry_at: asked_at,
        };
        // The batch is stored before `self` is dropped, because the drop lets the next fetch start.
        self.batches
            .table
            .lock(self.hash)
            .insert(self.hash, batch, TokenBatch::rank);
        Acquired {
            admitted: true,
            statuses: vec![with_batch],
        }
    }

    /// Records that the store has too few tokens for a batch. Returns the status of the request
    /// without a batch.
    pub(super) fn defer(
        self,
        request: &LimitRequest<'_>,
        status: LimitStatus,
        now: Timestamp,
    ) -> LimitStatus {
        if let Some(entry) = self.batches.table.lock(self.hash).get_mut(self.hash) {
            entry.retry_at = now.after(status.wait.unwrap_or_default());
        }
        request.decide(BucketState::Ahead(micros(status.resets_in)))
    }
}

impl Drop for Refill<'_> {
    fn drop(&mut self) {
        if let Some(batch) = self.batches.table.lock(self.hash).get_mut(self.hash) {
            batch.refilling = false;
        }
    }
}

#[cfg(test)]
mod tests;
