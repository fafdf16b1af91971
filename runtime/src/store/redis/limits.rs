use redis::Value;

use super::RedisStore;
use super::link::Patience;
use super::script::{Run, unexpected};
use crate::policies::rate_limit::{Acquired, Algorithm, Claim, LimitStore, State};
use crate::store::{StoreError, StoreFuture};

impl LimitStore for RedisStore {
    fn acquire<'a>(&'a self, claims: &'a [Claim<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.take(claims))
    }
}

impl RedisStore {
    async fn take(&self, claims: &[Claim<'_>]) -> Result<Acquired, StoreError> {
        let (keys, arguments) = (self.buckets(claims), arguments(claims));
        let run = Run { keys: &keys, arguments: &arguments, patience: Patience::None };
        let answer = self.inner.scripts.acquire.run(&self.link, run, self.inner.timeout).await?;
        acquired(claims, &answer).ok_or_else(|| unexpected(&answer))
    }

    /// The keys of the claims' buckets.
    pub(super) fn buckets(&self, claims: &[Claim<'_>]) -> Vec<String> {
        claims.iter().map(|claim| self.inner.keys.bucket(&claim.bucket)).collect()
    }
}

/// What the script is told of the claims.
pub(super) fn arguments(claims: &[Claim<'_>]) -> Vec<Vec<u8>> {
    let life = |claim: &Claim<'_>| claim.quota.window().div_ceil(1000).to_string().into_bytes();
    claims.iter().flat_map(|claim| [asked(claim), life(claim)]).collect()
}

/// The script decides whether the claims fit; what that means for each bucket is read off here, by
/// the same arithmetic.
pub(super) fn acquired(claims: &[Claim<'_>], answer: &Value) -> Option<Acquired> {
    states(answer, claims).map(|states| Acquired::of(claims, &states))
}

/// What the script is asked of a bucket: its kind, what the claim costs, how much may be taken already
/// for it to fit, and how long the bucket takes to refill. Packed, it costs the server a third of what it
/// costs as text.
#[expect(clippy::cast_precision_loss, reason = "a hundred years in microseconds are less than 2⁵³")]
fn asked(claim: &Claim<'_>) -> Vec<u8> {
    let Claim { quota, cost, .. } = *claim;
    let (kind, cost, most) = match quota.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => {
            let cost = quota.interval().saturating_mul(cost);
            (BUCKET, cost, quota.furthest(cost, claim.patience))
        }
        Algorithm::FixedWindow => (FIXED_WINDOW, cost, quota.burst().saturating_sub(cost)),
        Algorithm::SlidingWindow => (SLIDING_WINDOW, cost, quota.burst().saturating_sub(cost)),
    };
    let mut packed = Vec::with_capacity(25);
    packed.push(kind + if claim.shadow { SHADOW } else { 0 });
    for number in [cost, most, quota.window()] {
        packed.extend((number as f64).to_be_bytes());
    }
    packed
}

const BUCKET: u8 = 0;
const FIXED_WINDOW: u8 = 1;
const SLIDING_WINDOW: u8 = 2;
const SHADOW: u8 = 3;

/// The buckets as the script has seen them.
fn states(answer: &Value, claims: &[Claim<'_>]) -> Option<Vec<State>> {
    let Value::Array(values) = answer else { return None };
    let mut numbers = values.iter().map(|value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    });
    let mut next = || numbers.next().flatten();
    let states = claims.iter().map(|claim| {
        let (burst, window) = (claim.quota.burst(), claim.quota.window());
        Some(match claim.quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => State::Ahead(next()?.min(window)),
            Algorithm::FixedWindow => State::Window { used: next()?.min(burst), left: next()? },
            Algorithm::SlidingWindow => {
                State::Log { used: next()?.min(burst), leaves: next()?, room: next()? }
            }
        })
    });
    let states = states.collect::<Option<Vec<State>>>()?;
    numbers.next().is_none().then_some(states)
}
