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

/// What is wanted of a bucket, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) cost: u64,
    pub(super) window: u64,
    pub(super) shadow: bool,
}

/// What the script told when it took what it could.
#[derive(Debug)]
pub(super) struct Taken {
    /// How far ahead of now the buckets were, in microseconds.
    pub(super) ahead: Vec<u64>,
    /// When that was, by the server's time; 0 where that was not asked.
    pub(super) now: u64,
}

impl Want {
    fn of(claim: &Claim<'_>) -> Self {
        let cost = claim.quota.interval().saturating_mul(claim.cost);
        Self { cost, window: claim.quota.window(), shadow: claim.shadow }
    }

    /// Whether a bucket that is so far ahead has what is wanted.
    pub(super) const fn fits(&self, ahead: u64) -> bool {
        ahead.saturating_add(self.cost) <= self.window
    }
}

impl RedisStore {
    /// The script decides whether the claims fit; what that means for each bucket is read off here,
    /// by the same arithmetic.
    async fn take(&self, claims: &[Claim<'_>]) -> Result<Acquired, StoreError> {
        let keys: Vec<String> = claims.iter().map(|claim| self.inner.keys.bucket(&claim.bucket)).collect();
        let wants: Vec<Want> = claims.iter().map(Want::of).collect();
        let ahead = if self.is_one_step(&keys) {
            self.take_at_once(&keys, &wants, false).await?.ahead
        } else {
            self.take_in_groups(keys, wants).await?
        };
        let ahead: Vec<_> = ahead.into_iter().map(|micros| Some(Timestamp::from_micros(micros))).collect();
        Ok(Acquired::of(claims, &ahead, Timestamp::default()))
    }

    /// Takes what is wanted of buckets in one slot.
    pub(super) async fn take_at_once(
        &self,
        keys: &[String],
        wants: &[Want],
        tells_when: bool,
    ) -> Result<Taken, StoreError> {
        let of = |want: &Want| [want.cost, want.window, u64::from(want.shadow)];
        let mut arguments: Vec<u64> = wants.iter().flat_map(of).collect();
        arguments.extend(tells_when.then_some(1));
        let run = Run { keys, arguments: &arguments, patience: Patience::None };
        let answer = self.inner.scripts.acquire.run(&self.link, run, self.inner.timeout).await?;
        let told = numbers(&answer).filter(|told| told.len() == keys.len() + usize::from(tells_when));
        let mut ahead = told.ok_or_else(|| unexpected(&answer))?;
        let now = if tells_when { ahead.pop().unwrap_or_default() } else { 0 };
        Ok(Taken { ahead, now })
    }
}

fn numbers(answer: &Value) -> Option<Vec<u64>> {
    let Value::Array(values) = answer else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(number).collect()
}
