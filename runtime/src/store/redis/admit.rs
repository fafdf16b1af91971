//! Limits and `begin` in one trip.

use redis::Value;

use super::RedisStore;
use super::groups::in_one_slot;
use super::link::WhenDisconnected;
use super::script::{ScriptCall, unexpected};
use super::{limits, records};
use crate::policies::idempotency::Begin;
use crate::policies::rate_limit::LimitRequest;
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// The scripts of the limits and of `begin`, one after the other, where a refusal comes before
/// anything is written.
///
/// KEYS: those of `begin`, then the buckets. ARGV: the three of `begin`, then two of each bucket. Gives what the
/// script of the limits gives and, where they admit, one more: what `begin` gives. (An array within the array
/// would cost Redis 2 k instructions.)
pub(super) const SCRIPT: &str = concat!(
    "#!lua\nlocal keys_before, arguments_before = 2, 3\n",
    include_str!("acquire.lua"),
    "if not admitted then return seen end\nlocal function begin()\n",
    include_str!("find_record.lua"),
    include_str!("begin.lua"),
    "end\nlocal found = begin()\n",
    // An error.
    "if type(found) == 'table' then return found end\n",
    "seen[#seen + 1] = found\nreturn seen",
);

impl AdmissionStore for RedisStore {
    fn joins(&self, claims: &[LimitRequest<'_>], begin: &Begin) -> bool {
        !self.link.is_cluster() || in_one_slot(&self.admit_keys(claims, begin))
    }

    fn admit<'a>(
        &'a self,
        claims: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        StoreFuture::later(self.admit_request(claims, begin))
    }
}

impl RedisStore {
    fn admit_keys(&self, claims: &[LimitRequest<'_>], begin: &Begin) -> Vec<String> {
        let mut keys = Vec::from(self.begin_keys(begin));
        keys.extend(self.buckets(claims));
        keys
    }

    async fn admit_request(
        &self,
        claims: &[LimitRequest<'_>],
        begin: &Begin,
    ) -> Result<Admission, StoreError> {
        let keys = self.admit_keys(claims, begin);
        let mut arguments = Vec::from(records::begin_arguments(begin));
        arguments.extend(limits::arguments(claims));
        let run = ScriptCall {
            keys: &keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        let told = self
            .inner
            .scripts
            .admit
            .run_with_reply(&self.link, run, self.inner.timeout)
            .await?;
        match admission(claims, told.answer, &keys[0])? {
            // The first try may have been admitted, and have taken what this one is missing.
            Admission::Refused(_) if told.repeated => Err(StoreError::Unavailable(String::from(
                "the connection was lost, and what was asked again is refused",
            ))),
            admission => Ok(admission),
        }
    }
}

fn admission(
    claims: &[LimitRequest<'_>],
    answer: Value,
    key: &str,
) -> Result<Admission, StoreError> {
    if let Some(refused) = limits::acquired(claims, &answer) {
        return if refused.admitted {
            Err(unexpected(&answer))
        } else {
            Ok(Admission::Refused(refused))
        };
    }
    let Value::Array(mut told) = answer else {
        return Err(unexpected(&answer));
    };
    let found = told.pop().unwrap_or(Value::Nil);
    let told = Value::Array(told);
    match limits::acquired(claims, &told).filter(|acquired| acquired.admitted) {
        Some(acquired) => {
            records::parse_begin(found, key).map(|found| Admission::Admitted(acquired, found))
        }
        None => Err(unexpected(&told)),
    }
}
