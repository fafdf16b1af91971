//! The rate limit of the hand-written endpoint: token buckets in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aplomb_benches::payment::{BURST, PER_MINUTE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The buckets of all callers.
#[derive(Default)]
pub(crate) struct Buckets(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The state of a bucket after a request.
pub(crate) struct BucketReply {
    pub(crate) allowed: bool,
    remaining: f64,
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

#[expect(
    clippy::cast_precision_loss,
    reason = "the burst is much less than 2⁵³"
)]
const CAPACITY: f64 = BURST as f64;
#[expect(clippy::cast_precision_loss, reason = "the rate is much less than 2⁵³")]
const PER_SECOND: f64 = PER_MINUTE as f64 / 60.0;

impl Buckets {
    /// Takes a token if the bucket of the caller has one.
    pub(crate) fn take(&self, caller: &str) -> BucketReply {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if !buckets.contains_key(caller) {
            let full = Bucket {
                tokens: CAPACITY,
                at: now,
            };
            buckets.insert(caller.to_owned(), full);
        }
        let bucket = buckets.get_mut(caller).expect("a bucket that exists now");
        let elapsed = now.duration_since(bucket.at).as_secs_f64();
        bucket.tokens = CAPACITY.min(bucket.tokens + elapsed * PER_SECOND);
        bucket.at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        let remaining = bucket.tokens;
        BucketReply { allowed, remaining }
    }
}

impl BucketReply {
    /// Writes the header fields of the limit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the values are between zero and the burst"
    )]
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let resets_in = ((CAPACITY - self.remaining) / PER_SECOND).ceil() as u64;
        headers.insert(LIMIT, HeaderValue::from(BURST));
        headers.insert(REMAINING, HeaderValue::from(self.remaining as u64));
        headers.insert(RESET, HeaderValue::from(now + resets_in));
    }
}
