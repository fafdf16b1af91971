//! The table of records behind the store's lock. The result of an operation depends only on the
//! table and on its arguments, which include the current time.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, HashMap};

use super::records::Bounds;
use crate::clock::Timestamp;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, LeaseState, OnCrash,
    Outcome, RecordKey, RecordState, StoredResponse, Token, lease_state,
};
use crate::store::StoreError;
use crate::uniform_map::UniformMap;

#[derive(Default)]
pub(super) struct Table {
    /// The records. The map hashes with a random state, because clients can compute the names of
    /// records. With a fixed hash, they could choose keys that all collide.
    records: HashMap<RecordKey, Record>,
    /// The abort markers of tokens, with the time at which each marker ends. A fixed hash is safe
    /// for them, because the server generates the tokens.
    markers: UniformMap<Token, Timestamp>,
    /// The times at which a record or a marker is checked for expiry, the earliest first.
    checks: BinaryHeap<Reverse<(Timestamp, Expiring)>>,
    /// The estimated size of all records.
    bytes: usize,
}

/// An entry that is removed when it has expired.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Expiring {
    Record(RecordKey),
    /// The bits of the token.
    Marker(u128),
}

struct Record {
    fingerprint: Fingerprint,
    token: Token,
    state: State,
    /// The time of the record's newest entry in `checks`. Older entries of the same key have no
    /// effect.
    check_at: Timestamp,
}

impl Record {
    fn new(fingerprint: Fingerprint, token: Token, state: State) -> Self {
        Self {
            fingerprint,
            token,
            state,
            check_at: Timestamp::default(),
        }
    }
}

enum State {
    Running {
        until: Timestamp,
        on_crash: OnCrash,
        ttl: Duration,
    },
    Done {
        response: StoredResponse,
        until: Timestamp,
    },
    Unknown {
        until: Timestamp,
    },
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn begin(
        &mut self,
        begin: &Begin,
        bounds: Bounds,
        now: Timestamp,
    ) -> Result<BeginOutcome, StoreError> {
        // Each call of `remove_expired` removes more entries than this `begin` adds. If the table
        // is full, the calls go on until there is room or no expired entry is left.
        let mut more = self.remove_expired(now);
        while more && !self.has_room(&begin.key, bounds) {
            more = self.remove_expired(now);
        }
        if self
            .markers
            .get(&begin.token)
            .is_some_and(|until| now < *until)
        {
            return Ok(BeginOutcome::Aborted);
        }
        match self.find(begin, now) {
            Some(found) => Ok(found),
            None if self.has_room(&begin.key, bounds) => Ok(self.start(begin, now)),
            None => Err(StoreError::Full),
        }
    }

    fn has_room(&self, key: &RecordKey, bounds: Bounds) -> bool {
        let room =
            self.records.len() + self.markers.len() < bounds.records && self.bytes < bounds.bytes;
        room || self.records.contains_key(key)
    }

    /// Returns the outcome of a `begin`; `None` if the request may run.
    fn find(&self, begin: &Begin, now: Timestamp) -> Option<BeginOutcome> {
        let record = self.records.get(&begin.key)?;
        if record.is_expired(now) {
            return None;
        }
        if !begin.is_same(&record.fingerprint) {
            return Some(BeginOutcome::Mismatch);
        }
        match record.begin_outcome(now) {
            Some(BeginOutcome::InFlight) if record.token == begin.token => {
                Some(BeginOutcome::Started)
            }
            found => found,
        }
    }

    fn start(&mut self, begin: &Begin, now: Timestamp) -> BeginOutcome {
        let until = now.after(begin.lease);
        let state = State::Running {
            until,
            on_crash: begin.on_crash,
            ttl: begin.ttl,
        };
        self.put(
            begin.key,
            Record::new(begin.fingerprint, begin.token, state),
        );
        BeginOutcome::Started
    }

    pub(super) fn renew(&mut self, lease: Lease, end: Timestamp, now: Timestamp) -> bool {
        match self.records.get_mut(&lease.key) {
            Some(Record {
                token,
                state: State::Running { until, .. },
                ..
            }) if *token == lease.token && now < *until => {
                *until = end;
                true
            }
            _ => false,
        }
    }

    pub(super) fn complete(&mut self, complete: &Complete, now: Timestamp) -> CompleteOutcome {
        let lease = complete.lease;
        if let Some(record) = self
            .records
            .get(&lease.key)
            .filter(|record| !record.is_expired(now))
        {
            if record.token != lease.token {
                let same = record.fingerprint == complete.fingerprint;
                let found = if same {
                    record.begin_outcome(now)
                } else {
                    Some(BeginOutcome::Mismatch)
                };
                return CompleteOutcome::Lost(found.unwrap_or(BeginOutcome::InFlight));
            }
            if matches!(record.state, State::Done { .. }) {
                return CompleteOutcome::Written;
            }
        }
        let until = now.after(complete.ttl);
        let state = match &complete.outcome {
            Outcome::Response(response) => State::Done {
                response: response.clone(),
                until,
            },
            Outcome::Unknown => State::Unknown { until },
        };
        self.put(
            lease.key,
            Record::new(complete.fingerprint, lease.token, state),
        );
        CompleteOutcome::Written
    }

    pub(super) fn abort(&mut self, lease: Lease, marker_until: Timestamp, now: Timestamp) {
        self.remove_expired(now);
        let is_open = |record: &Record| {
            record.token == lease.token && !matches!(record.state, State::Done { .. })
        };
        if self.records.get(&lease.key).is_some_and(is_open) {
            self.remove(lease.key);
        }
        // If the token already has a marker, the marker keeps its entry in `checks`. When that
        // entry is due, `remove_marker` replaces it with an entry that has the new time.
        if marker_until > now && self.markers.insert(lease.token, marker_until).is_none() {
            self.checks.push(Reverse((
                marker_until,
                Expiring::Marker(lease.token.as_u128()),
            )));
        }
    }

    pub(super) fn mark_unknown(&mut self, lease: Lease, ttl: Duration, now: Timestamp) -> bool {
        let Some(record) = self
            .records
            .get(&lease.key)
            .filter(|record| !record.is_expired(now))
        else {
            return false;
        };
        if record.token != lease.token || !matches!(record.state, State::Running { .. }) {
            return false;
        }
        let state = State::Unknown {
            until: now.after(ttl),
        };
        let record = Record::new(record.fingerprint, record.token, state);
        self.put(lease.key, record);
        true
    }

    pub(super) fn state(&self, key: RecordKey, now: Timestamp) -> Option<RecordState> {
        let record = self
            .records
            .get(&key)
            .filter(|record| !record.is_expired(now))?;
        Some(match &record.state {
            State::Running {
                until, on_crash, ..
            } => match lease_state(*until, *on_crash, now) {
                LeaseState::Held => RecordState::Running,
                LeaseState::LapsedUnknown => RecordState::Unknown,
                LeaseState::LapsedRerun => RecordState::Lapsed,
            },
            State::Done { response, .. } => RecordState::Done(response.clone()),
            State::Unknown { .. } => RecordState::Unknown,
        })
    }

    pub(super) fn resolve(
        &mut self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
        now: Timestamp,
    ) -> bool {
        let Some(record) = self
            .records
            .get(&key)
            .filter(|record| !record.is_expired(now))
        else {
            return false;
        };
        if record.begin_outcome(now) != Some(BeginOutcome::Unknown) {
            return false;
        }
        match response {
            None => self.remove(key),
            Some(response) => {
                let state = State::Done {
                    response,
                    until: now.after(ttl),
                };
                let record = Record::new(record.fingerprint, record.token, state);
                self.put(key, record);
            }
        }
        true
    }

    fn remove(&mut self, key: RecordKey) {
        if let Some(record) = self.records.remove(&key) {
            self.bytes -= record.size();
        }
    }

    fn put(&mut self, key: RecordKey, mut record: Record) {
        record.check_at = record.next_check(Timestamp::default());
        self.checks
            .push(Reverse((record.check_at, Expiring::Record(key))));
        self.bytes += record.size();
        if let Some(old) = self.records.insert(key, record) {
            self.bytes -= old.size();
        }
    }

    /// Removes up to [`MAX_REMOVED`] expired entries. Returns `true` if more entries may be due.
    ///
    /// A call removes more entries than it adds, so the table does not grow without limit. A call
    /// removes only a limited number of entries, so that no request waits while a million entries
    /// are removed.
    fn remove_expired(&mut self, now: Timestamp) -> bool {
        for _ in 0..MAX_REMOVED {
            if self
                .checks
                .peek()
                .is_none_or(|Reverse((end, _))| *end > now)
            {
                return false;
            }
            match self.checks.pop() {
                Some(Reverse((end, Expiring::Record(key)))) => {
                    self.remove_if_expired(key, end, now);
                }
                Some(Reverse((_, Expiring::Marker(token)))) => {
                    self.remove_marker(Token::from_u128(token), now);
                }
                None => return false,
            }
        }
        true
    }

    fn remove_marker(&mut self, token: Token, now: Timestamp) {
        match self.markers.get(&token) {
            Some(until) if *until > now => {
                self.checks
                    .push(Reverse((*until, Expiring::Marker(token.as_u128()))));
            }
            _ => {
                self.markers.remove(&token);
            }
        }
    }

    fn remove_if_expired(&mut self, key: RecordKey, end: Timestamp, now: Timestamp) {
        // Only the record's newest entry in `checks` counts. The other entries belong to earlier
        // states of the record.
        let Some(record) = self
            .records
            .get_mut(&key)
            .filter(|record| record.check_at == end)
        else {
            return;
        };
        let next_check = record.next_check(now);
        if record.is_expired(now) {
            self.remove(key);
        } else {
            record.check_at = next_check;
            self.checks
                .push(Reverse((next_check, Expiring::Record(key))));
        }
    }
}

/// The maximum number of expired entries that one call removes.
const MAX_REMOVED: usize = 64;

/// The estimated size of a record without its response in bytes: the record and its entries in the
/// map and the heap.
const OVERHEAD: usize = 512;

impl Record {
    /// Returns the time at which the record becomes ABSENT. A RUNNING record first lapses, and then
    /// stays UNKNOWN for its time to live.
    fn expiry(&self) -> Timestamp {
        match &self.state {
            State::Running { until, ttl, .. } => until.after(*ttl),
            State::Done { until, .. } | State::Unknown { until } => *until,
        }
    }

    /// Returns the time of the next check for expiry.
    ///
    /// A RUNNING record is checked when its lease ends. Otherwise the heap entry of an aborted
    /// record would stay for a whole time to live.
    fn next_check(&self, now: Timestamp) -> Timestamp {
        match &self.state {
            State::Running { until, .. } if now < *until => *until,
            _ => self.expiry(),
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expiry() <= now
    }

    /// Returns the outcome of a `begin` with the same fingerprint and another token; `None` if the
    /// request may run.
    fn begin_outcome(&self, now: Timestamp) -> Option<BeginOutcome> {
        match &self.state {
            State::Running {
                until, on_crash, ..
            } => match lease_state(*until, *on_crash, now) {
                LeaseState::Held => Some(BeginOutcome::InFlight),
                LeaseState::LapsedUnknown => Some(BeginOutcome::Unknown),
                LeaseState::LapsedRerun => None,
            },
            State::Done { response, .. } => Some(BeginOutcome::Done(response.clone())),
            State::Unknown { .. } => Some(BeginOutcome::Unknown),
        }
    }

    fn size(&self) -> usize {
        let response = match &self.state {
            State::Done { response, .. } => response.size(),
            State::Running { .. } | State::Unknown { .. } => 0,
        };
        OVERHEAD + response
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::hash::{BuildHasher, BuildHasherDefault, Hash};
    use std::collections::HashSet;

    use super::*;
    use crate::uniform_map::UniformHasher;

    thread_local! {
        static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    /// A key that counts its comparisons.
    #[expect(
        clippy::derived_hash_with_manual_eq,
        reason = "the manual implementation only counts"
    )]
    #[derive(Eq, Hash)]
    struct Counted(RecordKey);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0 == other.0
        }
    }

    /// Returns names that all have the same hash if a hasher only folds the words of a name.
    fn colliding_keys(count: u64) -> Vec<RecordKey> {
        let name = |number: u64| {
            let (first, second) = (number.to_ne_bytes(), number.rotate_left(5).to_ne_bytes());
            core::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
        };
        (0..count)
            .map(|number| RecordKey::new([7; 16], name(number)))
            .collect()
    }

    /// Returns the average number of comparisons per look-up in a table of these keys.
    fn comparisons(hasher: impl BuildHasher, keys: &[RecordKey]) -> usize {
        let mut table = HashSet::with_hasher(hasher);
        table.extend(keys.iter().map(|key| Counted(*key)));
        COMPARISONS.set(0);
        assert!(keys.iter().all(|key| table.contains(&Counted(*key))));
        COMPARISONS.get().div_ceil(keys.len())
    }

    #[test]
    fn keys_that_collide_under_a_known_hash_do_not_collide_in_the_table() {
        let keys = colliding_keys(2_000);
        let fixed = comparisons(BuildHasherDefault::<UniformHasher>::default(), &keys);
        assert!(fixed >= 500, "the keys collide under a known hash: {fixed}");
        let random = comparisons(Table::default().records.hasher().clone(), &keys);
        assert!(random <= 2, "{random}");
    }

    #[test]
    fn each_table_has_its_own_random_hash() {
        let hash = |key: &RecordKey| Table::default().records.hasher().hash_one(key);
        let key = RecordKey::new([1; 16], [2; 16]);
        assert_ne!(hash(&key), hash(&key));
    }
}
