//! How slowly a client may send a body.

use core::future::Future;
use core::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::problem::{Problem, registry};

/// The slowest pace at which the service reads a body.
///
/// With only a limit on silence, a client could send single bytes and keep a request open forever.
/// With a limit on the whole time, an honest client with a slow connection would be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyPace {
    /// The longest time for which the client may send nothing.
    pub(crate) silence: Duration,
    /// The fewest bytes per second, on average over the time that the service waits for the client.
    pub(crate) min_rate: u32,
}

impl BodyPace {
    /// The default. A client recovers from the loss of a few packets within five seconds. Even the
    /// slowest mobile connections send more than 512 bytes per second.
    pub(crate) const DEFAULT: Self = Self {
        silence: Duration::from_secs(5),
        min_rate: 512,
    };
}

/// The extra time for each body. The data itself gets the time that it takes at the minimum rate. A
/// slow connection can get up to speed in the extra time.
const GRACE: Duration = Duration::from_secs(10);

/// Measures the pace of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacer {
    pace: BodyPace,
    received: u64,
    /// The time that the service has waited for the client. A handler that pauses between two reads
    /// does not use up the client's time.
    waited: Duration,
}

impl Pacer {
    pub(crate) const fn new(pace: BodyPace) -> Self {
        Self {
            pace,
            received: 0,
            waited: Duration::ZERO,
        }
    }

    /// Returns the longest time for which the service waits for the next part.
    pub(crate) fn patience(&self) -> Duration {
        let millis = self.received.saturating_mul(1000) / u64::from(self.pace.min_rate.max(1));
        let earned = Duration::from_millis(millis);
        let left = GRACE.saturating_add(earned).saturating_sub(self.waited);
        self.pace.silence.min(left)
    }

    /// Adds a part of `bytes` bytes and the time that the service waited for it.
    pub(crate) fn add(&mut self, bytes: usize, waited: Duration) {
        self.received = self.received.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
    }

    /// Adds the time that the service waited for a part. More than the patience can only mean that the
    /// process was paused, and not that the client was slow.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.add(0, time.min(self.patience()));
    }

    /// Waits for the next part as long as the pace allows. A part that is already there needs no
    /// timer.
    ///
    /// # Errors
    ///
    /// 408 `REQUEST_TIMEOUT` if the client is too slow.
    pub(crate) async fn wait<F>(&mut self, next: F) -> Result<F::Output, Problem>
    where
        F: Future + Unpin,
    {
        let mut next = next;
        if let Some(ready) = (&mut next).now_or_never() {
            return Ok(ready);
        }
        let begun = Instant::now();
        let arrived = timeout(self.patience(), next).await;
        self.waited(begun.elapsed());
        arrived.map_err(|_| Problem::new(&registry::REQUEST_TIMEOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: BodyPace = BodyPace {
        silence: Duration::from_secs(5),
        min_rate: 1000,
    };

    #[test]
    fn a_client_may_be_silent_for_the_declared_time() {
        assert_eq!(Pacer::new(PACE).patience(), Duration::from_secs(5));
    }

    #[test]
    fn a_slow_client_of_the_minimum_rate_is_never_cut_off() {
        let mut pacer = Pacer::new(PACE);
        for _ in 0..10_000 {
            pacer.add(4_000, Duration::from_secs(4));
            assert!(pacer.patience() >= Duration::from_secs(5));
        }
    }

    #[test]
    fn a_client_that_trickles_bytes_is_cut_off_after_the_grace() {
        let mut pacer = Pacer::new(PACE);
        pacer.add(1, Duration::from_secs(4));
        pacer.add(1, Duration::from_secs(4));
        assert_eq!(pacer.patience(), Duration::from_millis(2_002));
        pacer.add(1, Duration::from_secs(4));
        assert_eq!(pacer.patience(), Duration::ZERO);
    }
}
