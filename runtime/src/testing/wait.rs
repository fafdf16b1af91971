//! Functions that wait until a condition is true.

use core::panic::Location;
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Waits until a condition is true. The condition is checked every 5 milliseconds, for up to 20
/// seconds.
///
/// `what` describes the condition in the panic message: "timed out after 20s waiting until …".
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use aplomb::testing::eventually;
///
/// static SENT: AtomicBool = AtomicBool::new(false);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// tokio::spawn(async { SENT.store(true, Ordering::SeqCst) });
/// eventually("the message is sent", async || SENT.load(Ordering::SeqCst)).await;
/// # }
/// ```
///
/// # Panics
///
/// Panics if the condition is still false after 20 seconds of real time. The message has the
/// caller's line.
#[track_caller]
pub fn eventually<F: AsyncFnMut() -> bool>(
    what: &str,
    mut condition: F,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        // The deadline is in real time. If a test pauses Tokio's clock, that clock skips the sleeps
        // below, so a deadline on that clock would pass immediately.
        let deadline = Instant::now() + TIMEOUT;
        while !condition().await {
            assert!(
                Instant::now() < deadline,
                "timed out after {TIMEOUT:?} waiting until {what} ({caller})"
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Blocks the thread until a condition is true. Returns `false` if the condition is still false
/// after the limit.
pub(super) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(INTERVAL);
    }
    true
}

/// The time limit of a wait. It is longer than a correct program takes on a slow machine, and
/// shorter than the timeout of a test runner.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// The pause between two checks. It is short compared with the events that tests wait for, and long
/// enough to use little processor time.
const INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_checked_until_it_is_true() {
        let mut checks = 0;
        eventually("it is checked three times", async || {
            checks += 1;
            checks == 3
        })
        .await;
        assert_eq!(checks, 3);
    }

    #[test]
    fn a_wait_ends_at_its_limit() {
        assert!(!holds_within(Duration::from_millis(20), || false));
        assert!(holds_within(Duration::ZERO, || true));
    }
}
