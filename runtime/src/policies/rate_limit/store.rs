use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::decide::{LimitStatus, State};
use super::quota::Quota;
use crate::facet::StoreFuture;
use crate::request::Caller;

/// The buckets of rate limits.
///
/// Time is the store's own. A bucket needs no record while it is full, so records expire when it
/// is.
pub trait LimitStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the tokens of every claim, or of none.
    ///
    /// Claims of shadow limits do not decide: where all others can be had, each of them takes its own
    /// tokens if its bucket has them, and nothing if not.
    ///
    /// **Atomic**: no other call sees, or takes from, a part of the claims; a refused call changes
    /// nothing. A store whose buckets are in different places, as on a Redis Cluster, may take them one by
    /// one and give back what it took for a call that it then refuses: another call may meanwhile be refused
    /// too early, and none is admitted that should not be. The claims of one call name different buckets.
    ///
    /// **Expiry**: a bucket may be forgotten once it is full.
    ///
    /// **Crash** before: nothing was taken. After, with the answer lost: the tokens are taken and
    /// the request was not served; buckets refill by themselves. Between places: as after, of some of them.
    ///
    /// **Late**: an answer that takes longer than 250 ms is waited for no more, and its future
    /// dropped; that is as good as a lost answer.
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired>;

    /// Whether the store answers from this process's memory, so that taking tokens ahead gains nothing.
    fn is_in_process(&self) -> bool {
        false
    }

    /// The part of the store that decides these claims, as a number, where parts can fail by themselves as the nodes
    /// of a cluster do: one that does is left alone, and the others are asked on.
    fn part(&self, _claims: &[LimitRequest<'_>]) -> usize {
        0
    }
}

impl<L: LimitStore + ?Sized> LimitStore for Arc<L> {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        (**self).acquire(claims)
    }

    fn part(&self, claims: &[LimitRequest<'_>]) -> usize {
        (**self).part(claims)
    }

    fn is_in_process(&self) -> bool {
        (**self).is_in_process()
    }
}

/// Tokens that a request takes from one bucket.
#[derive(Debug, Clone, Copy)]
pub struct LimitRequest<'a> {
    /// Which bucket.
    pub bucket: Bucket<'a>,
    /// How it refills; the same for all claims of a bucket, for a limit that is changed is another one.
    pub quota: Quota,
    /// How many tokens; at most the quota's burst. None only reads.
    pub cost: u64,
    /// How many tokens the dearest request takes from the bucket. An instance that decides alone leaves room for
    /// it, whatever this one costs, so that all requests meet the same share.
    pub max_cost: u64,
    /// Whether the limit only counts: its bucket cannot refuse the request.
    pub shadow: bool,
    /// How long the request can wait for its turn, where a leaky bucket gives it one.
    pub max_queue_wait: Duration,
}

impl<'a> LimitRequest<'a> {
    /// One token of a bucket, by a request that can wait for its turn.
    pub const fn new(bucket: Bucket<'a>, quota: Quota) -> Self {
        Self {
            bucket,
            quota,
            cost: 1,
            max_cost: 1,
            shadow: false,
            max_queue_wait: Duration::MAX,
        }
    }

    /// What comes of the claim if its bucket is in this state, and all others let the request go on.
    pub fn decide(&self, state: State) -> LimitStatus {
        state.take(self.quota, self.cost, self.max_queue_wait)
    }

    /// Whether a bucket that says this of the claim lets the request go on.
    pub(crate) const fn admits(&self, reading: &LimitStatus) -> bool {
        self.shadow || reading.wait.is_none()
    }
}

/// One bucket: a limit, and whose requests it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket<'a> {
    /// The limit: the same number wherever the same limit is declared.
    pub limit: u64,
    /// Whose requests.
    pub subject: LimitSubject<'a>,
}

/// Whose requests share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSubject<'a> {
    /// One caller's.
    Caller(&'a Caller),
    /// One client address's; an IPv6 address stands for its /64.
    Address(IpAddr),
    /// All whose requests have this key, which is [verified](super::LimitKey).
    Key(&'a str),
    /// All.
    Everyone,
}

/// Writes less than the derived form, because every limited request is hashed. Tables know a bucket by
/// its hash alone, so no two subjects write the same bytes: names end with 0xff, and the others differ
/// in length.
impl Hash for LimitSubject<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Address(IpAddr::V4(address)) => {
                state.write_u64(1 << 32 | u64::from(address.to_bits()));
            }
            Self::Address(IpAddr::V6(address)) => state.write_u128(address.to_bits()),
            Self::Caller(caller) => {
                state.write_u8(0);
                caller.hash(state);
            }
            Self::Key(key) => {
                state.write_u8(1);
                key.hash(state);
            }
            Self::Everyone => state.write_u8(2),
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// Whether the request may go on. Then every reading is after taking, and one with a wait is a
    /// shadow limit's, which would have refused and gave nothing; else nothing was taken.
    pub admitted: bool,
    /// The buckets' state, in the order of the claims.
    pub statuses: Vec<LimitStatus>,
}

impl Acquired {
    /// What comes of claims on buckets in these states: all of them, or none, but for the claims of
    /// shadow limits, which refuse nothing.
    pub fn of(claims: &[LimitRequest<'_>], states: &[State]) -> Self {
        let decide = |(claim, state): (&LimitRequest<'_>, &State)| claim.decide(*state);
        let mut readings: Vec<LimitStatus> = claims.iter().zip(states).map(decide).collect();
        let admitted = claims
            .iter()
            .zip(&readings)
            .all(|(claim, reading)| claim.admits(reading));
        if !admitted {
            // A refused call changed nothing: a limit that would have admitted tells what it still has.
            for ((claim, state), reading) in claims.iter().zip(states).zip(&mut readings) {
                if reading.wait.is_none() {
                    *reading = state.peek(claim.quota);
                }
            }
        }
        Self {
            admitted,
            statuses: readings,
        }
    }
}
