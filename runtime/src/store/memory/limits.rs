use core::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::logs::Logs;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::policies::rate_limit::{Acquired, Algorithm, Bucket, Claim, LimitStore, State, Subject};
use crate::store::StoreFuture;

/// Buckets of rate limits in memory: 16 bytes each, in a table of fixed size; sliding windows beside it, in
/// logs of 8 bytes a token.
///
/// A bucket's place is found by a keyed 64-bit hash among the 16 places of its set. Where all 16
/// are taken, full (idle) buckets make room first, then the one that is full again soonest; what
/// it had counted is forgotten. Two buckets meet in one place with a probability of about
/// n² / 2⁶⁵, for n buckets at a time: 3 in 10⁸ for a million.
///
/// Logs have a bound of their own, as many tokens as there are places, and at least the 10,000 of
/// the longest log in each of the table's 64 parts; a log counts as 16 tokens more. Those of which the
/// least was taken make room first.
pub struct MemoryLimits {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
}

struct Shard {
    /// The buckets' hashes; 0 is a free place. Sets lie one after another.
    hashes: Vec<u64>,
    /// The buckets' words, in the same order.
    words: Vec<u64>,
    logs: Logs,
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
        let logs = || Logs::with_bound(places);
        let shard = || Mutex::new(Shard { hashes: vec![0; places], words: vec![0; places], logs: logs() });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new(), clock }
    }

    /// How many buckets are held that are not full again yet.
    pub fn active(&self) -> usize {
        let now = self.clock.now().as_micros();
        self.shards.iter().map(|shard| lock(shard).active(now)).sum()
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
            Subject::Key(key) => self.hasher.hash_one((kind(4, 0), key)),
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
        let state = shard.state(place, claim, now);
        let reading = claim.decide(state);
        if reading.wait.is_none() {
            shard.take(place, claim, state, now);
        }
        Acquired { admitted: claim.lets_through(&reading), readings: vec![reading] }
    }

    /// Locks every shard of the claims, in their order, so that two calls cannot wait for one
    /// another; decides; then writes all that can be had, or nothing.
    fn take_all(&self, claims: &[Claim<'_>]) -> Acquired {
        let places: Vec<Place> = claims.iter().map(|claim| self.place(&claim.bucket)).collect();
        let mut held = self.lock_shards(&places);
        let now = self.clock.now();
        let asked = claims.iter().zip(&places);
        let states: Vec<State> =
            asked.map(|(claim, place)| shard(&mut held, *place).state(*place, claim, now)).collect();
        let acquired = Acquired::of(claims, &states);
        if acquired.admitted {
            for (((claim, place), state), reading) in
                claims.iter().zip(&places).zip(states).zip(&acquired.readings)
            {
                if reading.wait.is_none() {
                    shard(&mut held, *place).take(*place, claim, state, now);
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

    fn state(&mut self, place: Place, claim: &Claim<'_>, now: Timestamp) -> State {
        if claim.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.state(place.hash, claim, now);
        }
        let set = self.set(place.hash);
        let own = self.hashes[set.clone()].iter().position(|hash| *hash == place.hash);
        let Some(own) = own.map(|way| set.start + way) else { return State::of_word(None, claim.quota, now) };
        let state = State::of_word(Some(self.words[own]), claim.quota, now);
        // What is too far ahead would refuse until the clock is there.
        self.words[own] = self.words[own].min(state.word(claim.quota, 0, now));
        state
    }

    fn take(&mut self, place: Place, claim: &Claim<'_>, state: State, now: Timestamp) {
        if claim.cost == 0 {
            return;
        }
        if claim.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.take(place.hash, claim, now);
        }
        let way = self.way(place.hash, now);
        self.hashes[way] = place.hash;
        self.words[way] = state.word(claim.quota, claim.cost, now);
    }

    /// Places that are taken, and the size of the logs.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.hashes.iter().filter(|hash| **hash != 0).count() + self.logs.size()
    }

    fn active(&self, now: u64) -> usize {
        self.words.iter().filter(|word| **word > now).count() + self.logs.active(now)
    }

    /// The bucket's own place, else a free or idle one, else the one that is full again soonest.
    fn way(&self, hash: u64, now: Timestamp) -> usize {
        let set = self.set(hash);
        if let Some(own) = self.hashes[set.clone()].iter().position(|other| *other == hash) {
            return set.start + own;
        }
        let full = |way: &usize| self.words[*way].max(now.as_micros());
        set.min_by_key(full).expect("a set has places")
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
        Claim::new(Bucket { limit, subject: Subject::Everyone }, quota)
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
            Subject::Key("alice"),
            Subject::Key("acme"),
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

    /// Takes all that ten callers have, lets an attacker come with very many names, and looks whether the ten can
    /// take anything.
    fn besiege(quota: Option<Quota>) {
        let (clock, quota) = (TestClock::new(), quota.expect("valid"));
        let limits = MemoryLimits::with_capacity(1 << 14, Arc::new(clock.clone()));
        let claim = |limit: u64| Claim { quota, ..claim(limit) };
        for honest in 0..10 {
            assert!((0..10).all(|_| limits.take(&[claim(honest)]).admitted));
        }
        for attacker in 10..1_000_000 {
            if attacker % 1_000 == 0 {
                clock.advance(Duration::from_micros(1));
            }
            limits.take(&[claim(attacker)]);
        }
        for honest in 0..10 {
            assert!(!limits.take(&[claim(honest)]).admitted, "{honest} has tokens again");
        }
        let held: usize = limits.shards.iter().map(|shard| lock(shard).held()).sum();
        assert!(held <= (1 << 14) + SHARDS * (10_000 + 16), "{held}");
    }

    #[test]
    fn b16_a_million_names_of_an_attacker_do_not_free_honest_callers_buckets() {
        besiege(Quota::new(10, Duration::from_secs(10), 10));
    }

    #[test]
    fn b16_a_million_names_of_an_attacker_do_not_free_honest_callers_windows() {
        besiege(Quota::fixed_window(10, Duration::from_secs(10)));
    }

    #[test]
    fn b16_a_million_names_of_an_attacker_do_not_free_honest_callers_logs() {
        besiege(Quota::sliding_window(10, Duration::from_secs(10)));
    }

    #[test]
    fn b16_what_has_left_a_log_takes_no_room() {
        let (clock, quota) = (TestClock::new(), Quota::sliding_window(5_000, Duration::from_secs(10)));
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let of = |limit: u64, cost| Claim { quota: quota.expect("valid"), cost, ..claim(limit) };
        for limit in 0..1_000 {
            assert!(limits.take(&[of(limit, 5_000)]).admitted);
            clock.advance(Duration::from_secs(10));
            assert!(limits.take(&[of(limit, 1)]).admitted);
        }
        let reserved: usize = limits.shards.iter().map(|shard| lock(shard).logs.reserved()).sum();
        assert!(reserved <= 1_000 * 16, "{reserved} moments");
    }

    #[test]
    fn b16_logs_that_were_left_make_room_for_others() {
        let (clock, quota) = (TestClock::new(), Quota::sliding_window(10_000, Duration::from_secs(10)));
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let all = |limit: u64| Claim { quota: quota.expect("valid"), cost: 10_000, ..claim(limit) };
        for round in 0..200 {
            assert!(limits.take(&[all(round)]).admitted);
            assert!(!limits.take(&[all(round)]).admitted, "its own tokens are never forgotten");
        }
        let held: usize = limits.shards.iter().map(|shard| lock(shard).held()).sum();
        assert!(held <= 1024 + SHARDS * (10_000 + 16), "{held}");
    }
}
