use redis::Value;

use super::RedisStore;
use super::link::Patience;
use super::script::{Run, unexpected};
use crate::clock::Timestamp;
use crate::policies::rate_limit::{Acquired, Claim, LimitStore};
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
pub(super) fn arguments(claims: &[Claim<'_>]) -> Vec<u64> {
    let cost = |claim: &Claim<'_>| claim.quota.interval().saturating_mul(claim.cost);
    let of = |claim: &Claim<'_>| [cost(claim), claim.quota.window(), u64::from(claim.shadow)];
    claims.iter().flat_map(of).collect()
}

/// The script decides whether the claims fit; what that means for each bucket is read off here, by
/// the same arithmetic.
pub(super) fn acquired(claims: &[Claim<'_>], answer: &Value) -> Option<Acquired> {
    let ahead = moments(answer).filter(|ahead| ahead.len() == claims.len())?;
    Some(Acquired::of(claims, &ahead, Timestamp::default()))
}

/// The arrival times of the buckets, counted from the server's now.
fn moments(answer: &Value) -> Option<Vec<Option<Timestamp>>> {
    let Value::Array(values) = answer else { return None };
    let moment = |value: &Value| match value {
        Value::Int(micros) => u64::try_from(*micros).ok().map(|micros| Some(Timestamp::from_micros(micros))),
        _ => None,
    };
    values.iter().map(moment).collect()
}
