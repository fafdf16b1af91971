use core::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::policies::rate_limit::{Acquired, Bucket, Claim, LimitStore, Subject, decide};
use crate::store::StoreFuture;

/// Buckets of rate limits in memory: 16 bytes each, in a table of fixed size.
///
/// A bucket's place is found by a keyed 64-bit hash among the 16 places of its set. Where all 16
/// are taken, full (idle) buckets make room first, then the one that is full again soonest; what
/// it had counted is forgotten. Two buckets meet in one place with a probability of about
/// n² / 2⁶⁵, for n buckets at a time: 3 in 10⁸ for a million.
pub struct MemoryLimits {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Shard {
    /// The buckets' hashes; 0 is a free place. Sets lie one after another.
    hashes: Vec<u64>,
    /// The buckets' arrival times, in the same order.
    arrivals: Vec<u64>,
}

/// Where a bucket is, or would be.
#[derive(Clone, Copy)]
struct Place {
    shard: usize,
    hash: u64,
}

const SHARDS: usize = 64;
const WAYS: usize = 16;

impl MemoryLimits {
    /// Buckets held at a time, unless another number is chosen: a million, 16 MiB when full.
    pub const DEFAULT_CAPACITY: usize = 1 << 20;

    /// A table for [`DEFAULT_CAPACITY`](Self::DEFAULT_CAPACITY) buckets, by the machine's clock.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY, Arc::new(SystemClock::new()))
    }

    /// A table for `capacity` buckets, rounded up to a power of two of at least 1,024, by this
    /// clock. Memory is committed as buckets come.
    pub fn with_capacity(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let places = capacity.next_power_of_two().max(SHARDS * WAYS) / SHARDS;
        let shard = || Mutex::new(Shard { hashes: vec![0; places], arrivals: vec![0; places] });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new(), clock }
    }

    /// How many buckets are held that are not full again yet.
    pub fn active(&self) -> usize {
        let now = self.clock.now().as_micros();
        let active =
            |shard: &Mutex<Shard>| lock(shard).arrivals.iter().filter(|arrival| **arrival > now).count();
        self.shards.iter().map(active).sum()
    }

    fn place(&self, bucket: &Bucket<'_>) -> Place {
        let hash = self.hash(bucket).max(1);
        Place { shard: usize::try_from(hash % SHARDS as u64).unwrap_or(0), hash }
    }

    /// A bucket in few words: the second says what follows.
    fn hash(&self, bucket: &Bucket<'_>) -> u64 {
        let kind = |kind: u64, number: u32| (bucket.limit, kind << 32 | u64::from(number));
        match bucket.subject {
            Subject::Everyone => self.hasher.hash_one(kind(0, 0)),
            Subject::Address(IpAddr::V4(address)) => self.hasher.hash_one(kind(1, address.to_bits())),
            Subject::Address(IpAddr::V6(address)) => self.hasher.hash_one((kind(2, 0), address.to_bits())),
            Subject::Caller(caller) => self.hasher.hash_one((kind(3, 0), caller)),
        }
    }

    pub(crate) fn take(&self, claims: &[Claim<'_>]) -> Acquired {
        match claims {
            [claim] => self.take_one(claim),
            claims => self.take_all(claims),
        }
    }

    fn take_one(&self, claim: &Claim<'_>) -> Acquired {
        let place = self.place(&claim.bucket);
        let mut shard = lock(&self.shards[place.shard]);
        let now = self.clock.now();
        let decision = decide(shard.arrival(place), claim.quota, claim.cost, now);
        if let Some(arrival) = decision.arrival {
            shard.put(place, arrival, now);
        }
        Acquired { admitted: claim.lets_through(&decision), readings: vec![decision.reading] }
    }

    /// Locks every shard of the claims, in their order, so that two calls cannot wait for one
    /// another; decides; then writes all that can be had, or nothing.
    fn take_all(&self, claims: &[Claim<'_>]) -> Acquired {
        let places: Vec<Place> = claims.iter().map(|claim| self.place(&claim.bucket)).collect();
        let mut held = self.lock_shards(&places);
        let now = self.clock.now();
        let arrivals: Vec<_> = places.iter().map(|place| shard(&mut held, *place).arrival(*place)).collect();
        let acquired = Acquired::of(claims, &arrivals, now);
        if acquired.admitted {
            for ((claim, place), arrival) in claims.iter().zip(&places).zip(arrivals) {
                if let Some(arrival) = decide(arrival, claim.quota, claim.cost, now).arrival {
                    shard(&mut held, *place).put(*place, arrival, now);
                }
            }
        }
        acquired
    }

    fn lock_shards(&self, places: &[Place]) -> Vec<(usize, MutexGuard<'_, Shard>)> {
        let mut indices: Vec<usize> = places.iter().map(|place| place.shard).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().map(|index| (index, lock(&self.shards[index]))).collect()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard<'a>(held: &'a mut [(usize, MutexGuard<'_, Shard>)], place: Place) -> &'a mut Shard {
    let index = held.binary_search_by_key(&place.shard, |(index, _)| *index);
    &mut held[index.expect("the shard of every place is locked")].1
}

impl Shard {
    fn set(&self, hash: u64) -> core::ops::Range<usize> {
        let sets = (self.hashes.len() / WAYS) as u64;
        let start = usize::try_from(hash / SHARDS as u64 % sets).unwrap_or(0) * WAYS;
        start..start + WAYS
    }

    fn arrival(&self, place: Place) -> Option<Timestamp> {
        let set = self.set(place.hash);
        let way = self.hashes[set.clone()].iter().position(|hash| *hash == place.hash)?;
        Some(Timestamp::from_micros(self.arrivals[set.start + way]))
    }

    fn put(&mut self, place: Place, arrival: Timestamp, now: Timestamp) {
        let way = self.way(place.hash, now);
        self.hashes[way] = place.hash;
        self.arrivals[way] = arrival.as_micros();
    }

    /// The bucket's own place, else a free or idle one, else the one that is full again soonest.
    fn way(&self, hash: u64, now: Timestamp) -> usize {
        let set = self.set(hash);
        if let Some(own) = self.hashes[set.clone()].iter().position(|other| *other == hash) {
            return set.start + own;
        }
        let arrival = |way: &usize| self.arrivals[*way].max(now.as_micros());
        set.min_by_key(arrival).expect("a set has places")
    }
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimits").finish_non_exhaustive()
    }
}

impl LimitStore for MemoryLimits {
    fn acquire<'a>(&'a self, claims: &'a [Claim<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::ready(Ok(self.take(claims)))
    }

    fn acquire_at_once(&self, claims: &[Claim<'_>]) -> Option<Acquired> {
        Some(self.take(claims))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::auth::Caller;
    use crate::policies::rate_limit::Quota;
    use crate::testing::TestClock;

    fn claim(limit: u64) -> Claim<'static> {
        let quota = Quota::new(10, Duration::from_secs(10), 10).expect("valid");
        Claim { bucket: Bucket { limit, subject: Subject::Everyone }, quota, cost: 1, shadow: false }
    }

    #[test]
    fn b09_subjects_are_told_apart_in_few_words() {
        let limits = MemoryLimits::with_capacity(1024, Arc::new(TestClock::new()));
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let address = |text: &str| Subject::Address(text.parse().expect("an address"));
        let subjects = [
            Subject::Everyone,
            Subject::Caller(&alice),
            Subject::Caller(&bob),
            address("0.0.0.0"),
            address("0.0.0.1"),
            address("::"),
            address("::1"),
            address("0:0:0:1::"),
        ];
        for (limit, subject) in (1..4).flat_map(|limit| subjects.map(|subject| (limit, subject))) {
            let claim = Claim { bucket: Bucket { limit, subject }, ..claim(limit) };
            assert_eq!(limits.take(&[claim]).readings[0].remaining, 9, "{limit} {subject:?}");
            assert_eq!(limits.take(&[claim]).readings[0].remaining, 8, "{limit} {subject:?}");
        }
    }

    #[test]
    fn b16_memory_stays_within_its_bound() {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        for limit in 0..10_000 {
            assert!(limits.take(&[claim(limit)]).admitted);
        }
        assert!(limits.active() <= 1024);
    }

    #[test]
    fn b16_idle_buckets_make_room_first() {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        (0..10_000).for_each(|limit| drop(limits.take(&[claim(limit)])));
        clock.advance(Duration::from_secs(10));
        (10_000..10_200).for_each(|limit| drop(limits.take(&[claim(limit)])));
        let second =
            (10_000..10_200).filter(|limit| limits.take(&[claim(*limit)]).readings[0].remaining == 8);
        assert_eq!(second.count(), 200, "every active bucket is still known");
    }
}
