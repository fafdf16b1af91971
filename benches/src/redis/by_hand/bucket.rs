//! The rate limit: one script in one round trip.

use std::time::{SystemTime, UNIX_EPOCH};

use aplomb_benches::payment::{BURST, PER_MINUTE};
use http::{HeaderMap, HeaderName, HeaderValue};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

/// The script of the bucket. It is hashed only at start, and not for each request.
pub(super) struct Bucket {
    script: Script,
}

/// The reply of the bucket.
pub(super) struct BucketReply {
    pub(super) allowed: bool,
    remaining: u64,
    /// Milliseconds until the bucket is full.
    resets_in: u64,
}

/// A minute in milliseconds.
const MINUTE_MS: u64 = 60_000;
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Bucket {
    pub(super) fn new() -> Self {
        Self {
            script: Script::new(include_str!("bucket.lua")),
        }
    }

    /// Takes a token if the bucket has one.
    pub(super) async fn take(
        &self,
        connection: &mut MultiplexedConnection,
        caller: &str,
    ) -> RedisResult<BucketReply> {
        let mut run = self.script.key(format!("bucket:{caller}"));
        run.arg(BURST)
            .arg(PER_MINUTE)
            .arg(BURST / PER_MINUTE * MINUTE_MS);
        let (allowed, remaining, resets_in) = run.invoke_async(connection).await?;
        Ok(BucketReply {
            allowed,
            remaining,
            resets_in,
        })
    }
}

impl BucketReply {
    /// Writes the header fields of the limit.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        headers.insert(LIMIT, HeaderValue::from(BURST));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(
            RESET,
            HeaderValue::from(now + self.resets_in.div_ceil(1000)),
        );
    }
}
