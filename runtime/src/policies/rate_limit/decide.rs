//! What a request meets at one bucket, as pure functions of what the bucket holds.
//!
//! A token bucket is the generic cell rate algorithm (ITU-T I.371): all that is kept of it is its
//! theoretical arrival time, the moment at which it is full again, and a request is admitted if that
//! moment, moved on by its cost, stays within one refill of now. A leaky bucket is the same, read
//! the other way: the moment is when the queue is empty again, and a request waits until it reaches
//! the head.

use core::time::Duration;

use super::quota::Quota;
use super::spec::Algorithm;
use crate::clock::{Timestamp, micros};

/// What a bucket holds, seen from now, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Of a token bucket, until it is full; of a leaky bucket, until it is empty.
    Ahead(u64),
    /// Of a fixed window.
    Window {
        /// Tokens taken in it.
        used: u64,
        /// Until it ends.
        left: u64,
    },
    /// Of a sliding window.
    Log {
        /// Tokens taken in it.
        used: u64,
        /// Until the last of them leaves it.
        leaves: u64,
        /// Until so many have left it that the request fits.
        room: u64,
    },
}

/// The state of a bucket, as clients are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitStatus {
    /// Whole tokens left.
    pub remaining: u64,
    /// Until the bucket is full.
    pub resets_in: Duration,
    /// Until there are tokens enough for the request; `None` if it was admitted.
    pub wait: Option<Duration>,
    /// How long a request that a leaky bucket admitted waits for its turn.
    pub turn: Duration,
}

impl State {
    /// What comes of a request for `cost` tokens, at most the burst, that can wait for its turn as long as
    /// `max_queue_wait`: the state after it has taken them, or why it cannot. It cannot if there is a wait.
    pub fn take(self, quota: Quota, cost: u64, patience: Duration) -> LimitStatus {
        let refused = |wait: u64| LimitStatus {
            wait: Some(Duration::from_micros(wait.max(1))),
            ..self.peek(quota)
        };
        match self {
            Self::Ahead(ahead) => {
                let cost = quota.interval().saturating_mul(cost);
                let most = quota.max_ahead(cost, patience);
                if ahead > most || cost > quota.window() {
                    return refused(ahead.saturating_sub(most));
                }
                let turn = if quota.algorithm() == Algorithm::LeakyBucket && cost > 0 {
                    ahead
                } else {
                    0
                };
                LimitStatus {
                    turn: Duration::from_micros(turn),
                    ..Self::Ahead(ahead + cost).peek(quota)
                }
            }
            Self::Window { used, left } if used + cost > quota.burst() => refused(left),
            Self::Window { used, left } => Self::Window {
                used: used + cost,
                left,
            }
            .peek(quota),
            Self::Log { used, room, .. } if used + cost > quota.burst() => refused(room),
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

    /// What the bucket tells that is not asked for tokens.
    pub fn peek(self, quota: Quota) -> LimitStatus {
        let (remaining, full_in) = match self {
            Self::Ahead(ahead) => ((quota.window() - ahead) / quota.interval(), ahead),
            Self::Window { used, left } => (quota.burst() - used, if used > 0 { left } else { 0 }),
            Self::Log { used, leaves, .. } => (quota.burst() - used, leaves),
        };
        LimitStatus {
            remaining,
            resets_in: Duration::from_micros(full_in),
            ..LimitStatus::default()
        }
    }

    /// A bucket of which all is taken.
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

    /// What stands in one word of a bucket that is no log: the moment of a token or leaky bucket; the end of a
    /// fixed window, moved on by a microsecond a token.
    ///
    /// A word farther ahead than any that this quota makes (the clock stepped back, or the quota was
    /// lowered) counts as a bucket of which all is taken.
    pub(crate) fn of_word(word: Option<u64>, quota: Quota, now: Timestamp) -> Self {
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

    /// The word of the state after so many tokens were taken.
    pub(crate) fn word(self, quota: Quota, cost: u64, now: Timestamp) -> u64 {
        let ahead = match self {
            Self::Ahead(ahead) => ahead.saturating_add(quota.interval().saturating_mul(cost)),
            Self::Window { used, left } => left + used + cost,
            Self::Log { leaves, .. } => leaves,
        };
        now.as_micros().saturating_add(ahead)
    }
}

impl Quota {
    /// How far ahead of now the moment of a bucket may be that admits this cost, in microseconds.
    pub(crate) fn max_ahead(self, cost: u64, patience: Duration) -> u64 {
        let furthest = self.window().saturating_sub(cost);
        match self.algorithm() {
            // What takes nothing has no turn to wait for.
            Algorithm::LeakyBucket if cost > 0 => furthest.min(micros(patience)),
            _ => furthest,
        }
    }
}

/// What a reading has become after a while in which nobody took tokens.
pub(crate) fn after(reading: LimitStatus, quota: Quota, elapsed: Duration) -> LimitStatus {
    let full_in = reading.resets_in.saturating_sub(elapsed);
    let remaining = match quota.algorithm() {
        Algorithm::TokenBucket | Algorithm::LeakyBucket => {
            State::Ahead(micros(full_in)).peek(quota).remaining
        }
        Algorithm::FixedWindow | Algorithm::SlidingWindow if full_in.is_zero() => quota.burst(),
        // What has left a sliding window meanwhile is not known.
        Algorithm::FixedWindow | Algorithm::SlidingWindow => reading.remaining,
    };
    LimitStatus {
        remaining,
        resets_in: full_in,
        wait: reading.wait.map(|wait| wait.saturating_sub(elapsed)),
        ..reading
    }
}
