use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use redis::Value;

use super::RedisStore;
use super::link::WhenDisconnected;
use super::script::{ScriptCall, unexpected};
use crate::policies::rate_limit::{Acquired, Algorithm, LimitRequest, LimitStore, State};
use crate::store::{StoreError, StoreFuture};

impl LimitStore for RedisStore {
    fn acquire<'a>(&'a self, claims: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.take(claims))
    }

    /// Of several nodes that which has the first bucket: mostly it has all.
    fn part(&self, claims: &[LimitRequest<'_>]) -> usize {
        let Some(claim) = claims.first().filter(|_| self.link.is_cluster()) else {
            return 0;
        };
        let node = self.link.address_of(&self.inner.keys.bucket(&claim.bucket));
        let mut hasher = DefaultHasher::new();
        node.hash(&mut hasher);
        usize::try_from(hasher.finish() >> 32).unwrap_or(0)
    }
}

/// What the script told when it took what it could.
#[derive(Debug)]
pub(super) struct TakenTokens {
    /// The buckets before.
    pub(super) states: Vec<State>,
    /// When that was, by the server's time, in microseconds; 0 where that was not asked.
    pub(super) now: u64,
}

impl RedisStore {
    async fn take(&self, claims: &[LimitRequest<'_>]) -> Result<Acquired, StoreError> {
        let keys = self.buckets(claims);
        let states = if self.is_one_step(&keys) {
            self.take_in_one_slot(&keys, claims, false).await?.states
        } else {
            self.take_in_groups(keys, claims).await?
        };
        Ok(Acquired::of(claims, &states))
    }

    /// Takes what is claimed of buckets in one slot.
    pub(super) async fn take_in_one_slot(
        &self,
        keys: &[String],
        claims: &[LimitRequest<'_>],
        tells_when: bool,
    ) -> Result<TakenTokens, StoreError> {
        let mut arguments = arguments(claims);
        arguments.extend(tells_when.then(Vec::new));
        let run = ScriptCall {
            keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        let answer = self
            .inner
            .scripts
            .acquire
            .run(&self.link, run, self.inner.timeout)
            .await?;
        let mut told = numbers(&answer).ok_or_else(|| unexpected(&answer))?;
        let now = if tells_when {
            told.pop().unwrap_or_default()
        } else {
            0
        };
        let states = states(&told, claims).ok_or_else(|| unexpected(&answer))?;
        Ok(TakenTokens { states, now })
    }

    /// The keys of the claims' buckets.
    pub(super) fn buckets(&self, claims: &[LimitRequest<'_>]) -> Vec<String> {
        claims
            .iter()
            .map(|claim| self.inner.keys.bucket(&claim.bucket))
            .collect()
    }
}

/// What the script is told of the claims.
pub(super) fn arguments(claims: &[LimitRequest<'_>]) -> Vec<Vec<u8>> {
    let life =
        |claim: &LimitRequest<'_>| claim.quota.window().div_ceil(1000).to_string().into_bytes();
    claims
        .iter()
        .flat_map(|claim| [asked(claim), life(claim)])
        .collect()
}

/// The script decides whether the claims fit; what that means for each bucket is read off here, by
/// the same arithmetic.
pub(super) fn acquired(claims: &[LimitRequest<'_>], answer: &Value) -> Option<Acquired> {
    states(&numbers(answer)?, claims).map(|states| Acquired::of(claims, &states))
}

/// What the script that gives tokens back is told of a bucket from which a claim has taken: its kind, what is
/// given back, and what the bucket was before; of a window when it ends, or when the tokens were taken.
pub(super) fn given_back(claim: &LimitRequest<'_>, state: State, now: u64) -> Vec<u8> {
    let cost = if claim.decide(state).wait.is_none() {
        claim.cost
    } else {
        0
    };
    match state {
        State::Ahead(ahead) => packed(BUCKET, [claim.quota.interval() * cost, now + ahead, 0]),
        State::Window { left, .. } => packed(FIXED_WINDOW, [cost, now + left, claim.quota.burst()]),
        State::Log { .. } => packed(SLIDING_WINDOW, [cost, now, 0]),
    }
}

/// What the script is asked of a bucket: its kind, what the claim costs, how much may be taken already
/// for it to fit, and how long the bucket takes to refill. Packed, it costs the server a third of what it
/// costs as text.
fn asked(claim: &LimitRequest<'_>) -> Vec<u8> {
    let LimitRequest { quota, cost, .. } = *claim;
    let (kind, cost, most) = match quota.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => {
            let cost = quota.interval().saturating_mul(cost);
            (BUCKET, cost, quota.max_ahead(cost, claim.max_queue_wait))
        }
        Algorithm::FixedWindow => (FIXED_WINDOW, cost, quota.burst().saturating_sub(cost)),
        Algorithm::SlidingWindow => (SLIDING_WINDOW, cost, quota.burst().saturating_sub(cost)),
    };
    packed(
        kind + if claim.shadow { SHADOW } else { 0 },
        [cost, most, quota.window()],
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "moments in microseconds are less than 2⁵³"
)]
fn packed(kind: u8, numbers: [u64; 3]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(25);
    packed.push(kind);
    for number in numbers {
        packed.extend((number as f64).to_be_bytes());
    }
    packed
}

const BUCKET: u8 = 0;
const FIXED_WINDOW: u8 = 1;
const SLIDING_WINDOW: u8 = 2;
const SHADOW: u8 = 3;

fn numbers(answer: &Value) -> Option<Vec<u64>> {
    let Value::Array(values) = answer else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(number).collect()
}

/// The buckets as the script has seen them.
fn states(told: &[u64], claims: &[LimitRequest<'_>]) -> Option<Vec<State>> {
    let mut told = told.iter().copied();
    let mut next = || told.next();
    let states = claims.iter().map(|claim| {
        let (burst, window) = (claim.quota.burst(), claim.quota.window());
        Some(match claim.quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => State::Ahead(next()?.min(window)),
            Algorithm::FixedWindow => State::Window {
                used: next()?.min(burst),
                left: next()?,
            },
            Algorithm::SlidingWindow => State::Log {
                used: next()?.min(burst),
                leaves: next()?,
                room: next()?,
            },
        })
    });
    let states = states.collect::<Option<Vec<State>>>()?;
    told.next().is_none().then_some(states)
}
