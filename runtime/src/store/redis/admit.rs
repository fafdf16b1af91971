//! The admission of a request: its limits and `begin` in one round trip.

use redis::Value;

use super::RedisStore;
use super::groups::in_one_slot;
use super::link::WhenDisconnected;
use super::script::{ScriptCall, unexpected};
use super::{limits, records};
use crate::policies::idempotency::Begin;
use crate::policies::rate_limit::LimitRequest;
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// The script of the limits, followed by the script of `begin`. A rejection ends the script before
/// anything is written.
///
/// - KEYS: the keys of `begin`, then the buckets.
/// - ARGV: the three arguments of `begin`, then two arguments for each bucket.
/// - Returns the values of the limits' script. If the limits admit, one more value follows: the
///   result of `begin`. (A nested array would cost Redis 2,000 instructions more.)
pub(super) const SCRIPT: &str = concat!(
    "#!lua\nlocal keys_before, arguments_before = 2, 3\n",
    include_str!("acquire.lua"),
    "if not admitted then return seen end\nlocal function begin()\n",
    include_str!("find_record.lua"),
    include_str!("begin.lua"),
    "end\nlocal found = begin()\n",
    // A table is an error reply, which must not be nested in the array.
    "if type(found) == 'table' then return found end\n",
    "seen[#seen + 1] = found\nreturn seen",
);

impl AdmissionStore for RedisStore {
    fn joins(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> bool {
        !self.link.is_cluster() || in_one_slot(&self.admit_keys(requests, begin))
    }

    fn admit<'a>(
        &'a self,
        requests: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        StoreFuture::later(self.admit_request(requests, begin))
    }
}

impl RedisStore {
    fn admit_keys(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> Vec<String> {
        let mut keys = Vec::from(self.begin_keys(begin));
        keys.extend(self.buckets(requests));
        keys
    }

    async fn admit_request(
        &self,
        requests: &[LimitRequest<'_>],
        begin: &Begin,
    ) -> Result<Admission, StoreError> {
        let keys = self.admit_keys(requests, begin);
        let mut arguments = Vec::from(records::begin_arguments(begin));
        arguments.extend(limits::arguments(requests));
        let call = ScriptCall {
            keys: &keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        let reply = self
            .inner
            .scripts
            .admit
            .run_with_reply(&self.link, call, self.inner.timeout)
            .await?;
        match parse_admission(requests, reply.value, &keys[0])? {
            // The first attempt may have been admitted. The second attempt may have been rejected
            // only because the first one had taken the tokens.
            Admission::Refused(_) if reply.repeated => Err(StoreError::Unavailable(String::from(
                "the connection was lost, and the repeated request was rejected",
            ))),
            admission => Ok(admission),
        }
    }
}

fn parse_admission(
    requests: &[LimitRequest<'_>],
    reply: Value,
    key: &str,
) -> Result<Admission, StoreError> {
    // A reply that does not end with the result of `begin` is a rejection.
    if let Some(rejected) = limits::parse_acquired(requests, &reply) {
        return if rejected.admitted {
            Err(unexpected(&reply))
        } else {
            Ok(Admission::Refused(rejected))
        };
    }
    let Value::Array(mut values) = reply else {
        return Err(unexpected(&reply));
    };
    let begun = values.pop().unwrap_or(Value::Nil);
    let limits = Value::Array(values);
    match limits::parse_acquired(requests, &limits).filter(|acquired| acquired.admitted) {
        Some(acquired) => {
            records::parse_begin(begun, key).map(|outcome| Admission::Admitted(acquired, outcome))
        }
        None => Err(unexpected(&limits)),
    }
}
