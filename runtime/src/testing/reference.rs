//! A reference implementation of the rate limit algorithms.
//!
//! It computes each decision from the list of all admitted requests, so it is simple and slow.
//! Tests compare the stores with it.

use core::time::Duration;

use crate::clock::{Timestamp, micros};
use crate::policies::rate_limit::{Algorithm, LimitRequest, LimitStatus, Quota};

/// A rate limit bucket that stores every admitted request.
#[derive(Debug, Clone, Default)]
pub struct ReferenceBucket {
    /// The time and the cost of each admitted request, in microseconds and tokens, the oldest
    /// first.
    taken: Vec<(u64, u64)>,
}

impl ReferenceBucket {
    /// Takes the cost of the request if the limit admits it at `now`. Returns the status of the
    /// limit.
    ///
    /// `now` must not be earlier than in a previous call.
    pub fn acquire(&mut self, request: &LimitRequest<'_>, now: Timestamp) -> LimitStatus {
        let (quota, cost, at) = (request.quota, request.cost, now.as_micros());
        let (remaining, wait, turn) = match quota.algorithm() {
            Algorithm::TokenBucket => {
                let level = self.level(quota, at);
                let missing = (cost * quota.interval()).saturating_sub(level);
                (level / quota.interval(), missing, 0)
            }
            Algorithm::LeakyBucket => {
                let queue = self.queue(quota, at);
                let surplus = (queue + cost * quota.interval()).saturating_sub(quota.window());
                let turn = if cost > 0 { queue } else { 0 };
                let late = turn.saturating_sub(micros(request.max_queue_wait));
                (
                    (quota.window() - queue) / quota.interval(),
                    surplus.max(late),
                    turn,
                )
            }
            Algorithm::FixedWindow => {
                let window = |moment: u64| moment / quota.window();
                let used = self.sum(|moment| window(moment) == window(at));
                let next = (window(at) + 1) * quota.window() - at;
                (
                    quota.burst() - used,
                    if used + cost > quota.burst() { next } else { 0 },
                    0,
                )
            }
            Algorithm::SlidingWindow => {
                let used = |now: u64| self.sum(|moment| moment + quota.window() > now);
                let fits = |now: &u64| used(*now) + cost <= quota.burst();
                let later = self.taken.iter().map(|(moment, _)| moment + quota.window());
                let first = core::iter::once(at)
                    .chain(later)
                    .filter(|moment| *moment >= at)
                    .find(fits);
                (
                    quota.burst() - used(at),
                    first.map_or(0, |first| first - at),
                    0,
                )
            }
        };
        let wait = (wait > 0).then(|| Duration::from_micros(wait));
        if wait.is_none() && cost > 0 {
            self.note(now, cost);
        }
        let remaining = if wait.is_none() {
            self.remaining(quota, at, remaining, cost)
        } else {
            remaining
        };
        let turn = if wait.is_none() {
            Duration::from_micros(turn)
        } else {
            Duration::ZERO
        };
        LimitStatus {
            remaining,
            resets_in: self.resets_in(quota, at),
            wait,
            queue_delay: turn,
        }
    }

    /// Adds a request that another bucket or instance admitted.
    pub fn note(&mut self, now: Timestamp, cost: u64) {
        self.taken.push((now.as_micros(), cost));
    }

    /// Returns the largest sum of tokens that were admitted within any half-open period of this
    /// length.
    pub fn most_in_any(&self, period: Duration) -> u64 {
        let sum =
            |start: u64| self.sum(|moment| moment >= start && moment < start + micros(period));
        self.taken
            .iter()
            .map(|(moment, _)| sum(*moment))
            .max()
            .unwrap_or(0)
    }

    fn sum(&self, within: impl Fn(u64) -> bool) -> u64 {
        self.taken
            .iter()
            .filter(|(moment, _)| within(*moment))
            .map(|(_, cost)| cost)
            .sum()
    }

    /// Returns the level of the token bucket: the time in microseconds in which an empty bucket
    /// refills to this level. The bucket begins full.
    fn level(&self, quota: Quota, now: u64) -> u64 {
        let (mut level, mut at) = (quota.window(), 0);
        for (moment, cost) in &self.taken {
            level = quota.window().min(level + (moment - at)) - cost * quota.interval();
            at = *moment;
        }
        quota.window().min(level + (now - at))
    }

    /// Returns the microseconds until the queue of the leaky bucket is empty. The queue begins
    /// empty.
    fn queue(&self, quota: Quota, now: u64) -> u64 {
        let end = self.taken.iter().fold(0, |end, (moment, cost)| {
            end.max(*moment) + cost * quota.interval()
        });
        end.saturating_sub(now)
    }

    fn remaining(&self, quota: Quota, now: u64, before: u64, cost: u64) -> u64 {
        match quota.algorithm() {
            Algorithm::TokenBucket => self.level(quota, now) / quota.interval(),
            Algorithm::LeakyBucket => (quota.window() - self.queue(quota, now)) / quota.interval(),
            Algorithm::FixedWindow | Algorithm::SlidingWindow => before - cost,
        }
    }

    fn resets_in(&self, quota: Quota, now: u64) -> Duration {
        let Some((last, _)) = self.taken.last().copied() else {
            return Duration::ZERO;
        };
        Duration::from_micros(match quota.algorithm() {
            Algorithm::TokenBucket => quota.window() - self.level(quota, now),
            Algorithm::LeakyBucket => self.queue(quota, now),
            Algorithm::FixedWindow if last / quota.window() < now / quota.window() => 0,
            Algorithm::FixedWindow => quota.window() - now % quota.window(),
            Algorithm::SlidingWindow => (last + quota.window()).saturating_sub(now),
        })
    }
}
