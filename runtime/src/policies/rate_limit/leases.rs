//! Tokens that an instance has taken ahead, so that most requests cost no trip.
//!
//! A batch is good for as long as its tokens take to come back, and a bucket from which batches are taken holds
//! as much less ([`Quota::lessened`](super::Quota)). So the worst case stays: within a period and the life of a batch before it, the bucket gives its
//! lessened burst, what comes back in the period, and what comes back in the life of a batch, which is burst and
//! limit.

use core::fmt;

use super::decide::{Reading, State};
use super::store::{Acquired, Claim};
use crate::clock::{Timestamp, micros};
use crate::sharded::{KeyHash, Sharded, Slots};

/// The batches of an instance, up to 65,536 at a time: about 6.5 MiB. Up to a quarter of that, no set is full.
///
/// Where a set has no place left, the batch that ends soonest is forgotten: it was taken from the bucket and admits
/// nobody any more.
pub(super) struct Leases {
    table: Sharded<Slots<Batch>, 16>,
}

/// Tokens of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Batch {
    tokens: u64,
    /// How long they are good.
    until: Timestamp,
    /// What the store said when they were taken.
    told: Reading,
    taken: Timestamp,
    /// Whether a request is on its way for the next ones.
    refilling: bool,
    /// Before that the store has no batch.
    next: Timestamp,
}

/// What a claim meets.
pub(super) enum Taken<'a> {
    /// Tokens that were there.
    Here(Acquired),
    /// None, and nobody is on the way for a batch: whoever meets this goes.
    Go(Errand<'a>),
    /// None, and no batch to be had: somebody is on the way for it, or the store had none a moment ago.
    Alone,
}

/// The way to the store for a batch. Given up when dropped.
pub(super) struct Errand<'a> {
    leases: &'a Leases,
    hash: KeyHash,
}

/// Places in each of the 16 parts of the table.
const PLACES: usize = 4_096;

impl Leases {
    pub(super) fn new() -> Self {
        Self {
            table: Sharded::new(|| Slots::with_places(PLACES)),
        }
    }

    /// Takes what the claim costs from the tokens that are here.
    pub(super) fn take(&self, claim: &Claim<'_>, now: Timestamp) -> Taken<'_> {
        let hash = self.table.hash(claim.bucket);
        let mut part = self.table.lock(hash);
        let batch = part.get_or_insert(hash, Batch::none(now), Batch::end);
        if let Some(reading) = batch.take(claim, now) {
            return Taken::Here(Acquired {
                admitted: true,
                readings: vec![reading],
            });
        }
        if batch.refilling || now < batch.next {
            return Taken::Alone;
        }
        batch.refilling = true;
        Taken::Go(Errand { leases: self, hash })
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

impl Batch {
    fn none(now: Timestamp) -> Self {
        Self {
            tokens: 0,
            until: now,
            told: Reading::default(),
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
    fn take(&mut self, claim: &Claim<'_>, now: Timestamp) -> Option<Reading> {
        if now >= self.until || now < self.taken {
            return None;
        }
        self.tokens = self.tokens.checked_sub(claim.cost)?;
        let full_in = self.told.full_in.saturating_sub(now.since(self.taken));
        Some(Reading {
            remaining: self.told.remaining + self.tokens,
            full_in,
            ..Reading::default()
        })
    }
}

impl Errand<'_> {
    /// Brings the batch; `asked` is when the store was asked for it.
    pub(super) fn bring(
        self,
        claim: &Claim<'_>,
        batch: u64,
        told: Reading,
        asked: Timestamp,
    ) -> Acquired {
        let until = asked.after(claim.quota.time_of(batch));
        let with_batch = Reading {
            remaining: told.remaining + batch,
            ..told
        };
        let batch = Batch {
            tokens: batch,
            until,
            told,
            taken: asked,
            refilling: false,
            next: asked,
        };
        self.leases
            .table
            .lock(self.hash)
            .insert(self.hash, batch, Batch::end);
        Acquired {
            admitted: true,
            readings: vec![with_batch],
        }
    }

    /// Notes that the store has no batch, and gives what it would say of the claim alone.
    pub(super) fn without(self, claim: &Claim<'_>, told: Reading, now: Timestamp) -> Reading {
        if let Some(own) = self.leases.table.lock(self.hash).get_mut(self.hash) {
            own.next = now.after(told.wait.unwrap_or_default());
        }
        claim.decide(State::Ahead(micros(told.full_in)))
    }
}

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        if let Some(batch) = self.leases.table.lock(self.hash).get_mut(self.hash) {
            batch.refilling = false;
        }
    }
}

#[cfg(test)]
mod tests;
