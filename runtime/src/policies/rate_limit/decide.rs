//! The generic cell rate algorithm (ITU-T I.371), as one pure function.
//!
//! All that is kept of a bucket is its theoretical arrival time: the moment at which it is full
//! again. A request is admitted if that moment, moved on by its cost, stays within one refill of
//! now.

use core::time::Duration;

use super::quota::Quota;
use crate::clock::{Timestamp, micros};

/// What a request meets at one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The bucket's new arrival time; `None` if the request is refused, which changes nothing.
    pub arrival: Option<Timestamp>,
    /// What the client is told if only this bucket decides.
    pub reading: Reading,
}

/// The state of a bucket, as clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whole tokens left.
    pub remaining: u64,
    /// Until the bucket is full.
    pub full_in: Duration,
    /// Until there are tokens enough for the request; `None` if it was admitted.
    pub wait: Option<Duration>,
}

/// Decides whether a bucket with this arrival time admits a request of this cost.
///
/// An arrival time farther ahead than one refill cannot have come from this quota (the clock
/// stepped back, or the quota was lowered) and counts as an empty bucket.
pub fn decide(arrival: Option<Timestamp>, quota: Quota, cost: u64, now: Timestamp) -> Decision {
    let (now, window) = (now.as_micros(), quota.window());
    let empty = now.saturating_add(window);
    let arrival = arrival.map_or(now, |arrival| arrival.as_micros().clamp(now, empty));
    let moved = arrival.saturating_add(quota.interval().saturating_mul(cost));
    if moved <= empty {
        let reading = read(moved - now, quota, None);
        Decision { arrival: Some(Timestamp::from_micros(moved)), reading }
    } else {
        let reading = read(arrival - now, quota, Some(Duration::from_micros(moved - empty)));
        Decision { arrival: None, reading }
    }
}

/// What a bucket tells that is not asked for tokens.
pub fn peek(arrival: Option<Timestamp>, quota: Quota, now: Timestamp) -> Reading {
    decide(arrival, quota, 0, now).reading
}

/// What a reading has become after a while in which nobody took tokens.
pub(crate) fn aged(reading: Reading, quota: Quota, elapsed: Duration) -> Reading {
    let full_in = reading.full_in.saturating_sub(elapsed);
    read(micros(full_in), quota, reading.wait.map(|wait| wait.saturating_sub(elapsed)))
}

fn read(used: u64, quota: Quota, wait: Option<Duration>) -> Reading {
    let remaining = (quota.window() - used) / quota.interval();
    Reading { remaining, full_in: Duration::from_micros(used), wait }
}
