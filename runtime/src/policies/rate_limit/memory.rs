use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::decide::State;
use super::logs::Logs;
use super::spec::Algorithm;
use super::store::{Acquired, Bucket, LimitRequest, LimitStore, LimitSubject};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::facet::StoreFuture;
use crate::sharded::{KeyHash, Sharded, Slots, WAYS};

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
    table: Sharded<Part, PARTS>,
    clock: Arc<dyn Clock>,
}

struct Part {
    /// Each bucket in a word.
    words: Slots<u64>,
    logs: Logs,
}

const PARTS: usize = 64;

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
        let places = capacity.next_power_of_two().max(PARTS * WAYS) / PARTS;
        let part = || Part {
            words: Slots::with_places(places),
            logs: Logs::with_bound(places),
        };
        Self {
            table: Sharded::new(part),
            clock,
        }
    }

    /// How many buckets are held that are not full again yet.
    pub fn active(&self) -> usize {
        let now = self.clock.now().as_micros();
        self.table.sum(|part| part.active(now))
    }

    /// The hash of a bucket in few words: the second says what follows.
    fn hash(&self, bucket: &Bucket<'_>) -> KeyHash {
        let kind = |kind: u64, number: u32| (bucket.limit, kind << 32 | u64::from(number));
        match bucket.subject {
            LimitSubject::Everyone => self.table.hash(kind(0, 0)),
            LimitSubject::Address(IpAddr::V4(address)) => {
                self.table.hash(kind(1, address.to_bits()))
            }
            LimitSubject::Address(IpAddr::V6(address)) => {
                self.table.hash((kind(2, 0), address.to_bits()))
            }
            LimitSubject::Caller(caller) => self.table.hash((kind(3, 0), caller)),
            LimitSubject::Key(key) => self.table.hash((kind(4, 0), key)),
        }
    }

    pub(crate) fn take(&self, claims: &[LimitRequest<'_>]) -> Acquired {
        match claims {
            [claim] => self.take_one(claim),
            claims => self.take_all(claims),
        }
    }

    fn take_one(&self, claim: &LimitRequest<'_>) -> Acquired {
        let hash = self.hash(&claim.bucket);
        let mut part = self.table.lock(hash);
        let now = self.clock.now();
        let state = part.state(hash, claim, now);
        let reading = claim.decide(state);
        if reading.wait.is_none() {
            part.take(hash, claim, state, now);
        }
        Acquired {
            admitted: claim.admits(&reading),
            statuses: vec![reading],
        }
    }

    /// Locks every part of the claims, decides, then writes all that can be had, or nothing.
    fn take_all(&self, claims: &[LimitRequest<'_>]) -> Acquired {
        let hashes: Vec<KeyHash> = claims
            .iter()
            .map(|claim| self.hash(&claim.bucket))
            .collect();
        let mut held = self.table.lock_all(hashes.iter().copied());
        let now = self.clock.now();
        let asked = claims.iter().zip(&hashes);
        let states: Vec<State> = asked
            .map(|(claim, hash)| held.part(*hash).state(*hash, claim, now))
            .collect();
        let acquired = Acquired::of(claims, &states);
        if acquired.admitted {
            for (((claim, hash), state), reading) in claims
                .iter()
                .zip(&hashes)
                .zip(states)
                .zip(&acquired.statuses)
            {
                if reading.wait.is_none() {
                    held.part(*hash).take(*hash, claim, state, now);
                }
            }
        }
        acquired
    }
}

impl Part {
    fn state(&mut self, hash: KeyHash, claim: &LimitRequest<'_>, now: Timestamp) -> State {
        if claim.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.state(hash.as_u64(), claim, now);
        }
        let Some(word) = self.words.get_mut(hash) else {
            return State::of_word(None, claim.quota, now);
        };
        let state = State::of_word(Some(*word), claim.quota, now);
        // What is too far ahead would refuse until the clock is there.
        *word = (*word).min(state.word(claim.quota, 0, now));
        state
    }

    fn take(&mut self, hash: KeyHash, claim: &LimitRequest<'_>, state: State, now: Timestamp) {
        if claim.cost == 0 {
            return;
        }
        if claim.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.take(hash.as_u64(), claim, now);
        }
        // Idle buckets are alike: their words lie in the past.
        let full = |word: &u64| (*word).max(now.as_micros());
        self.words
            .insert(hash, state.word(claim.quota, claim.cost, now), full);
    }

    /// Places that are taken, and the size of the logs.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.words.values().count() + self.logs.size()
    }

    fn active(&self, now: u64) -> usize {
        self.words.values().filter(|word| **word > now).count() + self.logs.active(now)
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
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::ready(Ok(self.take(claims)))
    }

    fn is_in_process(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::rate_limit::Quota;
    use crate::request::Caller;
    use crate::testing::TestClock;

    fn claim(limit: u64) -> LimitRequest<'static> {
        let quota = Quota::new(10, Duration::from_secs(10), 10).expect("valid");
        LimitRequest::new(
            Bucket {
                limit,
                subject: LimitSubject::Everyone,
            },
            quota,
        )
    }

    #[test]
    fn b09_subjects_are_told_apart_in_few_words() {
        let limits = MemoryLimits::with_capacity(1024, Arc::new(TestClock::new()));
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let address = |text: &str| LimitSubject::Address(text.parse().expect("an address"));
        let subjects = [
            LimitSubject::Everyone,
            LimitSubject::Caller(&alice),
            LimitSubject::Caller(&bob),
            address("0.0.0.0"),
            address("0.0.0.1"),
            address("::"),
            address("::1"),
            address("0:0:0:1::"),
            LimitSubject::Key("alice"),
            LimitSubject::Key("acme"),
        ];
        for (limit, subject) in (1..4).flat_map(|limit| subjects.map(|subject| (limit, subject))) {
            let claim = LimitRequest {
                bucket: Bucket { limit, subject },
                ..claim(limit)
            };
            assert_eq!(
                limits.take(&[claim]).statuses[0].remaining,
                9,
                "{limit} {subject:?}"
            );
            assert_eq!(
                limits.take(&[claim]).statuses[0].remaining,
                8,
                "{limit} {subject:?}"
            );
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
        let second = (10_000..10_200)
            .filter(|limit| limits.take(&[claim(*limit)]).statuses[0].remaining == 8);
        assert_eq!(second.count(), 200, "every active bucket is still known");
    }

    /// Takes all that ten callers have, lets an attacker come with very many names, and looks whether the ten can
    /// take anything.
    fn besiege(quota: Option<Quota>) {
        let (clock, quota) = (TestClock::new(), quota.expect("valid"));
        let limits = MemoryLimits::with_capacity(1 << 14, Arc::new(clock.clone()));
        let claim = |limit: u64| LimitRequest {
            quota,
            ..claim(limit)
        };
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
            assert!(
                !limits.take(&[claim(honest)]).admitted,
                "{honest} has tokens again"
            );
        }
        let held = limits.table.sum(Part::held);
        assert!(held <= (1 << 14) + PARTS * (10_000 + 16), "{held}");
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
    fn b16_a_log_gives_back_what_a_rush_has_needed() {
        let (clock, quota) = (
            TestClock::new(),
            Quota::sliding_window(10_000, Duration::from_secs(10)),
        );
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let claim = |limit: u64| LimitRequest {
            quota: quota.expect("valid"),
            ..claim(limit)
        };
        for round in 0..2_000 {
            assert!(
                limits
                    .take(&[LimitRequest {
                        cost: 10_000,
                        ..claim(round)
                    }])
                    .admitted
            );
            clock.advance(Duration::from_secs(10));
            assert!(limits.take(&[claim(round)]).admitted);
        }
        let room = limits.table.sum(|part| part.logs.capacity());
        assert!(room <= 2_000 * 16, "{room}");
    }

    #[test]
    fn b16_logs_that_were_left_make_room_for_others() {
        let (clock, quota) = (
            TestClock::new(),
            Quota::sliding_window(10_000, Duration::from_secs(10)),
        );
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let all = |limit: u64| LimitRequest {
            quota: quota.expect("valid"),
            cost: 10_000,
            ..claim(limit)
        };
        for round in 0..200 {
            assert!(limits.take(&[all(round)]).admitted);
            assert!(
                !limits.take(&[all(round)]).admitted,
                "its own tokens are never forgotten"
            );
        }
        let held = limits.table.sum(Part::held);
        assert!(held <= 1024 + PARTS * (10_000 + 16), "{held}");
    }
}
