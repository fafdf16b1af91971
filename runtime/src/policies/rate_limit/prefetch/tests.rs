use core::cell::Cell;
use core::time::Duration;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::quota::Quota;
use super::super::store::{Bucket, LimitSubject};
use super::*;
use crate::clock::Clock;
use crate::store::MemoryLimits;
use crate::testing::{ReferenceBucket, TestClock};

const SECOND: Duration = Duration::from_secs(1);

/// Instances of a service, and the store that they share.
struct Service {
    limits: MemoryLimits,
    instances: Vec<TokenBatches>,
    clock: TestClock,
    trips: Cell<usize>,
}

impl Service {
    fn of(instances: usize) -> Self {
        let clock = TestClock::new();
        Self {
            limits: MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
            instances: (0..instances).map(|_| TokenBatches::new()).collect(),
            clock,
            trips: Cell::new(0),
        }
    }

    /// What a guard does with them.
    fn take(&self, instance: usize, claim: &LimitRequest<'_>, batch: u64) -> Acquired {
        let now = self.clock.now();
        let errand = match self.instances[instance].take(claim, now) {
            Prefetched::Hit(acquired) => return acquired,
            Prefetched::Bypass => return self.ask(claim),
            Prefetched::Refill(errand) => errand,
        };
        self.trip();
        let told = self.limits.take(&[LimitRequest {
            cost: claim.cost + batch,
            ..*claim
        }]);
        if told.admitted {
            return errand.store(claim, batch, told.statuses[0], now);
        }
        let reading = errand.without(claim, told.statuses[0], now);
        if reading.wait.is_none() {
            return self.ask(claim);
        }
        Acquired {
            admitted: false,
            statuses: vec![reading],
        }
    }

    fn trip(&self) {
        self.trips.set(self.trips.get() + 1);
    }

    fn ask(&self, claim: &LimitRequest<'_>) -> Acquired {
        self.trip();
        self.limits.take(&[*claim])
    }
}

/// Of a bucket of 100 tokens, of which 100 come back every second and batches of 10 are taken.
fn claim() -> LimitRequest<'static> {
    let quota = Quota::new(100, SECOND, 100).expect("valid").reserve(10);
    LimitRequest::new(
        Bucket {
            limit: 1,
            subject: LimitSubject::Everyone,
        },
        quota,
    )
}

#[test]
fn b05_most_requests_cost_no_trip() {
    let service = Service::of(1);
    // Eight times one and a batch, of the 90 that the bucket then holds.
    for left in (2..90).rev() {
        let taken = service.take(0, &claim(), 10);
        assert_eq!((taken.admitted, taken.statuses[0].remaining), (true, left));
    }
    assert_eq!(service.trips.get(), 8);
}

#[test]
fn b05_tokens_that_were_taken_ahead_are_good_for_as_long_as_they_take_to_come_back() {
    let service = Service::of(1);
    service.take(0, &claim(), 10);
    service.clock.advance(Duration::from_millis(99));
    service.take(0, &claim(), 10);
    assert_eq!(service.trips.get(), 1);
    service.clock.advance(Duration::from_millis(1));
    service.take(0, &claim(), 10);
    assert_eq!(service.trips.get(), 2);
}

#[test]
fn b05_while_one_is_on_the_way_for_a_batch_others_ask_for_themselves() {
    let (batches, now) = (TokenBatches::new(), TestClock::new().now());
    let Prefetched::Refill(errand) = batches.take(&claim(), now) else {
        panic!("there is nothing here")
    };
    assert!(matches!(batches.take(&claim(), now), Prefetched::Bypass));
    drop(errand);
    assert!(
        matches!(batches.take(&claim(), now), Prefetched::Refill(_)),
        "it was given up"
    );
}

#[test]
fn b05_a_refusal_costs_one_trip_and_says_how_long_the_request_waits() {
    let service = Service::of(1);
    let cheap = claim();
    while service.take(0, &cheap, 10).admitted {}
    let trips = service.trips.get();
    let refused = service.take(0, &cheap, 10);
    assert_eq!(
        (refused.statuses[0].wait, service.trips.get() - trips),
        (Some(Duration::from_millis(10)), 1)
    );
    service.clock.advance(Duration::from_millis(10));
    assert!(service.take(0, &cheap, 10).admitted);
}

#[test]
fn b16_batches_are_bounded() {
    let (batches, clock) = (TokenBatches::new(), TestClock::new());
    for limit in 0..400_000 {
        let claim = LimitRequest {
            bucket: Bucket {
                limit,
                ..claim().bucket
            },
            ..claim()
        };
        let Prefetched::Refill(errand) = batches.take(&claim, clock.now()) else {
            panic!("there is nothing here")
        };
        errand.store(&claim, 10, LimitStatus::default(), clock.now());
    }
    let held = batches.table.sum(|part| part.values().count());
    assert!((16 * PLACES - 100..=16 * PLACES).contains(&held), "{held}");
}

proptest! {
    /// However many instances take batches, and however they use them: no more is admitted in any period than
    /// without them.
    #[test]
    fn b05_instances_that_take_ahead_never_admit_more(
        instances in 1_usize..5,
        batch in 1_u64..20,
        spare in 1_u64..20,
        permits in 1_u64..60,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..3, 0_u64..60_000, 1_u64..5), 1..400),
    ) {
        let burst = 2 * batch + spare;
        let quota = Quota::new(permits, SECOND, burst).expect("valid");
        let service = Service::of(instances);
        let (mut admitted, mut without) = (ReferenceBucket::default(), 0);
        for (instance, again, pause, cost) in steps {
            if again == 0 {
                service.clock.advance(Duration::from_micros(pause));
            }
            let claim = LimitRequest { quota: quota.reserve(batch), cost: cost.min(spare), ..claim() };
            if service.take(instance.index(instances), &claim, batch).admitted {
                admitted.note(service.clock.now(), claim.cost);
                without += claim.cost;
            }
        }
        prop_assert!(admitted.most_in_any(SECOND) <= burst + permits);
        prop_assert!(without > 0, "somebody is admitted");
    }
}

#[test]
fn b05_batches_of_many_callers_are_kept_until_they_are_used() {
    const CALLERS: u64 = 12_000;
    let (batches, clock) = (TokenBatches::new(), TestClock::new());
    let of = |limit| LimitRequest {
        bucket: Bucket {
            limit,
            ..claim().bucket
        },
        ..claim()
    };
    for limit in 0..CALLERS {
        let claim = of(limit);
        let Prefetched::Refill(errand) = batches.take(&claim, clock.now()) else {
            panic!("there is nothing here")
        };
        errand.store(&claim, 10, LimitStatus::default(), clock.now());
        clock.advance(Duration::from_micros(1));
    }
    let is_kept =
        |limit: &u64| matches!(batches.take(&of(*limit), clock.now()), Prefetched::Hit(_));
    let lost: Vec<u64> = (0..CALLERS).filter(|limit| !is_kept(limit)).collect();
    assert!(
        lost.is_empty(),
        "{} of {CALLERS} callers have lost their tokens",
        lost.len()
    );
}
