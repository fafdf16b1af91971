//! Pure functions from the state of one bucket to the decision about a request.
//!
//! A token bucket is the generic cell rate algorithm (ITU-T I.371). Its only state is the
//! theoretical arrival time: the time at which the bucket is full again. A request moves that time
//! forward by the time in which its tokens refill. The request is admitted if the new time is at
//! most one full refill ahead of now. The state of a leaky bucket is also a single time: the time
//! at which its queue is empty again. A new request waits until that time.

use core::time::Duration;

use super::quota::Quota;
use super::spec::Algorithm;
use crate::clock::{Timestamp, micros};

/// The state of a bucket relative to now, with times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketState {
    /// The time until a token bucket is full, or until a leaky bucket is empty.
    Ahead(u64),
    /// A fixed window.
    Window {
        /// The tokens taken in the window.
        used: u64,
        /// The time until the window ends.
        left: u64,
    },
    /// A sliding window.
    Log {
        /// The tokens taken in the window.
        used: u64,
        /// The time until the last of these tokens leaves the window.
        leaves: u64,
        /// The time until the request fits, because enough old tokens have left the window.
        room: u64,
    },
}

/// The state of a bucket as the response reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// The whole tokens left.
    pub remaining: u64,
    /// The time until the bucket is full.
    pub resets_in: Duration,
    /// The time until the bucket has enough tokens for the request; `None` if the request was
    /// admitted.
    pub wait: Option<Duration>,
    /// The time for which an admitted request waits in the queue of a leaky bucket.
    pub queue_delay: Duration,
}

impl BucketState {
    /// Decides about a request for `cost` tokens. In a leaky bucket, the request can wait for its
    /// turn for up to `max_queue_wait`. The cost is at most the burst.
    ///
    /// Returns the status after the request has taken its tokens. If the request is rejected,
    /// `wait` is set and the status is that of the unchanged bucket.
    pub fn take(self, quota: Quota, cost: u64, max_queue_wait: Duration) -> LimitStatus {
        let rejected = |wait: u64| LimitStatus {
            wait: Some(Duration::from_micros(wait.max(1))),
            ..self.peek(quota)
        };
        match self {
            Self::Ahead(ahead) => {
                let cost = quota.interval().saturating_mul(cost);
                let max_ahead = quota.max_ahead(cost, max_queue_wait);
                if ahead > max_ahead || cost > quota.window() {
                    return rejected(ahead.saturating_sub(max_ahead));
                }
                let turn = if quota.algorithm() == Algorithm::LeakyBucket && cost > 0 {
                    ahead
                } else {
                    0
                };
                LimitStatus {
                    queue_delay: Duration::from_micros(turn),
                    ..Self::Ahead(ahead + cost).peek(quota)
                }
            }
            Self::Window { used, left } if used + cost > quota.burst() => rejected(left),
            Self::Window { used, left } => Self::Window {
                used: used + cost,
                left,
            }
            .peek(quota),
            Self::Log { used, room, .. } if used + cost > quota.burst() => rejected(room),
            Self::Log { used, leaves, room } => {
                let leaves = if cost > 0 { quota.window() } else { leaves };
                Self::Log {
                    used: used + cost,
                    leaves,
                    room,
                }
                .peek(quota)
            }
        }
    }

    /// Returns the status of the bucket without taking tokens.
    pub fn peek(self, quota: Quota) -> LimitStatus {
        let (remaining, resets_in) = match self {
            Self::Ahead(ahead) => ((quota.window() - ahead) / quota.interval(), ahead),
            Self::Window { used, left } => (quota.burst() - used, if used > 0 { left } else { 0 }),
            Self::Log { used, leaves, .. } => (quota.burst() - used, leaves),
        };
        LimitStatus {
            remaining,
            resets_in: Duration::from_micros(resets_in),
            ..LimitStatus::default()
        }
    }

    /// Returns the state of a bucket without any tokens left.
    #[cfg(feature = "redis")]
    pub(crate) const fn exhausted(quota: Quota) -> Self {
        let (used, window) = (quota.burst(), quota.window());
        match quota.algorithm() {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => Self::Ahead(window),
            Algorithm::FixedWindow => Self::Window { used, left: window },
            Algorithm::SlidingWindow => Self::Log {
                used,
                leaves: window,
                room: window,
            },
        }
    }

    /// Decodes the word that stores a bucket. The word of a token or leaky bucket is its
    /// theoretical arrival time. The word of a fixed window is the end of the window plus one
    /// microsecond per used token. A bucket without a word is full.
    ///
    /// If the stored word is larger than any word that this quota can store now, the bucket counts
    /// as exhausted. This happens after the clock has stepped back, or after the quota was lowered.
    pub(crate) fn from_word(word: Option<u64>, quota: Quota, now: Timestamp) -> Self {
        let now = now.as_micros();
        if quota.algorithm() == Algorithm::FixedWindow {
            let left = quota.window() - now % quota.window();
            let used = word.map_or(0, |word| word.saturating_sub(now.saturating_add(left)));
            Self::Window {
                used: used.min(quota.burst()),
                left,
            }
        } else {
            Self::Ahead(word.map_or(0, |word| word.saturating_sub(now).min(quota.window())))
        }
    }

    /// Encodes the state after `cost` tokens were taken.
    pub(crate) fn to_word(self, quota: Quota, cost: u64, now: Timestamp) -> u64 {
        let ahead = match self {
            Self::Ahead(ahead) => ahead.saturating_add(quota.interval().saturating_mul(cost)),
            Self::Window { used, left } => left + used + cost,
            Self::Log { leaves, .. } => leaves,
        };
        now.as_micros().saturating_add(ahead)
    }
}

impl Quota {
    /// Returns the largest theoretical arrival time with which a bucket admits a request of this
    /// cost. The arrival time is in microseconds from now. The cost is the time in which the tokens
    /// of the request refill, in microseconds.
    pub(crate) fn max_ahead(self, cost: u64, max_queue_wait: Duration) -> u64 {
        let max_ahead = self.window().saturating_sub(cost);
        match self.algorithm() {
            // A request of cost 0 takes no place in the queue, so it does not wait.
            Algorithm::LeakyBucket if cost > 0 => max_ahead.min(micros(max_queue_wait)),
            _ => max_ahead,
        }
    }
}

/// Returns the status after `elapsed` time in which no tokens were taken.
pub(crate) fn status_after(status: LimitStatus, quota: Quota, elapsed: Duration) -> LimitStatus {
    let resets_in = status.resets_in.saturating_sub(elapsed);
    let remaining = match quota.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => {
            BucketState::Ahead(micros(resets_in)).peek(quota).remaining
        }
        Algorithm::FixedWindow | Algorithm::SlidingWindow if resets_in.is_zero() => quota.burst(),
        // Only the store knows how many tokens of a log have expired. At least as many tokens are
        // left as before.
        Algorithm::FixedWindow | Algorithm::SlidingWindow => status.remaining,
    };
    LimitStatus {
        remaining,
        resets_in,
        wait: status.wait.map(|wait| wait.saturating_sub(elapsed)),
        ..status
    }
}
