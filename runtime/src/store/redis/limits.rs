use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use redis::Value;

use super::RedisStore;
use super::link::WhenDisconnected;
use super::script::{ScriptCall, unexpected};
use crate::policies::rate_limit::{Acquired, BucketState, LimitRequest, LimitStore};
use crate::store::acquire::{BUCKET, FIXED_WINDOW, RequestNumbers, SLIDING_WINDOW, parse_states};
use crate::store::{StoreError, StoreFuture};

impl LimitStore for RedisStore {
    fn acquire<'a>(&'a self, requests: &'a [LimitRequest<'a>]) -> StoreFuture<'a, Acquired> {
        StoreFuture::later(self.take(requests))
    }

    /// Returns a hash of the address of the node that has the first bucket. This node usually has
    /// all buckets of the request. Returns 0 if the store is not a cluster.
    fn part(&self, requests: &[LimitRequest<'_>]) -> usize {
        let Some(request) = requests.first().filter(|_| self.link.is_cluster()) else {
            return 0;
        };
        let node = self
            .link
            .address_of(&self.inner.keys.bucket(&request.bucket));
        let mut hasher = DefaultHasher::new();
        node.hash(&mut hasher);
        usize::try_from(hasher.finish() >> 32).unwrap_or(0)
    }
}

/// The reply of the script that takes tokens.
#[derive(Debug)]
pub(super) struct TakenTokens {
    /// The states of the buckets before the tokens were taken.
    pub(super) states: Vec<BucketState>,
    /// The server's clock when the script ran, in microseconds; 0 if the time was not requested.
    pub(super) now: u64,
}

impl RedisStore {
    async fn take(&self, requests: &[LimitRequest<'_>]) -> Result<Acquired, StoreError> {
        let keys = self.buckets(requests);
        let states = if self.is_one_step(&keys) {
            self.take_in_one_slot(&keys, requests, false).await?.states
        } else {
            self.take_in_groups(keys, requests).await?
        };
        Ok(Acquired::decide(requests, &states))
    }

    /// Takes the requested tokens of buckets in one slot.
    pub(super) async fn take_in_one_slot(
        &self,
        keys: &[String],
        requests: &[LimitRequest<'_>],
        with_time: bool,
    ) -> Result<TakenTokens, StoreError> {
        let mut arguments = arguments(requests);
        // An additional empty argument requests the time.
        arguments.extend(with_time.then(Vec::new));
        let call = ScriptCall {
            keys,
            arguments: &arguments,
            when_disconnected: WhenDisconnected::Fail,
        };
        let reply = self
            .inner
            .scripts
            .acquire
            .run(&self.link, call, self.inner.timeout)
            .await?;
        let mut numbers = parse_numbers(&reply).ok_or_else(|| unexpected(&reply))?;
        let now = if with_time {
            numbers.pop().unwrap_or_default()
        } else {
            0
        };
        let states = parse_states(&numbers, requests).ok_or_else(|| unexpected(&reply))?;
        Ok(TakenTokens { states, now })
    }

    /// Returns the Redis keys of the requested buckets.
    pub(super) fn buckets(&self, requests: &[LimitRequest<'_>]) -> Vec<String> {
        requests
            .iter()
            .map(|request| self.inner.keys.bucket(&request.bucket))
            .collect()
    }
}

/// Returns the arguments of the script that takes tokens: two for each request.
pub(super) fn arguments(requests: &[LimitRequest<'_>]) -> Vec<Vec<u8>> {
    let ttl_ms = |request: &LimitRequest<'_>| {
        request
            .quota
            .window()
            .div_ceil(1000)
            .to_string()
            .into_bytes()
    };
    requests
        .iter()
        .flat_map(|request| [acquire_argument(request), ttl_ms(request)])
        .collect()
}

/// Parses the reply of the script that takes tokens; `None` if the reply has another form.
///
/// The script returns the states of the buckets. The decision is computed from these states here,
/// with the same arithmetic as in the script.
pub(super) fn parse_acquired(requests: &[LimitRequest<'_>], reply: &Value) -> Option<Acquired> {
    parse_states(&parse_numbers(reply)?, requests).map(|states| Acquired::decide(requests, &states))
}

/// Returns the argument of the script that gives the tokens of a request back.
///
/// The argument contains the kind of the bucket, the number of tokens, and a time. The time depends
/// on the kind:
///
/// - for a token or leaky bucket, the time at which it would be full without this request
/// - for a fixed window, the end of the window
/// - for a sliding window, the time at which the tokens were taken
pub(super) fn give_back_argument(
    request: &LimitRequest<'_>,
    state: BucketState,
    now: u64,
) -> Vec<u8> {
    let cost = if request.decide(state).wait.is_none() {
        request.cost
    } else {
        0
    };
    match state {
        BucketState::Ahead(ahead) => {
            pack(BUCKET, [request.quota.interval() * cost, now + ahead, 0])
        }
        BucketState::Window { left, .. } => {
            pack(FIXED_WINDOW, [cost, now + left, request.quota.burst()])
        }
        BucketState::Log { .. } => pack(SLIDING_WINDOW, [cost, now, 0]),
    }
}

/// Returns the first argument for a bucket.
///
/// It contains the kind of the bucket, the cost of the request, the largest number of used tokens
/// with which the request still fits, and the time in which the bucket refills.
///
/// The argument is packed into bytes, because the server parses text three times as slowly.
fn acquire_argument(request: &LimitRequest<'_>) -> Vec<u8> {
    let RequestNumbers {
        kind,
        cost,
        max_used,
        window,
    } = RequestNumbers::new(request);
    pack(kind, [cost, max_used, window])
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times in microseconds are less than 2⁵³"
)]
fn pack(kind: u8, numbers: [u64; 3]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(25);
    packed.push(kind);
    for number in numbers {
        packed.extend((number as f64).to_be_bytes());
    }
    packed
}

fn parse_numbers(reply: &Value) -> Option<Vec<u64>> {
    let Value::Array(values) = reply else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(number).collect()
}
