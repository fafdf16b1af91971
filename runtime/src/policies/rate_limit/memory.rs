use core::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::decide::BucketState;
use super::logs::Logs;
use super::spec::Algorithm;
use super::store::{Acquired, Bucket, LimitRequest, LimitStore, LimitSubject};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::facet::StoreFuture;
use crate::sharded::{KeyHash, Sharded, Slots, WAYS};

/// An in-memory store of rate limit buckets. Each bucket takes 16 bytes in a table of fixed size.
/// The logs of sliding windows take 8 more bytes per token.
///
/// A keyed 64-bit hash assigns each bucket to a set of 16 slots. If all 16 slots are in use, a new
/// bucket replaces an idle (full) bucket. If no bucket is idle, the new bucket replaces the one
/// that will be full first, and the count of that bucket is lost. The probability that two of n
/// buckets have the same hash, and so share a slot, is about n² / 2⁶⁵. For a million buckets, it is
/// 3 in 10⁸.
///
/// The logs have a separate bound in each of the table's 64 shards. The bound is the number
/// of slots of the shard, in tokens, but it is at least the size of the longest log, which has
/// 10,000 tokens. Each log counts as 16 additional tokens, because it takes more memory than its
/// tokens. If the bound is exceeded, the logs with the fewest and the oldest tokens are dropped
/// first.
pub struct MemoryLimits {
    table: Sharded<Shard, SHARDS>,
    clock: Arc<dyn Clock>,
}

struct Shard {
    /// The buckets without a log, one word each.
    words: Slots<u64>,
    logs: Logs,
}

/// The number of shards. Each shard has its own lock, and with 64 shards threads rarely wait for
/// each other.
const SHARDS: usize = 64;

impl MemoryLimits {
    /// The default number of buckets: about a million, 16 MiB when full.
    pub const DEFAULT_CAPACITY: usize = 1 << 20;

    /// Creates a table for [`DEFAULT_CAPACITY`](Self::DEFAULT_CAPACITY) buckets, with the system
    /// clock.
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY, Arc::new(SystemClock::new()))
    }

    /// Creates a table for `capacity` buckets with this clock. The capacity is rounded up to a
    /// power of two of at least 1,024. Memory is allocated as buckets are added.
    pub fn with_capacity(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let places = capacity.next_power_of_two().max(SHARDS * WAYS) / SHARDS;
        let shard = || Shard {
            words: Slots::with_slots(places),
            logs: Logs::with_max_size(places),
        };
        Self {
            table: Sharded::new(shard),
            clock,
        }
    }

    /// Returns the number of buckets that are not full.
    pub fn active(&self) -> usize {
        let now = self.clock.now().as_micros();
        self.table.sum(|shard| shard.active(now))
    }

    /// Hashes the bucket as a few integers. This is faster than the `Hash` implementation of
    /// [`Bucket`]. The second integer contains the kind of the subject, so that subjects of
    /// different kinds have different hash inputs.
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

    pub(crate) fn take(&self, requests: &[LimitRequest<'_>]) -> Acquired {
        match requests {
            [request] => self.take_one(request),
            requests => self.take_all(requests),
        }
    }

    fn take_one(&self, request: &LimitRequest<'_>) -> Acquired {
        let hash = self.hash(&request.bucket);
        let mut shard = self.table.lock(hash);
        // The clock is read under the lock. Otherwise, two requests could take the lock in a
        // different order than they read the clock, and the clock would seem to step back.
        let now = self.clock.now();
        let state = shard.state(hash, request, now);
        let status = request.decide(state);
        if status.wait.is_none() {
            shard.take(hash, request, state, now);
        }
        Acquired {
            admitted: request.admits(&status),
            statuses: vec![status],
        }
    }

    /// Locks the shards of all requests and decides. If the requests are admitted, takes their
    /// tokens.
    fn take_all(&self, requests: &[LimitRequest<'_>]) -> Acquired {
        let hashes: Vec<KeyHash> = requests
            .iter()
            .map(|request| self.hash(&request.bucket))
            .collect();
        let mut shards = self.table.lock_all(hashes.iter().copied());
        let now = self.clock.now();
        let keyed = requests.iter().zip(&hashes);
        let states: Vec<BucketState> = keyed
            .map(|(request, hash)| shards.part(*hash).state(*hash, request, now))
            .collect();
        let acquired = Acquired::decide(requests, &states);
        if acquired.admitted {
            for (((request, hash), state), status) in requests
                .iter()
                .zip(&hashes)
                .zip(states)
                .zip(&acquired.statuses)
            {
                if status.wait.is_none() {
                    shards.part(*hash).take(*hash, request, state, now);
                }
            }
        }
        acquired
    }
}

impl Shard {
    fn state(&mut self, hash: KeyHash, request: &LimitRequest<'_>, now: Timestamp) -> BucketState {
        if request.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.state(hash.as_u64(), request, now);
        }
        let Some(word) = self.words.get_mut(hash) else {
            return BucketState::from_word(None, request.quota, now);
        };
        let state = BucketState::from_word(Some(*word), request.quota, now);
        // After the clock has stepped back, the word can be too large. The bucket would then be
        // exhausted until the clock reaches the word. So the word is limited to the value for
        // a bucket that is exhausted at the current time.
        *word = (*word).min(state.to_word(request.quota, 0, now));
        state
    }

    fn take(
        &mut self,
        hash: KeyHash,
        request: &LimitRequest<'_>,
        state: BucketState,
        now: Timestamp,
    ) {
        if request.cost == 0 {
            return;
        }
        if request.quota.algorithm() == Algorithm::SlidingWindow {
            return self.logs.take(hash.as_u64(), request, now);
        }
        // The word of an idle bucket is a time in the past. All idle buckets get the same rank,
        // which is the current time.
        let rank = |word: &u64| (*word).max(now.as_micros());
        self.words
            .insert(hash, state.to_word(request.quota, request.cost, now), rank);
    }

    /// Returns the number of slots in use, plus the size of the logs.
    #[cfg(test)]
    fn size(&self) -> usize {
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
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::ready(Ok(self.take(requests)))
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

    fn request(limit: u64) -> LimitRequest<'static> {
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
    fn b09_every_subject_has_its_own_bucket() {
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
            let request = LimitRequest {
                bucket: Bucket { limit, subject },
                ..request(limit)
            };
            assert_eq!(
                limits.take(&[request]).statuses[0].remaining,
                9,
                "{limit} {subject:?}"
            );
            assert_eq!(
                limits.take(&[request]).statuses[0].remaining,
                8,
                "{limit} {subject:?}"
            );
        }
    }

    #[test]
    fn b16_the_number_of_buckets_is_bounded() {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        for limit in 0..10_000 {
            assert!(limits.take(&[request(limit)]).admitted);
        }
        assert!(limits.active() <= 1024);
    }

    #[test]
    fn b16_idle_buckets_are_dropped_first() {
        let clock = TestClock::new();
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        (0..10_000).for_each(|limit| drop(limits.take(&[request(limit)])));
        clock.advance(Duration::from_secs(10));
        (10_000..10_200).for_each(|limit| drop(limits.take(&[request(limit)])));
        let second = (10_000..10_200)
            .filter(|limit| limits.take(&[request(*limit)]).statuses[0].remaining == 8);
        assert_eq!(second.count(), 200, "every active bucket is still counted");
    }

    /// Uses up the tokens of ten callers, floods the table with the buckets of an attacker, and
    /// checks that the ten callers are still rejected.
    fn assert_a_flood_drops_no_exhausted_bucket(quota: Option<Quota>) {
        let (clock, quota) = (TestClock::new(), quota.expect("valid"));
        let limits = MemoryLimits::with_capacity(1 << 14, Arc::new(clock.clone()));
        let request = |limit: u64| LimitRequest {
            quota,
            ..request(limit)
        };
        for honest in 0..10 {
            assert!((0..10).all(|_| limits.take(&[request(honest)]).admitted));
        }
        for attacker in 10..1_000_000 {
            if attacker % 1_000 == 0 {
                clock.advance(Duration::from_micros(1));
            }
            limits.take(&[request(attacker)]);
        }
        for honest in 0..10 {
            assert!(
                !limits.take(&[request(honest)]).admitted,
                "caller {honest} has tokens again"
            );
        }
        let size = limits.table.sum(Shard::size);
        assert!(size <= (1 << 14) + SHARDS * (10_000 + 16), "{size}");
    }

    #[test]
    fn b16_a_million_buckets_of_an_attacker_do_not_refill_other_callers_buckets() {
        assert_a_flood_drops_no_exhausted_bucket(Quota::new(10, Duration::from_secs(10), 10));
    }

    #[test]
    fn b16_a_million_buckets_of_an_attacker_do_not_refill_other_callers_windows() {
        assert_a_flood_drops_no_exhausted_bucket(Quota::fixed_window(10, Duration::from_secs(10)));
    }

    #[test]
    fn b16_a_million_buckets_of_an_attacker_do_not_refill_other_callers_logs() {
        assert_a_flood_drops_no_exhausted_bucket(Quota::sliding_window(
            10,
            Duration::from_secs(10),
        ));
    }

    #[test]
    fn b16_a_log_releases_memory_after_a_burst() {
        let (clock, quota) = (
            TestClock::new(),
            Quota::sliding_window(10_000, Duration::from_secs(10)),
        );
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let request = |limit: u64| LimitRequest {
            quota: quota.expect("valid"),
            ..request(limit)
        };
        for round in 0..2_000 {
            assert!(
                limits
                    .take(&[LimitRequest {
                        cost: 10_000,
                        ..request(round)
                    }])
                    .admitted
            );
            clock.advance(Duration::from_secs(10));
            assert!(limits.take(&[request(round)]).admitted);
        }
        let capacity = limits.table.sum(|shard| shard.logs.capacity());
        assert!(capacity <= 2_000 * 16, "{capacity}");
    }

    #[test]
    fn b16_old_logs_are_dropped_for_new_ones() {
        let (clock, quota) = (
            TestClock::new(),
            Quota::sliding_window(10_000, Duration::from_secs(10)),
        );
        let limits = MemoryLimits::with_capacity(1024, Arc::new(clock.clone()));
        let all = |limit: u64| LimitRequest {
            quota: quota.expect("valid"),
            cost: 10_000,
            ..request(limit)
        };
        for round in 0..200 {
            assert!(limits.take(&[all(round)]).admitted);
            assert!(
                !limits.take(&[all(round)]).admitted,
                "a request never drops the tokens of its own log"
            );
        }
        let size = limits.table.sum(Shard::size);
        assert!(size <= 1024 + SHARDS * (10_000 + 16), "{size}");
    }
}
