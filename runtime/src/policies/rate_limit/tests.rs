use core::time::Duration;

use proptest::prelude::*;

use super::decide::{decide, peek};
use super::quota::Quota;
use crate::clock::Timestamp;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn quota(permits: u64, seconds: u64, burst: u64) -> Quota {
    Quota::new(permits, Duration::from_secs(seconds), burst).expect("a valid quota")
}

#[test]
fn b01_a_full_bucket_admits_its_burst_and_no_more() {
    let quota = quota(100, 60, 20);
    let mut arrival = None;
    for left in (0..20).rev() {
        let decision = decide(arrival, quota, 1, START);
        assert_eq!(decision.reading.remaining, left);
        arrival = decision.arrival;
    }
    let refused = decide(arrival, quota, 1, START);
    assert_eq!(refused.arrival, None);
    assert_eq!(refused.reading.wait, Some(Duration::from_millis(600)));
}

#[test]
fn b01_one_token_comes_back_after_its_interval() {
    let quota = quota(100, 60, 1);
    let arrival = decide(None, quota, 1, START).arrival;
    let early = START.after(Duration::from_micros(599_999));
    assert_eq!(decide(arrival, quota, 1, early).arrival, None);
    assert!(decide(arrival, quota, 1, START.after(Duration::from_millis(600))).arrival.is_some());
}

#[test]
fn b06_reset_is_when_the_bucket_is_full() {
    let reading = decide(None, quota(100, 60, 100), 3, START).reading;
    assert_eq!((reading.remaining, reading.full_in), (97, Duration::from_millis(1800)));
}

#[test]
fn a_clock_that_steps_back_empties_a_bucket_and_does_not_lock_it() {
    let quota = quota(10, 1, 10);
    let arrival = decide(None, quota, 1, START.after(Duration::from_hours(1))).arrival;
    let refused = decide(arrival, quota, 1, START);
    assert_eq!(refused.reading.wait, Some(Duration::from_millis(100)));
}

#[test]
fn peeking_takes_nothing() {
    let quota = quota(10, 1, 10);
    assert_eq!(peek(None, quota, START).remaining, 10);
    let arrival = decide(None, quota, 4, START).arrival;
    assert_eq!(peek(arrival, quota, START).remaining, 6);
}

proptest! {
    /// Whatever the requests, in any window no more than burst + rate × window pass.
    #[test]
    fn b01_token_bucket_never_admits_more_than_burst_and_rate(
        permits in 1_u64..50,
        burst in 1_u64..50,
        steps in prop::collection::vec((0_u64..400_000, 1_u64..5), 1..300),
    ) {
        let quota = Quota::new(permits, Duration::from_secs(1), burst).expect("valid");
        let (mut now, mut arrival) = (START, None);
        let mut admitted: Vec<(Timestamp, u64)> = Vec::new();
        for (wait, cost) in steps {
            now = now.after(Duration::from_micros(wait));
            let decision = decide(arrival, quota, cost.min(burst), now);
            if decision.arrival.is_some() {
                arrival = decision.arrival;
                admitted.push((now, cost.min(burst)));
            }
        }
        for from in 0..admitted.len() {
            let mut sum = 0;
            for (at, cost) in &admitted[from..] {
                sum += cost;
                let window = at.since(admitted[from].0);
                let allowed = burst * quota.interval() + u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
                prop_assert!(sum * quota.interval() <= allowed);
            }
        }
    }

    /// A client that waits as long as it is told is admitted, and not a microsecond earlier.
    #[test]
    fn b06_the_wait_is_exact(permits in 1_u64..1000, burst in 1_u64..20, used in 1_u64..20, cost in 1_u64..20) {
        let quota = Quota::new(permits, Duration::from_secs(1), burst).expect("valid");
        let (used, cost) = (used.min(burst), cost.min(burst));
        let arrival = decide(None, quota, used, START).arrival;
        if let Some(wait) = decide(arrival, quota, cost, START).reading.wait {
            prop_assert!(decide(arrival, quota, cost, START.after(wait)).arrival.is_some());
            prop_assert!(decide(arrival, quota, cost, START.after(wait.saturating_sub(Duration::from_micros(1)))).arrival.is_none());
        }
    }
}
