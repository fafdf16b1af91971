//! The records themselves, as one lock holds them: every operation is a plain function of now.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, HashMap};

use super::records::Bounds;
use crate::clock::Timestamp;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, OnCrash, OtherRun, Outcome,
    RecordKey, RecordState, StoredResponse, Token, other_run,
};
use crate::store::StoreError;
use crate::uniform_map::UniformMap;

#[derive(Default)]
pub(super) struct Table {
    /// By a hash with a random state: clients can compute the names of records, and could aim those that they make at
    /// one place of a table that takes them as they are.
    records: HashMap<RecordKey, Record>,
    markers: UniformMap<Token, Timestamp>,
    ends: BinaryHeap<Reverse<(Timestamp, CompleteAt)>>,
    bytes: usize,
}

/// What may be removed when its time has come.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum CompleteAt {
    Record(RecordKey),
    Marker(u128),
}

struct Record {
    fingerprint: Fingerprint,
    token: Token,
    state: State,
    /// When its own entry in the heap is due.
    look: Timestamp,
}

impl Record {
    fn new(fingerprint: Fingerprint, token: Token, state: State) -> Self {
        Self {
            fingerprint,
            token,
            state,
            look: Timestamp::default(),
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

    /// What a request meets; `None` if it may run.
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
        let unanswered = |record: &Record| {
            record.token == lease.token && !matches!(record.state, State::Done { .. })
        };
        if self.records.get(&lease.key).is_some_and(unanswered) {
            self.remove(lease.key);
        }
        if marker_until > now && self.markers.insert(lease.token, marker_until).is_none() {
            self.ends.push(Reverse((
                marker_until,
                CompleteAt::Marker(lease.token.as_u128()),
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
            } => match other_run(*until, *on_crash, now) {
                OtherRun::Held => RecordState::Running,
                OtherRun::Unknown => RecordState::Unknown,
                OtherRun::Rerun => RecordState::Lapsed,
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
        record.look = record.next_look(Timestamp::default());
        self.ends
            .push(Reverse((record.look, CompleteAt::Record(key))));
        self.bytes += record.size();
        if let Some(old) = self.records.insert(key, record) {
            self.bytes -= old.size();
        }
    }

    /// Removes some of what has expired: as much as keeps up with what comes, and no more, so that
    /// no call is held up by a million. Gives whether more is due. A record that was written again
    /// since is due later.
    fn remove_expired(&mut self, now: Timestamp) -> bool {
        for _ in 0..MAX_REMOVED {
            if self.ends.peek().is_none_or(|Reverse((end, _))| *end > now) {
                return false;
            }
            match self.ends.pop() {
                Some(Reverse((end, CompleteAt::Record(key)))) => {
                    self.remove_if_expired(key, end, now);
                }
                Some(Reverse((_, CompleteAt::Marker(token)))) => {
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
                self.ends
                    .push(Reverse((*until, CompleteAt::Marker(token.as_u128()))));
            }
            _ => {
                self.markers.remove(&token);
            }
        }
    }

    fn remove_if_expired(&mut self, key: RecordKey, end: Timestamp, now: Timestamp) {
        // Of several entries of one key only the record's own counts.
        let Some(record) = self
            .records
            .get_mut(&key)
            .filter(|record| record.look == end)
        else {
            return;
        };
        let next_look = record.next_look(now);
        if record.is_expired(now) {
            self.remove(key);
        } else {
            record.look = next_look;
            self.ends
                .push(Reverse((next_look, CompleteAt::Record(key))));
        }
    }
}

/// Expired entries removed by one call.
const MAX_REMOVED: usize = 64;

/// About what a record takes beside its response: itself, its places in the map and in the heap.
const OVERHEAD: usize = 512;

impl Record {
    /// When nothing is left of the record. A running one is at least known as UNKNOWN until then.
    fn expiry(&self) -> Timestamp {
        match &self.state {
            State::Running { until, ttl, .. } => until.after(*ttl),
            State::Done { until, .. } | State::Unknown { until } => *until,
        }
    }

    /// When to look whether it has expired: for a running one already when its lease ends, so that
    /// what was aborted meanwhile is not remembered for a whole time to live.
    fn next_look(&self, now: Timestamp) -> Timestamp {
        match &self.state {
            State::Running { until, .. } if now < *until => *until,
            _ => self.expiry(),
        }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expiry() <= now
    }

    /// What another request with the same fingerprint meets; `None` if it may run.
    fn begin_outcome(&self, now: Timestamp) -> Option<BeginOutcome> {
        match &self.state {
            State::Running {
                until, on_crash, ..
            } => match other_run(*until, *on_crash, now) {
                OtherRun::Held => Some(BeginOutcome::InFlight),
                OtherRun::Unknown => Some(BeginOutcome::Unknown),
                OtherRun::Rerun => None,
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

    /// A key that counts how often it is compared.
    #[expect(
        clippy::derived_hash_with_manual_eq,
        reason = "they agree; this one counts"
    )]
    #[derive(Eq, Hash)]
    struct Counted(RecordKey);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARISONS.set(COMPARISONS.get() + 1);
            self.0 == other.0
        }
    }

    /// Names that all have one hash if their words are only folded together.
    fn aimed_keys(count: u64) -> Vec<RecordKey> {
        let name = |number: u64| {
            let (first, second) = (number.to_ne_bytes(), number.rotate_left(5).to_ne_bytes());
            core::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
        };
        (0..count)
            .map(|number| RecordKey::new([7; 16], name(number)))
            .collect()
    }

    /// How many keys each look-up is compared with, on average, in a table of these keys.
    fn comparisons(hasher: impl BuildHasher, keys: &[RecordKey]) -> usize {
        let mut table = HashSet::with_hasher(hasher);
        table.extend(keys.iter().map(|key| Counted(*key)));
        COMPARISONS.set(0);
        assert!(keys.iter().all(|key| table.contains(&Counted(*key))));
        COMPARISONS.get().div_ceil(keys.len())
    }

    #[test]
    fn keys_that_are_aimed_at_one_place_of_the_table_are_spread() {
        let keys = aimed_keys(2_000);
        let fixed = comparisons(BuildHasherDefault::<UniformHasher>::default(), &keys);
        assert!(
            fixed >= 500,
            "they meet in one place under a hash that is known: {fixed}"
        );
        let own = comparisons(Table::default().records.hasher().clone(), &keys);
        assert!(own <= 2, "{own}");
    }

    #[test]
    fn each_table_has_a_hash_of_its_own() {
        let hash = |key: &RecordKey| Table::default().records.hasher().hash_one(key);
        let key = RecordKey::new([1; 16], [2; 16]);
        assert_ne!(hash(&key), hash(&key));
    }
}
