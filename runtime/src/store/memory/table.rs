//! The table of records behind the store's lock. The result of an operation depends only on the
//! table and on its arguments, which include the current time.

use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use super::shares::{Shares, Usage, exceeds_quota};
use crate::clock::Timestamp;
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, Fingerprint, Lease, LeaseState, OnCrash,
    Outcome, RecordHolder, RecordKey, RecordState, StoredResponse, Token, lease_state,
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
    /// One entry for each record and each marker, the earliest time first. At this time, the record
    /// or the marker is checked for expiry. An entry is removed together with its record or marker,
    /// so the bound on records and markers also bounds the entries.
    checks: BTreeSet<(Timestamp, Expiring)>,
    /// The estimated size of all records.
    bytes: usize,
    /// The part of the records that each holder has.
    shares: Shares,
}

/// An entry that is removed when it has expired.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Expiring {
    Record(RecordKey),
    /// The bytes of the token. A `u128` would align the entry to 16 bytes, which takes more memory.
    Marker([u8; 16]),
}

impl Expiring {
    fn marker(token: Token) -> Self {
        Self::Marker(token.as_u128().to_ne_bytes())
    }
}

struct Record {
    fingerprint: Fingerprint,
    token: Token,
    holder: RecordHolder,
    state: State,
    /// The time of the record's entry in `checks`. It is earlier than the expiry if the lease was
    /// renewed, because a renewal does not move the entry.
    check_at: Timestamp,
}

impl Record {
    fn new(fingerprint: Fingerprint, token: Token, holder: RecordHolder, state: State) -> Self {
        let check_at = state.expiry();
        Self {
            fingerprint,
            token,
            holder,
            state,
            check_at,
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
        bounds: Usage,
        now: Timestamp,
    ) -> Result<BeginOutcome, StoreError> {
        // Each call of `remove_expired` removes more entries than this `begin` adds. If the record
        // is refused, there are more calls, until there is room or no expired entry is left. Their
        // number is limited, because other requests wait meanwhile.
        let mut more = self.remove_expired(now);
        for _ in 0..MAX_ROUNDS {
            if !more || self.refusal(begin, bounds).is_none() {
                break;
            }
            more = self.remove_expired(now);
        }
        if self
            .markers
            .get(&begin.token)
            .is_some_and(|until| now < *until)
        {
            return Ok(BeginOutcome::Aborted);
        }
        if let Some(found) = self.find(begin, now) {
            return Ok(found);
        }
        match self.refusal(begin, bounds) {
            None => Ok(self.start(begin, now)),
            Some(Refusal::Full) => Err(StoreError::Full),
            Some(Refusal::QuotaExceeded) => Ok(BeginOutcome::QuotaExceeded {
                retry_after: self.room_in(now),
            }),
        }
    }

    /// Returns the reason why a new record is refused. A record that exists already takes no more
    /// room, so it is never refused.
    fn refusal(&self, begin: &Begin, bounds: Usage) -> Option<Refusal> {
        if self.records.contains_key(&begin.key) {
            return None;
        }
        let used = Usage {
            records: self.records.len() + self.markers.len(),
            bytes: self.bytes,
        };
        if exceeds_quota(self.shares.usage(&begin.holder), used, bounds) {
            return Some(Refusal::QuotaExceeded);
        }
        let is_full = used.records >= bounds.records || used.bytes >= bounds.bytes;
        is_full.then_some(Refusal::Full)
    }

    /// Returns the time until the next record or marker can expire, and at least one second. This
    /// is a lower bound: the record that expires next can have another holder, and its lease can be
    /// renewed. Room comes earlier only if a run ends without storing its record.
    fn room_in(&self, now: Timestamp) -> Duration {
        let next = self.checks.first().map_or(now, |(at, _)| *at);
        next.since(now).max(MIN_RETRY_AFTER)
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
            Record::new(begin.fingerprint, begin.token, begin.holder, state),
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
        // If the record was removed, its holder is unknown, and the new record counts towards its
        // caller.
        let holder = self
            .records
            .get(&lease.key)
            .map_or(RecordHolder::Caller(*lease.key.caller()), |record| {
                record.holder
            });
        self.put(
            lease.key,
            Record::new(complete.fingerprint, lease.token, holder, state),
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
        if marker_until > now {
            self.put_marker(lease.token, marker_until);
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
        let record = Record::new(record.fingerprint, record.token, record.holder, state);
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
                let record = Record::new(record.fingerprint, record.token, record.holder, state);
                self.put(key, record);
            }
        }
        true
    }

    fn remove(&mut self, key: RecordKey) {
        if let Some(record) = self.records.remove(&key) {
            self.forget(key, &record);
        }
    }

    fn put(&mut self, key: RecordKey, record: Record) {
        self.bytes += record.size();
        self.shares.add(record.holder, record.size());
        let check_at = record.check_at;
        if let Some(old) = self.records.insert(key, record) {
            self.forget(key, &old);
        }
        self.checks.insert((check_at, Expiring::Record(key)));
    }

    /// Removes the data that the table has about a removed or replaced record.
    fn forget(&mut self, key: RecordKey, record: &Record) {
        self.bytes -= record.size();
        self.shares.remove(record.holder, record.size());
        self.checks
            .remove(&(record.check_at, Expiring::Record(key)));
    }

    fn put_marker(&mut self, token: Token, until: Timestamp) {
        if let Some(old) = self.markers.insert(token, until) {
            self.checks.remove(&(old, Expiring::marker(token)));
        }
        self.checks.insert((until, Expiring::marker(token)));
    }

    /// Removes up to [`MAX_REMOVED`] expired entries. Returns `true` if more entries may be due.
    ///
    /// A call removes more entries than a `begin` adds, so expired records do not accumulate. A
    /// call removes only a limited number of entries, so that no request waits while a million
    /// entries are removed.
    fn remove_expired(&mut self, now: Timestamp) -> bool {
        for _ in 0..MAX_REMOVED {
            if self.checks.first().is_none_or(|(at, _)| *at > now) {
                return false;
            }
            match self.checks.pop_first() {
                Some((_, Expiring::Record(key))) => self.remove_if_expired(key, now),
                Some((_, Expiring::Marker(token))) => {
                    let token = Token::from_u128(u128::from_ne_bytes(token));
                    self.markers.remove(&token);
                }
                None => return false,
            }
        }
        true
    }

    /// Removes a record whose entry in `checks` was due, or adds an entry for its new expiry. The
    /// expiry is new if the lease was renewed.
    fn remove_if_expired(&mut self, key: RecordKey, now: Timestamp) {
        let Some(record) = self.records.get_mut(&key) else {
            return;
        };
        if record.is_expired(now) {
            self.remove(key);
        } else {
            record.check_at = record.state.expiry();
            self.checks.insert((record.check_at, Expiring::Record(key)));
        }
    }
}

/// The reason why a new record is refused.
enum Refusal {
    Full,
    QuotaExceeded,
}

/// The shortest time after which a holder over its quota may send a request again.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The maximum number of additional calls of `remove_expired` in one `begin`.
const MAX_ROUNDS: usize = 16;

/// The maximum number of expired entries that one call removes.
const MAX_REMOVED: usize = 64;

/// The estimated size of a record without its response in bytes: the record, its entries in the map
/// and the ordered set, and its holder. Measured: 270 bytes if few holders have all records, 310 if
/// each record has another holder, and 470 directly after the maps have grown.
const OVERHEAD: usize = 512;

/// The estimated size of a response beyond its fields and its body in bytes. Measured: 290 bytes
/// with two fields.
const RESPONSE_OVERHEAD: usize = 256;

impl State {
    /// Returns the time at which the record becomes ABSENT. A RUNNING record first lapses, and then
    /// stays UNKNOWN for its time to live.
    fn expiry(&self) -> Timestamp {
        match self {
            Self::Running { until, ttl, .. } => until.after(*ttl),
            Self::Done { until, .. } | Self::Unknown { until } => *until,
        }
    }
}

impl Record {
    fn is_expired(&self, now: Timestamp) -> bool {
        self.state.expiry() <= now
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
            State::Done { response, .. } => RESPONSE_OVERHEAD + response.size(),
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

    /// Checks that each record and each marker has exactly one entry, and that the sums are right.
    fn assert_consistent(table: &Table) {
        let records = table
            .records
            .iter()
            .map(|(key, record)| (record.check_at, Expiring::Record(*key)));
        let markers = table
            .markers
            .iter()
            .map(|(token, until)| (*until, Expiring::marker(*token)));
        let expected: BTreeSet<_> = records.chain(markers).collect();
        assert_eq!(expected.len(), table.records.len() + table.markers.len());
        assert!(table.checks == expected, "an entry is missing or left over");
        let bytes: usize = table.records.values().map(Record::size).sum();
        assert_eq!(table.bytes, bytes);
        let mut shares = HashMap::<_, Usage>::new();
        for record in table.records.values() {
            let share = shares.entry(record.holder).or_default();
            share.records += 1;
            share.bytes += record.size();
        }
        assert_eq!(table.shares.to_map(), shares);
    }

    const LEASE: Duration = Duration::from_secs(30);
    const TTL: Duration = Duration::from_hours(24);
    const BOUNDS: Usage = Usage {
        records: 1_000,
        bytes: 1 << 20,
    };

    fn begin_of(key: u8, token: u128, on_crash: OnCrash) -> Begin {
        let (key, fingerprint) = (
            RecordKey::new([key; 16], [key; 16]),
            Fingerprint::new(1, [0; 32]),
        );
        let token = Token::from_u128(token);
        Begin::new(key, fingerprint, token, LEASE, on_crash, TTL)
    }

    fn stored(body: &'static str) -> StoredResponse {
        let (head, ()) = http::Response::new(()).into_parts();
        StoredResponse::new(&head, Some(bytes::Bytes::from_static(body.as_bytes())))
    }

    /// One call of the table. `run` selects the key and the token.
    /// Makes one call. `run` selects the key and the token.
    fn apply(table: &mut Table, call: u8, run: u8, now: Timestamp) {
        let on_crash = if run.is_multiple_of(2) {
            OnCrash::Rerun
        } else {
            OnCrash::Unknown
        };
        let holder = RecordHolder::Caller([run % 5; 16]);
        let begin = begin_of(run % 3, u128::from(run % 8), on_crash).with_holder(holder);
        let lease = begin.lease();
        match call {
            0 | 1 => drop(table.begin(&begin, BOUNDS, now)),
            2 => drop(table.renew(lease, now.after(LEASE), now)),
            3 | 4 => {
                let outcome = if call == 3 {
                    Outcome::Response(stored("tea"))
                } else {
                    Outcome::Unknown
                };
                let complete = Complete::new(lease, begin.fingerprint, outcome, TTL);
                table.complete(&complete, now);
            }
            5 => table.abort(lease, now, now),
            6 => table.abort(lease, now.after(LEASE), now),
            7 => drop(table.mark_unknown(lease, TTL, now)),
            8 => drop(table.resolve(lease.key, None, TTL, now)),
            _ => drop(table.resolve(lease.key, Some(stored("salt")), TTL, now)),
        }
    }

    proptest::proptest! {
        #[test]
        fn each_record_and_each_marker_has_exactly_one_entry(
            steps in proptest::collection::vec((0..10_u8, 0..24_u8, 0..4_u32), 1..200),
        ) {
            let (mut table, mut now) = (Table::default(), Timestamp::from_micros(1));
            for (call, run, pause) in steps {
                apply(&mut table, call, run, now);
                assert_consistent(&table);
                // Most pauses are within a lease. The longest passes a lease and a time to live.
                now = now.after(match pause {
                    0 => Duration::ZERO,
                    1 => LEASE / 2,
                    2 => LEASE,
                    _ => TTL,
                });
            }
            let later = now.after(TTL * 3);
            while table.remove_expired(later) {}
            assert_consistent(&table);
            assert_eq!((table.len(), table.checks.len(), table.bytes), (0, 0, 0));
        }
    }

    #[test]
    fn records_that_are_removed_leave_no_entries() {
        let (mut table, now) = (Table::default(), Timestamp::from_micros(1));
        for token in 0..10_000 {
            let begin = begin_of(1, token, OnCrash::Unknown);
            assert_eq!(table.begin(&begin, BOUNDS, now), Ok(BeginOutcome::Started));
            if token.is_multiple_of(2) {
                table.abort(begin.lease(), now, now);
            } else {
                assert!(table.mark_unknown(begin.lease(), TTL, now));
                assert!(table.resolve(begin.key, None, TTL, now));
            }
            assert_eq!((table.len(), table.checks.len(), table.bytes), (0, 0, 0));
        }
    }

    /// Returns the begin of a new record of this holder.
    fn new_begin(number: u64, holder: RecordHolder) -> Begin {
        let mut name = [0; 16];
        name[..8].copy_from_slice(&number.to_ne_bytes());
        Begin {
            key: RecordKey::new(name, name),
            ..begin_of(0, u128::from(number), OnCrash::Rerun).with_holder(holder)
        }
    }

    /// Begins records of this holder until the table refuses one. Returns the refused begin and its
    /// outcome.
    fn fill(
        table: &mut Table,
        numbers: &mut core::ops::RangeFrom<u64>,
        holder: RecordHolder,
        now: Timestamp,
    ) -> (Begin, Result<BeginOutcome, StoreError>) {
        loop {
            let number = numbers.next().expect("endless");
            let begin = new_begin(number, holder);
            let outcome = table.begin(&begin, BOUNDS, now);
            if outcome != Ok(BeginOutcome::Started) {
                return (begin, outcome);
            }
        }
    }

    #[test]
    fn a27_one_holder_gets_three_quarters_and_every_other_holder_still_gets_new_keys() {
        let (mut table, now) = (Table::default(), Timestamp::from_micros(1));
        let mut numbers = 0..;
        let greedy = RecordHolder::Caller([1; 16]);
        let refused = |found| matches!(found, Ok(BeginOutcome::QuotaExceeded { .. }));
        assert!(refused(fill(&mut table, &mut numbers, greedy, now).1));
        assert_eq!(table.len(), 751);
        let address = |last| RecordHolder::Address([192, 0, 2, last].into());
        for (holder, count) in [
            (address(1), 101),
            (RecordHolder::Unknown, 101),
            (address(2), 47),
        ] {
            let before = table.len();
            let (_, found) = fill(&mut table, &mut numbers, holder, now);
            assert_eq!(table.len() - before, count, "{holder:?}");
            assert_eq!(refused(found.clone()), count == 101, "{holder:?} {found:?}");
        }
        assert_eq!(table.len(), 1_000);
        let begin = new_begin(u64::MAX, address(3));
        assert_eq!(table.begin(&begin, BOUNDS, now), Err(StoreError::Full));
        assert_consistent(&table);
    }

    #[test]
    fn a27_a_holder_over_its_quota_in_bytes_gets_no_new_keys() {
        let (mut table, now) = (Table::default(), Timestamp::from_micros(1));
        let (greedy, other) = (RecordHolder::Caller([1; 16]), RecordHolder::Unknown);
        let (head, ()) = http::Response::new(()).into_parts();
        let large = vec![b'x'; BOUNDS.bytes / 4 * 3];
        let response = StoredResponse::new(&head, Some(bytes::Bytes::from(large)));
        let first = new_begin(1, greedy);
        assert_eq!(table.begin(&first, BOUNDS, now), Ok(BeginOutcome::Started));
        let outcome = Outcome::Response(response.clone());
        let complete = Complete::new(first.lease(), first.fingerprint, outcome, TTL);
        assert_eq!(table.complete(&complete, now), CompleteOutcome::Written);
        let retry_after = TTL;
        assert_eq!(
            table.begin(&new_begin(2, greedy), BOUNDS, now),
            Ok(BeginOutcome::QuotaExceeded { retry_after })
        );
        assert_eq!(
            table.begin(&new_begin(3, other), BOUNDS, now),
            Ok(BeginOutcome::Started)
        );
        let retry = Begin {
            token: Token::from_u128(9),
            ..first
        };
        assert_eq!(
            table.begin(&retry, BOUNDS, now),
            Ok(BeginOutcome::Done(response))
        );
    }

    #[test]
    fn a27_existing_records_of_a_holder_over_its_quota_are_never_refused() {
        let (mut table, start) = (Table::default(), Timestamp::from_micros(1));
        let holder = RecordHolder::Caller([1; 16]);
        let (refused, _) = fill(&mut table, &mut (0..), holder, start);
        let again = |number, now, table: &mut Table| {
            let begin = Begin {
                token: Token::from_u128(u128::MAX),
                ..new_begin(number, holder)
            };
            table.begin(&begin, BOUNDS, now)
        };
        assert_eq!(again(0, start, &mut table), Ok(BeginOutcome::InFlight));
        let other_request = Begin {
            fingerprint: Fingerprint::new(1, [1; 32]),
            ..new_begin(0, holder)
        };
        assert_eq!(
            table.begin(&other_request, BOUNDS, start),
            Ok(BeginOutcome::Mismatch)
        );
        let lapsed = start.after(LEASE);
        assert_eq!(
            again(0, lapsed, &mut table),
            Ok(BeginOutcome::Started),
            "a rerun"
        );
        assert!(matches!(
            table.begin(&refused, BOUNDS, lapsed),
            Ok(BeginOutcome::QuotaExceeded { .. })
        ));
    }

    #[test]
    fn a27_retry_after_is_the_time_until_the_next_record_can_expire() {
        let (mut table, start) = (Table::default(), Timestamp::from_micros(1));
        let holder = RecordHolder::Caller([1; 16]);
        let (refused, found) = fill(&mut table, &mut (0..), holder, start);
        let retry_after = LEASE + TTL;
        assert_eq!(found, Ok(BeginOutcome::QuotaExceeded { retry_after }));
        let almost = start.after(LEASE).after(TTL.mul_f64(0.999_999_999));
        assert_eq!(
            table.begin(&refused, BOUNDS, almost),
            Ok(BeginOutcome::QuotaExceeded {
                retry_after: Duration::from_secs(1)
            })
        );
        let expired = start.after(retry_after);
        assert_eq!(
            table.begin(&refused, BOUNDS, expired),
            Ok(BeginOutcome::Started)
        );
        while table.remove_expired(expired) {}
        assert_consistent(&table);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn each_table_has_its_own_random_hash() {
        let hash = |key: &RecordKey| Table::default().records.hasher().hash_one(key);
        let key = RecordKey::new([1; 16], [2; 16]);
        assert_ne!(hash(&key), hash(&key));
    }
}
