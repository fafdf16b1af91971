//! The parts of taking tokens that the shared stores have in common: the owner of a bucket, the
//! numbers of a request, and the numbers of a bucket's state.
//!
//! Each store has its own code that takes the tokens and returns the states of the buckets before.
//! The decision is computed from these states in this process, with the same arithmetic.

use std::net::IpAddr;

use crate::policies::rate_limit::{Algorithm, Bucket, BucketState, LimitRequest, LimitSubject};
use crate::request::OwnerHasher;

/// Returns the hash of the requests that a bucket counts. Two limits of the same subject have the
/// same hash.
pub(super) fn hash_subject(owners: &OwnerHasher, bucket: &Bucket<'_>) -> [u8; 16] {
    match bucket.subject {
        LimitSubject::Caller(caller) => owners.hash_caller(caller),
        LimitSubject::Address(IpAddr::V4(address)) => {
            owners.hash_owner("address", &address.octets())
        }
        LimitSubject::Address(IpAddr::V6(address)) => {
            owners.hash_owner("address", &address.octets())
        }
        LimitSubject::Key(key) => owners.hash_owner("key", key.as_bytes()),
        LimitSubject::Everyone => owners.hash_owner("everyone", &bucket.limit.to_be_bytes()),
    }
}

/// The numbers of a request that decide it. They are in microseconds for token and leaky buckets,
/// and in tokens for windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestNumbers {
    /// The kind of the bucket: [`BUCKET`], [`FIXED_WINDOW`] or [`SLIDING_WINDOW`]; plus [`SHADOW`]
    /// for a shadow limit.
    pub(super) kind: u8,
    /// The cost of the request.
    pub(super) cost: u64,
    /// The largest number of used tokens with which the request still fits.
    pub(super) max_used: u64,
    /// The microseconds in which the bucket refills.
    pub(super) window: u64,
}

// The kinds of buckets in the scripts.
pub(super) const BUCKET: u8 = 0;
pub(super) const FIXED_WINDOW: u8 = 1;
pub(super) const SLIDING_WINDOW: u8 = 2;
/// The number that is added to the kind of a shadow limit.
pub(super) const SHADOW: u8 = 3;

impl RequestNumbers {
    pub(super) fn new(request: &LimitRequest<'_>) -> Self {
        let LimitRequest { quota, cost, .. } = *request;
        let (kind, cost, max_used) = match quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                let cost = quota.interval().saturating_mul(cost);
                (BUCKET, cost, quota.max_ahead(cost, request.max_queue_wait))
            }
            Algorithm::FixedWindow => (FIXED_WINDOW, cost, quota.burst().saturating_sub(cost)),
            Algorithm::SlidingWindow => (SLIDING_WINDOW, cost, quota.burst().saturating_sub(cost)),
        };
        Self {
            kind: kind + if request.shadow { SHADOW } else { 0 },
            cost,
            max_used,
            window: quota.window(),
        }
    }
}

/// Parses the states of the buckets; `None` if there are too few or too many numbers.
pub(super) fn parse_states(
    numbers: &[u64],
    requests: &[LimitRequest<'_>],
) -> Option<Vec<BucketState>> {
    let mut numbers = numbers.iter().copied();
    let mut next = || numbers.next();
    let states = requests.iter().map(|request| {
        let (burst, window) = (request.quota.burst(), request.quota.window());
        Some(match request.quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => {
                BucketState::Ahead(next()?.min(window))
            }
            Algorithm::FixedWindow => BucketState::Window {
                used: next()?.min(burst),
                left: next()?,
            },
            Algorithm::SlidingWindow => BucketState::Log {
                used: next()?.min(burst),
                leaves: next()?,
                room: next()?,
            },
        })
    });
    let states = states.collect::<Option<Vec<BucketState>>>()?;
    numbers.next().is_none().then_some(states)
}
