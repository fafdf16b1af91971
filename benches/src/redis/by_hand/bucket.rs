//! The rate limit: one trip, a script.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use crate::payment::{BURST, PER_MINUTE};

/// The script, hashed once.
pub(super) struct Bucket {
    script: Script,
}

/// What the bucket said.
pub(super) struct Taken {
    pub(super) allowed: bool,
    remaining: u64,
    /// Milliseconds until the bucket is full.
    full_in: u64,
}

/// In milliseconds.
const MINUTE: u64 = 60_000;
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Bucket {
    pub(super) fn new() -> Self {
        Self {
            script: Script::new(include_str!("bucket.lua")),
        }
    }

    /// Takes a token, if there is one.
    pub(super) async fn take(
        &self,
        connection: &mut MultiplexedConnection,
        caller: &str,
    ) -> RedisResult<Taken> {
        let mut run = self.script.key(format!("bucket:{caller}"));
        run.arg(BURST)
            .arg(PER_MINUTE)
            .arg(BURST / PER_MINUTE * MINUTE);
        let (allowed, remaining, full_in) = run.invoke_async(connection).await?;
        Ok(Taken {
            allowed,
            remaining,
            full_in,
        })
    }
}

impl Taken {
    /// Tells the client.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        headers.insert(LIMIT, HeaderValue::from(BURST));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(now + self.full_in.div_ceil(1000)));
    }
}
