use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use super::decide::{BucketState, LimitStatus};
use super::quota::Quota;
use crate::facet::StoreFuture;
use crate::request::Caller;

/// A store of rate limit buckets.
///
/// The store uses its own clock. A full bucket needs no record, so a record expires when its bucket
/// is full.
///
/// The stores of Aplomb implement this trait. Implement it for your own store, or for a type that
/// wraps another store, for example to count the calls:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use aplomb::policies::rate_limit::{Acquired, LimitRequest, LimitStore};
/// use aplomb::store::StoreFuture;
///
/// #[derive(Debug)]
/// struct Counted<L> {
///     calls: AtomicU64,
///     store: L,
/// }
///
/// impl<L: LimitStore> LimitStore for Counted<L> {
///     fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
///         self.calls.fetch_add(1, Ordering::Relaxed);
///         self.store.acquire(requests)
///     }
/// }
/// ```
pub trait LimitStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the tokens of all requests, or of none.
    ///
    /// Requests of shadow limits do not affect the decision. If all other requests are admitted,
    /// each shadow request takes its own tokens if its bucket has enough, and nothing otherwise.
    ///
    /// The requests of one call name different buckets.
    ///
    /// **Atomic**: no other call sees a part of the requests or takes tokens in between. A rejected
    /// call changes nothing. A store whose buckets are on different nodes, such as a Redis Cluster,
    /// may take the tokens bucket by bucket, and give them back if it then rejects the call. In the
    /// meantime another call may be rejected although it would fit, but no call is admitted
    /// wrongly.
    ///
    /// **Expiry**: a bucket may be dropped as soon as it is full.
    ///
    /// **Crash** before the write: no tokens are taken. After the write, if the reply is lost: the
    /// tokens are taken although the request was not served. Buckets refill by themselves. Between
    /// the writes on two nodes: the tokens of some buckets are taken.
    ///
    /// **Late**: after 250 ms the caller drops the future. This has the same effect as a lost
    /// reply.
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired>;

    /// Returns `true` if the store decides in the memory of this process. Prefetching tokens then
    /// saves nothing.
    fn is_in_process(&self) -> bool {
        false
    }

    /// Returns the number of the part of the store that decides these requests.
    ///
    /// Parts can fail separately, such as the nodes of a cluster. Only a failed part is no longer
    /// called; the others continue to decide.
    fn part(&self, _requests: &[LimitRequest<'_>]) -> usize {
        0
    }
}

impl<L: LimitStore + ?Sized> LimitStore for Arc<L> {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        (**self).acquire(requests)
    }

    fn part(&self, requests: &[LimitRequest<'_>]) -> usize {
        (**self).part(requests)
    }

    fn is_in_process(&self) -> bool {
        (**self).is_in_process()
    }
}

/// A request for tokens of one bucket.
#[derive(Debug, Clone, Copy)]
pub struct LimitRequest<'a> {
    /// The bucket.
    pub bucket: Bucket<'a>,
    /// The quota of the bucket. All requests for a bucket have the same quota, because a changed
    /// limit has other buckets.
    pub quota: Quota,
    /// The number of tokens, at most the quota's burst. A request for 0 tokens only reads the
    /// status.
    pub cost: u64,
    /// The most tokens that one request takes from the bucket. While the store does not reply, an
    /// instance decides by its share of the burst. The share is at least this cost, so it is the
    /// same for all requests.
    pub max_cost: u64,
    /// Set for a shadow limit, whose bucket cannot reject the request.
    pub shadow: bool,
    /// The longest time for which the request can wait for its turn in a leaky bucket.
    pub max_queue_wait: Duration,
}

impl<'a> LimitRequest<'a> {
    /// Creates a request for one token of a bucket. The request can wait for its turn for any time.
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

    /// Returns the status of the request if its bucket is in this state and all other buckets admit
    /// the request.
    pub fn decide(&self, state: BucketState) -> LimitStatus {
        state.take(self.quota, self.cost, self.max_queue_wait)
    }

    /// Returns `true` if a bucket with this status admits the request.
    pub(crate) const fn admits(&self, status: &LimitStatus) -> bool {
        self.shadow || status.wait.is_none()
    }
}

/// A bucket: a limit, and the requests that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket<'a> {
    /// The number of the limit. All endpoints that declare the limit have the same number.
    pub limit: u64,
    /// The requests that the bucket counts.
    pub subject: LimitSubject<'a>,
}

/// The requests that share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSubject<'a> {
    /// The requests of one caller.
    Caller(&'a Caller),
    /// The requests from one client address. An IPv6 address represents its /64 network.
    Address(IpAddr),
    /// The requests with this [verified](super::LimitKey) key.
    Key(&'a str),
    /// All requests.
    Everyone,
}

/// Hashes fewer bytes than a derived implementation, because this function runs for every limited
/// request. Tables identify a bucket only by its hash, so different subjects must write different
/// bytes. The bytes of callers and keys end with 0xff. The bytes of the other kinds differ in
/// length.
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

/// The result of a call to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// `true` if the request is admitted. Each status is then the status after the tokens were
    /// taken. A status with `wait` then belongs to a shadow limit, from which no tokens were taken.
    /// If `false`, no tokens were taken from any bucket.
    pub admitted: bool,
    /// The status of each bucket, in the order of the requests.
    pub statuses: Vec<LimitStatus>,
}

impl Acquired {
    /// Decides about requests for buckets in these states: all requests take their tokens, or none
    /// does. A shadow limit rejects nothing.
    pub fn decide(requests: &[LimitRequest<'_>], states: &[BucketState]) -> Self {
        let decide = |(request, state): (&LimitRequest<'_>, &BucketState)| request.decide(*state);
        let mut statuses: Vec<LimitStatus> = requests.iter().zip(states).map(decide).collect();
        let admitted = requests
            .iter()
            .zip(&statuses)
            .all(|(request, status)| request.admits(status));
        if !admitted {
            // A rejected call changed nothing, so a limit that would have admitted the request
            // reports the tokens that it still has.
            for ((request, state), status) in requests.iter().zip(states).zip(&mut statuses) {
                if status.wait.is_none() {
                    *status = state.peek(request.quota);
                }
            }
        }
        Self { admitted, statuses }
    }
}
