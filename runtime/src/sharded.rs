//! Hash tables of a fixed size whose parts are locked separately.
//!
//! [`Sharded`] distributes keys over parts, each with its own lock. A part usually is or contains a
//! [`Slots`], a table with a fixed number of places. The in-memory limits, the cache of rejections
//! and the batches of prefetched tokens are stored in these tables. The numbers of runs of callers
//! are stored in parts that grow, because none of them may be lost.

use core::hash::{BuildHasher, Hash};
use core::ops::Range;
use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A table of `PARTS` parts, each with its own lock. `PARTS` is a power of two.
///
/// A keyed hash selects the part of a key. The secret of the hash is random and never leaves the
/// process, so a client cannot choose keys that all belong to one part or one set of places.
///
/// The table stores hashes instead of keys. The probability that two of n keys have the same hash
/// is about n² / 2⁶⁵. For a million keys, it is 3 in 10⁸.
pub(crate) struct Sharded<P, const PARTS: usize> {
    parts: Box<[Mutex<P>; PARTS]>,
    hasher: RandomState,
}

/// The keyed hash of a key. It is never 0, because 0 marks a free place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// Returns the hash as a number.
    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the index of the part. The lowest bits of the hash select the part.
    fn part<const PARTS: usize>(self) -> usize {
        const {
            assert!(
                PARTS.is_power_of_two(),
                "`PARTS` must be a power of two: the lowest bits select the part"
            );
        };
        usize::try_from(self.0 % PARTS as u64).expect("a part's index")
    }

    /// Returns the index of the set. The upper 32 bits select the set. All keys of a part have the
    /// same lowest bits, so those bits cannot distribute keys over the sets.
    fn set(self, sets: usize) -> usize {
        usize::try_from((self.0 >> 32) % sets as u64).expect("a set's index")
    }
}

impl<P, const PARTS: usize> Sharded<P, PARTS> {
    /// Creates a table. The function `part` is called once for each part, and creates it.
    pub(crate) fn new(mut part: impl FnMut() -> P) -> Self {
        Self {
            parts: Box::new(core::array::from_fn(|_| Mutex::new(part()))),
            hasher: RandomState::new(),
        }
    }

    /// Returns the hash of a key. The other methods and [`Slots`] find the key by this hash.
    pub(crate) fn hash(&self, key: impl Hash) -> KeyHash {
        KeyHash(self.hasher.hash_one(key).max(1))
    }

    /// Locks the part of a key.
    pub(crate) fn lock(&self, hash: KeyHash) -> MutexGuard<'_, P> {
        lock(&self.parts[hash.part::<PARTS>()])
    }

    /// Locks the parts of several keys. Each part is locked only one time.
    ///
    /// All calls lock in ascending order of the parts, so that two calls cannot wait for each
    /// other.
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

    /// Returns the sum of `number` over all parts. The parts are locked one after another, so the
    /// sum is not a snapshot.
    pub(crate) fn sum(&self, number: impl Fn(&P) -> usize) -> usize {
        self.parts.iter().map(|part| number(&lock(part))).sum()
    }
}

/// Locks a part. A poisoned lock is usable: a part is changed only by assignments, so a panic
/// leaves no half-written value.
fn lock<P>(part: &Mutex<P>) -> MutexGuard<'_, P> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Several locked parts with their indices, in ascending order.
pub(crate) struct LockedParts<'a, P, const PARTS: usize>(Vec<(usize, MutexGuard<'a, P>)>);

impl<P, const PARTS: usize> LockedParts<'_, P, PARTS> {
    /// Returns the part of a key.
    ///
    /// # Panics
    ///
    /// Panics if the part of the key is not locked.
    pub(crate) fn part(&mut self, hash: KeyHash) -> &mut P {
        let index = self
            .0
            .binary_search_by_key(&hash.part::<PARTS>(), |(index, _)| *index);
        &mut self.0[index.expect("the part of every key is locked")].1
    }
}

/// A set-associative table: a cache with a fixed number of places.
///
/// Each key belongs to a set of 16 places. If all places of the set are taken, a new key replaces
/// the value with the lowest rank. The caller passes the function that returns the rank of a value.
/// Any value can be lost when a new key is inserted. The table allocates its memory at the first
/// insertion.
pub(crate) struct Slots<V> {
    /// The hashes of the keys, set by set; 0 marks a free place.
    hashes: Vec<u64>,
    /// The values in the same order as the hashes.
    values: Vec<V>,
    sets: usize,
}

/// The number of places in a set. Their 16 hashes fill two cache lines of 64 bytes.
pub(crate) const WAYS: usize = 16;

impl<V: Clone + Default> Slots<V> {
    /// Creates a table with this number of places. The number is rounded down to a multiple of 16,
    /// but is at least 16.
    pub(crate) const fn with_slots(places: usize) -> Self {
        let sets = if places < WAYS { 1 } else { places / WAYS };
        Self {
            hashes: Vec::new(),
            values: Vec::new(),
            sets,
        }
    }

    /// Returns the value of a key.
    pub(crate) fn get(&self, hash: KeyHash) -> Option<&V> {
        self.find(hash).map(|place| &self.values[place])
    }

    /// Returns the value of a key for changes.
    pub(crate) fn get_mut(&mut self, hash: KeyHash) -> Option<&mut V> {
        self.find(hash).map(|place| &mut self.values[place])
    }

    /// Returns the value of a key. Inserts `value` first if the key has no value; see
    /// [`insert`](Self::insert).
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

    /// Sets the value of a key. The value is written to the place of the key. If the key has no
    /// place, the value is written to a free place, or else to the place of the value with the
    /// lowest rank.
    pub(crate) fn insert<R: Ord>(&mut self, hash: KeyHash, value: V, rank: impl Fn(&V) -> R) {
        let place = self.find(hash).unwrap_or_else(|| self.vacate(hash, rank));
        self.put(place, hash, value);
    }

    /// Iterates over all values.
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
        // `hashes` is empty until the first insertion.
        let hashes = self.hashes.get(set.clone())?;
        hashes
            .iter()
            .position(|other| *other == hash.0)
            .map(|way| set.start + way)
    }

    /// Selects the place for a new key: a free place, or the place of the value with the lowest
    /// rank.
    fn vacate<R: Ord>(&self, hash: KeyHash, rank: impl Fn(&V) -> R) -> usize {
        let set = self.set(hash);
        if self.hashes.is_empty() {
            return set.start;
        }
        // A free place gets `None`, which is less than any rank. So a free place is selected first.
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
        Sharded::new(|| Slots::with_slots(places))
    }

    #[test]
    fn a_part_allocates_no_memory_before_its_first_value() {
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
    fn a_full_set_replaces_the_value_with_the_lowest_rank() {
        let mut slots = Slots::with_slots(1);
        let key = |number: u64| KeyHash(number);
        (1..=16).for_each(|number| slots.insert(key(number), 100 + number, |value| *value));
        slots.insert(key(1), 200, |value| *value);
        assert_eq!(slots.values().count(), 16, "a known key keeps its place");
        assert_eq!(*slots.get_or_insert(key(17), 50, |value| *value), 50);
        assert_eq!(
            *slots.get_or_insert(key(17), 60, |value| *value),
            50,
            "an existing value is kept"
        );
        let present: Vec<u64> = (1..=17)
            .filter(|number| slots.get(key(*number)).is_some())
            .collect();
        assert_eq!(
            present,
            [1].into_iter().chain(3..=17).collect::<Vec<_>>(),
            "102 had the lowest rank"
        );
    }

    #[test]
    fn lock_all_locks_each_part_once() {
        let table = table(16);
        let hashes: Vec<KeyHash> = (0..100).map(|key| table.hash(key)).collect();
        let mut locked = table.lock_all(hashes.iter().copied());
        assert_eq!(locked.0.len(), 4);
        assert!(locked.0.is_sorted_by_key(|(index, _)| *index));
        for hash in hashes {
            locked.part(hash).insert(hash, 1, |value| *value);
        }
    }

    /// Each table has its own secret. So keys that share one part and one set in one table are
    /// distributed over all parts and sets of another table.
    #[test]
    fn keys_chosen_for_one_set_are_distributed_by_another_secret() {
        let (known, other) = (table(64), table(64));
        let place = |table: &Table, key: u64| {
            let hash = table.hash(key);
            (hash.part::<4>(), hash.set(4))
        };
        let chosen = (0_u64..)
            .filter(|key| place(&known, *key) == (0, 0))
            .take(1_600);
        let mut counts = HashMap::new();
        for key in chosen {
            *counts.entry(place(&other, key)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 16, "the keys reach every set of every part");
        // The expected count is 100, and the standard deviation is just under 10. The tolerance is
        // six standard deviations, so a false failure is practically impossible.
        assert!(
            counts.values().all(|count| (40..=160).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        /// After any sequence of insertions, a key has the value that was inserted last, or no
        /// value.
        #[test]
        fn a_key_has_its_last_value_or_none(steps in prop::collection::vec((0_u64..200, any::<u64>()), 0..400)) {
            let (table, mut model) = (table(32), HashMap::new());
            for (key, value) in steps {
                let hash = table.hash(key);
                table.lock(hash).insert(hash, value, |value| *value);
                model.insert(key, value);
                prop_assert_eq!(table.lock(hash).get(hash).copied(), Some(value));
            }
            for (key, value) in &model {
                let hash = table.hash(key);
                prop_assert!(table.lock(hash).get(hash).is_none_or(|present| present == value));
            }
            prop_assert!(table.sum(|part| part.values().count()) <= 4 * 32);
        }
    }
}
