//! Tokens that an instance has taken ahead, so that most requests cost no trip.
//!
//! A batch is good for as long as its tokens take to come back, and a bucket from which batches are taken holds
//! as much less ([`Quota::reserve`](super::Quota)). So the worst case stays: within a period and the life of a batch before it, the bucket gives its
//! lessened burst, what comes back in the period, and what comes back in the life of a batch, which is burst and
//! limit.

use core::fmt;

use super::decide::{LimitStatus, State};
use super::store::{Acquired, LimitRequest};
use crate::clock::{Timestamp, micros};
use crate::sharded::{KeyHash, Sharded, Slots};

/// The batches of an instance, up to 65,536 at a time: about 6.5 MiB. Up to a quarter of that, no set is full.
///
/// Where a set has no place left, the batch that ends soonest is forgotten: it was taken from the bucket and admits
/// nobody any more.
pub(super) struct TokenBatches {
    table: Sharded<Slots<TokenBatch>, 16>,
}

/// Tokens of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TokenBatch {
    tokens: u64,
    /// How long they are good.
    until: Timestamp,
    /// What the store said when they were taken.
    status: LimitStatus,
    taken: Timestamp,
    /// Whether a request is on its way for the next ones.
    refilling: bool,
    /// Before that the store has no batch.
    next: Timestamp,
}

/// What a claim meets.
pub(super) enum Prefetched<'a> {
    /// Tokens that were there.
    Hit(Acquired),
    /// None, and nobody is on the way for a batch: whoever meets this goes.
    Refill(Refill<'a>),
    /// None, and no batch to be had: somebody is on the way for it, or the store had none a moment ago.
    Bypass,
}

/// The way to the store for a batch. Given up when dropped.
pub(super) struct Refill<'a> {
    batches: &'a TokenBatches,
    hash: KeyHash,
}

/// Places in each of the 16 parts of the table.
const PLACES: usize = 4_096;

impl TokenBatches {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(|| Slots::with_places(PLACES)),
        }
    }

    /// Takes what the claim costs from the tokens that are here.
    pub(super) fn take(&self, claim: &LimitRequest<'_>, now: Timestamp) -> Prefetched<'_> {
        let hash = self.table.hash(claim.bucket);
        let mut part = self.table.lock(hash);
        let batch = part.get_or_insert(hash, TokenBatch::none(now), TokenBatch::end);
        if let Some(reading) = batch.take(claim, now) {
            return Prefetched::Hit(Acquired {
                admitted: true,
                statuses: vec![reading],
            });
        }
        if batch.refilling || now < batch.next {
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
    fn none(now: Timestamp) -> Self {
        Self {
            tokens: 0,
            until: now,
            status: LimitStatus::default(),
            taken: now,
            refilling: false,
            next: now,
        }
    }

    /// When the batch is good for nothing any more.
    fn end(&self) -> Timestamp {
        self.until
    }

    /// What is left after the claim has taken what it costs, if there is enough.
    fn take(&mut self, claim: &LimitRequest<'_>, now: Timestamp) -> Option<LimitStatus> {
        if now >= self.until || now < self.taken {
            return None;
        }
        self.tokens = self.tokens.checked_sub(claim.cost)?;
        let full_in = self.status.resets_in.saturating_sub(now.since(self.taken));
        Some(LimitStatus {
            remaining: self.status.remaining + self.tokens,
            resets_in: full_in,
            ..LimitStatus::default()
        })
    }
}

impl Refill<'_> {
    /// Brings the batch; `asked` is when the store was asked for it.
    pub(super) fn store(
        self,
        claim: &LimitRequest<'_>,
        batch: u64,
        told: LimitStatus,
        asked: Timestamp,
    ) -> Acquired {
        let until = asked.after(claim.quota.time_of(batch));
        let with_batch = LimitStatus {
            remaining: told.remaining + batch,
            ..told
        };
        let batch = TokenBatch {
            tokens: batch,
            until,
            status: told,
            taken: asked,
            refilling: false,
            next: asked,
        };
        self.batches
            .table
            .lock(self.hash)
            .insert(self.hash, batch, TokenBatch::end);
        Acquired {
            admitted: true,
            statuses: vec![with_batch],
        }
    }

    /// Notes that the store has no batch, and gives what it would say of the claim alone.
    pub(super) fn without(
        self,
        claim: &LimitRequest<'_>,
        told: LimitStatus,
        now: Timestamp,
    ) -> LimitStatus {
        if let Some(own) = self.batches.table.lock(self.hash).get_mut(self.hash) {
            own.next = now.after(told.wait.unwrap_or_default());
        }
        claim.decide(State::Ahead(micros(told.resets_in)))
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
