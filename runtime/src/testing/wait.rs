//! Waiting for conditions.

use core::panic::Location;
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Waits until a condition holds. It is checked every 5 milliseconds, for up to 20 seconds.
///
/// `what` completes the sentence "it did not happen that …" in the panic message.
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
/// If the condition does not hold within 20 seconds of real time. The message names the caller's line.
#[track_caller]
pub fn eventually<F: AsyncFnMut() -> bool>(
    what: &str,
    mut condition: F,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        // Real time, since a paused clock of Tokio jumps over the intervals below.
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(
                Instant::now() < deadline,
                "within {PATIENCE:?} it did not happen that {what} ({caller})"
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Waits, blocking the thread, until a condition holds; returns whether it held within the limit.
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

/// More than any correct program needs on a slow machine, and less than a test runner's limit.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Short beside what is waited for, and long enough to leave the processor to it.
const INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_checked_until_it_holds() {
        let mut checks = 0;
        eventually("it is checked three times", async || {
            checks += 1;
            checks == 3
        })
        .await;
        assert_eq!(checks, 3);
    }

    #[test]
    fn a_limit_ends_the_wait() {
        assert!(!holds_within(Duration::from_millis(20), || false));
        assert!(holds_within(Duration::ZERO, || true));
    }
}
