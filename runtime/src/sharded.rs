//! Hash tables of a fixed size, in parts that are locked one by one.
//!
//! [`Sharded`] spreads keys over parts, each behind its own lock; [`Slots`] is a part of a fixed number of places.
//! Limits in memory, the cache of refusals and the batches of tokens are such tables.

use core::hash::{BuildHasher, Hash};
use core::ops::Range;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `PARTS` parts of a table, each behind its own lock. `PARTS` is a power of two.
///
/// A key's part is found by a keyed hash whose secret is random and never leaves the process, so that clients who
/// choose keys cannot aim them at one part or one set of places. The hash stands for the key: two keys meet in one
/// place with a probability of about n² / 2⁶⁵, for n keys at a time: 3 in 10⁸ for a million.
pub(crate) struct Sharded<P, const PARTS: usize> {
    parts: Box<[Mutex<P>; PARTS]>,
    hasher: RandomState,
}

/// The keyed hash of a key. It is never 0, which marks a free place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// The hash as a number.
    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    /// The lowest bits choose the part.
    fn part<const PARTS: usize>(self) -> usize {
        const {
            assert!(
                PARTS.is_power_of_two(),
                "the lowest bits of a hash choose the part"
            );
        };
        usize::try_from(self.0 % PARTS as u64).expect("a part's index")
    }

    /// The highest bits choose the set, so that keys of one part are spread over all of its sets.
    fn set(self, sets: usize) -> usize {
        usize::try_from((self.0 >> 32) % sets as u64).expect("a set's index")
    }
}

impl<P, const PARTS: usize> Sharded<P, PARTS> {
    /// A table of these parts.
    pub(crate) fn new(mut part: impl FnMut() -> P) -> Self {
        Self {
            parts: Box::new(core::array::from_fn(|_| Mutex::new(part()))),
            hasher: RandomState::new(),
        }
    }

    /// The hash by which the other methods and [`Slots`] find a key. Made once for a look-up.
    pub(crate) fn hash(&self, key: impl Hash) -> KeyHash {
        KeyHash(self.hasher.hash_one(key).max(1))
    }

    /// Locks the part of a key.
    pub(crate) fn lock(&self, hash: KeyHash) -> MutexGuard<'_, P> {
        lock(&self.parts[hash.part::<PARTS>()])
    }

    /// Locks the parts of several keys, each part once and in the order of the parts, so that two calls cannot wait
    /// for one another.
    pub(crate) fn lock_all(
        &self,
        hashes: impl Iterator<Item = KeyHash>,
    ) -> LockedParts<'_, P, PARTS> {
        let mut indices: Vec<usize> = hashes.map(KeyHash::part::<PARTS>).collect();
        indices.sort_unstable();
        indices.dedup();
        LockedParts(
            indices
                .into_iter()
                .map(|index| (index, lock(&self.parts[index])))
                .collect(),
        )
    }

    /// Adds up a number of each part. The parts are locked one after another, so that the sum is of no one moment.
    pub(crate) fn sum(&self, number: impl Fn(&P) -> usize) -> usize {
        self.parts.iter().map(|part| number(&lock(part))).sum()
    }
}

/// Nothing is left half-written where a thread panics while it holds a part: a part is changed by assignments.
fn lock<P>(part: &Mutex<P>) -> MutexGuard<'_, P> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locked parts, in their order.
pub(crate) struct LockedParts<'a, P, const PARTS: usize>(Vec<(usize, MutexGuard<'a, P>)>);

impl<P, const PARTS: usize> LockedParts<'_, P, PARTS> {
    /// The part of a key, which must be among those that were locked.
    pub(crate) fn part(&mut self, hash: KeyHash) -> &mut P {
        let index = self
            .0
            .binary_search_by_key(&hash.part::<PARTS>(), |(index, _)| *index);
        &mut self.0[index.expect("the part of every key is locked")].1
    }
}

/// Values in a fixed number of places.
///
/// A key has its place among the 16 of its set. Where all are taken, the value of the lowest rank is forgotten: what
/// is kept here may be forgotten at any time. Memory is taken with the first value.
pub(crate) struct Slots<V> {
    /// The keys' hashes; 0 is a free place. Sets lie one after another.
    hashes: Vec<u64>,
    /// The values, in the same order.
    values: Vec<V>,
    sets: usize,
}

/// Places of a set: their hashes fill two cache lines.
pub(crate) const WAYS: usize = 16;

impl<V: Clone + Default> Slots<V> {
    /// So many places, rounded down to whole sets; at least one set.
    pub(crate) const fn with_places(places: usize) -> Self {
        let sets = if places < WAYS { 1 } else { places / WAYS };
        Self {
            hashes: Vec::new(),
            values: Vec::new(),
            sets,
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, hash: KeyHash) -> Option<&V> {
        self.find(hash).map(|place| &self.values[place])
    }

    /// The value of a key.
    pub(crate) fn get_mut(&mut self, hash: KeyHash) -> Option<&mut V> {
        self.find(hash).map(|place| &mut self.values[place])
    }

    /// The value of a key, which is `value` where it had none; see [`insert`](Self::insert).
    pub(crate) fn get_or_insert<R: Ord>(
        &mut self,
        hash: KeyHash,
        value: V,
        rank: impl Fn(&V) -> R,
    ) -> &mut V {
        let place = self
            .find(hash)
            .unwrap_or_else(|| self.put(self.vacate(hash, rank), hash, value));
        &mut self.values[place]
    }

    /// Gives a key its value: in its own place, else in a free one, else in that of the value of the lowest rank.
    pub(crate) fn insert<R: Ord>(&mut self, hash: KeyHash, value: V, rank: impl Fn(&V) -> R) {
        let place = self.find(hash).unwrap_or_else(|| self.vacate(hash, rank));
        self.put(place, hash, value);
    }

    /// The values that are held.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.hashes
            .iter()
            .zip(&self.values)
            .filter(|(hash, _)| **hash != 0)
            .map(|(_, value)| value)
    }

    fn set(&self, hash: KeyHash) -> Range<usize> {
        let start = hash.set(self.sets) * WAYS;
        start..start + WAYS
    }

    fn find(&self, hash: KeyHash) -> Option<usize> {
        let set = self.set(hash);
        // Without places there is no such set.
        let hashes = self.hashes.get(set.clone())?;
        hashes
            .iter()
            .position(|other| *other == hash.0)
            .map(|way| set.start + way)
    }

    /// The place of a key that has none yet.
    fn vacate<R: Ord>(&self, hash: KeyHash, rank: impl Fn(&V) -> R) -> usize {
        let set = self.set(hash);
        if self.hashes.is_empty() {
            return set.start;
        }
        // `None` is the lowest: a free place.
        let rank = |place: &usize| (self.hashes[*place] != 0).then(|| rank(&self.values[*place]));
        set.min_by_key(rank).expect("a set has places")
    }

    fn put(&mut self, place: usize, hash: KeyHash, value: V) -> usize {
        if self.hashes.is_empty() {
            self.hashes = vec![0; self.sets * WAYS];
            self.values = vec![V::default(); self.sets * WAYS];
        }
        self.hashes[place] = hash.0;
        self.values[place] = value;
        place
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    type Table = Sharded<Slots<u64>, 4>;

    fn table(places: usize) -> Table {
        Sharded::new(|| Slots::with_places(places))
    }

    #[test]
    fn a_part_takes_no_memory_before_its_first_value() {
        let table = table(64);
        assert_eq!(table.lock(table.hash(1)).get(table.hash(1)), None);
        assert_eq!(
            table.sum(|part| part.hashes.capacity() + part.values.capacity()),
            0
        );
        table
            .lock(table.hash(1))
            .insert(table.hash(1), 7, |value| *value);
        assert_eq!(table.lock(table.hash(1)).get(table.hash(1)), Some(&7));
        assert_eq!(table.sum(|part| part.values.len()), 64);
    }

    #[test]
    fn a_full_set_forgets_the_value_of_the_lowest_rank() {
        let mut slots = Slots::with_places(1);
        let key = |number: u64| KeyHash(number);
        (1..=16).for_each(|number| slots.insert(key(number), 100 + number, |value| *value));
        slots.insert(key(1), 200, |value| *value);
        assert_eq!(slots.values().count(), 16, "its own place");
        assert_eq!(*slots.get_or_insert(key(17), 50, |value| *value), 50);
        assert_eq!(
            *slots.get_or_insert(key(17), 60, |value| *value),
            50,
            "it has a value"
        );
        let held: Vec<u64> = (1..=17)
            .filter(|number| slots.get(key(*number)).is_some())
            .collect();
        assert_eq!(
            held,
            [1].into_iter().chain(3..=17).collect::<Vec<_>>(),
            "102 was the lowest"
        );
    }

    #[test]
    fn parts_of_several_keys_are_locked_once_each() {
        let table = table(16);
        let hashes: Vec<KeyHash> = (0..100).map(|key| table.hash(key)).collect();
        let mut held = table.lock_all(hashes.iter().copied());
        assert_eq!(held.0.len(), 4);
        assert!(held.0.is_sorted_by_key(|(index, _)| *index));
        for hash in hashes {
            held.part(hash).insert(hash, 1, |value| *value);
        }
    }

    /// Keys whose hash in one table ends in one part and one set are spread over all parts and sets of another: the
    /// tables have secrets of their own.
    #[test]
    fn keys_that_are_aimed_at_one_set_are_spread_by_another_secret() {
        let (known, other) = (table(64), table(64));
        let place = |table: &Table, key: u64| {
            let hash = table.hash(key);
            (hash.part::<4>(), hash.set(4))
        };
        let aimed = (0_u64..)
            .filter(|key| place(&known, *key) == (0, 0))
            .take(1_600);
        let mut counts = HashMap::new();
        for key in aimed {
            *counts.entry(place(&other, key)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 16, "every set of every part");
        // A hundred each, give or take six standard deviations.
        assert!(
            counts.values().all(|count| (40..=160).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        /// Whatever is done, a key has the value that it was given last, or none.
        #[test]
        fn a_value_is_its_keys_or_forgotten(steps in prop::collection::vec((0_u64..200, any::<u64>()), 0..400)) {
            let (table, mut model) = (table(32), HashMap::new());
            for (key, value) in steps {
                let hash = table.hash(key);
                table.lock(hash).insert(hash, value, |value| *value);
                model.insert(key, value);
                prop_assert_eq!(table.lock(hash).get(hash).copied(), Some(value));
            }
            for (key, value) in &model {
                let hash = table.hash(key);
                prop_assert!(table.lock(hash).get(hash).is_none_or(|held| held == value));
            }
            prop_assert!(table.sum(|part| part.values().count()) <= 4 * 32);
        }
    }
}
