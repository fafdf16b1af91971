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

/// The instances of a service with the store that they share.
struct Service {
    limits: MemoryLimits,
    instances: Vec<TokenBatches>,
    clock: TestClock,
    calls: Cell<usize>,
}

impl Service {
    fn new(instances: usize) -> Self {
        let clock = TestClock::new();
        Self {
            limits: MemoryLimits::with_capacity(1024, Arc::new(clock.clone())),
            instances: (0..instances).map(|_| TokenBatches::new()).collect(),
            clock,
            calls: Cell::new(0),
        }
    }

    /// Takes tokens in the same way as the client.
    fn take(&self, instance: usize, request: &LimitRequest<'_>, batch: u64) -> Acquired {
        let now = self.clock.now();
        let refill = match self.instances[instance].take(request, now) {
            Prefetched::Hit(acquired) => return acquired,
            Prefetched::Bypass => return self.take_from_store(request),
            Prefetched::Refill(refill) => refill,
        };
        self.count_call();
        let acquired = self.limits.take(&[LimitRequest {
            cost: request.cost + batch,
            ..*request
        }]);
        if acquired.admitted {
            return refill.fill(request, batch, acquired.statuses[0], now);
        }
        let status = refill.defer(request, acquired.statuses[0], now);
        if status.wait.is_none() {
            return self.take_from_store(request);
        }
        Acquired {
            admitted: false,
            statuses: vec![status],
        }
    }

    fn count_call(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    fn take_from_store(&self, request: &LimitRequest<'_>) -> Acquired {
        self.count_call();
        self.limits.take(&[*request])
    }
}

/// Returns a request to a bucket of 100 tokens, which refills 100 tokens per second. The bucket
/// reserves a batch of 10 tokens.
fn request() -> LimitRequest<'static> {
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
fn b05_most_requests_need_no_call_to_the_store() {
    let service = Service::new(1);
    // Each of eight calls takes one token and a batch from the 90 tokens that are not reserved.
    for left in (2..90).rev() {
        let taken = service.take(0, &request(), 10);
        assert_eq!((taken.admitted, taken.statuses[0].remaining), (true, left));
    }
    assert_eq!(service.calls.get(), 8);
}

#[test]
fn b05_a_batch_expires_after_the_time_in_which_its_tokens_refill() {
    let service = Service::new(1);
    service.take(0, &request(), 10);
    service.clock.advance(Duration::from_millis(99));
    service.take(0, &request(), 10);
    assert_eq!(service.calls.get(), 1);
    service.clock.advance(Duration::from_millis(1));
    service.take(0, &request(), 10);
    assert_eq!(service.calls.get(), 2);
}

#[test]
fn b05_during_a_refill_other_requests_take_only_their_own_tokens() {
    let (batches, now) = (TokenBatches::new(), TestClock::new().now());
    let Prefetched::Refill(refill) = batches.take(&request(), now) else {
        panic!("the batch is empty")
    };
    assert!(matches!(batches.take(&request(), now), Prefetched::Bypass));
    drop(refill);
    assert!(
        matches!(batches.take(&request(), now), Prefetched::Refill(_)),
        "after a refill is dropped, another refill can start"
    );
}

#[test]
fn b05_a_rejection_needs_one_call_and_has_the_exact_wait() {
    let service = Service::new(1);
    let cheap = request();
    while service.take(0, &cheap, 10).admitted {}
    let calls = service.calls.get();
    let rejected = service.take(0, &cheap, 10);
    assert_eq!(
        (rejected.statuses[0].wait, service.calls.get() - calls),
        (Some(Duration::from_millis(10)), 1)
    );
    service.clock.advance(Duration::from_millis(10));
    assert!(service.take(0, &cheap, 10).admitted);
}

#[test]
fn b16_the_number_of_batches_is_bounded() {
    let (batches, clock) = (TokenBatches::new(), TestClock::new());
    for limit in 0..400_000 {
        let request = LimitRequest {
            bucket: Bucket {
                limit,
                ..request().bucket
            },
            ..request()
        };
        let Prefetched::Refill(refill) = batches.take(&request, clock.now()) else {
            panic!("the batch is empty")
        };
        refill.fill(&request, 10, LimitStatus::default(), clock.now());
    }
    let count = batches.table.sum(|part| part.values().count());
    assert!(
        (16 * SLOTS_PER_SHARD - 100..=16 * SLOTS_PER_SHARD).contains(&count),
        "{count}"
    );
}

proptest! {
    /// Any number of instances, with any use of their batches, never admits more than burst + limit
    /// in any period.
    #[test]
    fn b05_prefetching_instances_never_admit_more_than_burst_plus_limit(
        instances in 1_usize..5,
        batch in 1_u64..20,
        spare in 1_u64..20,
        permits in 1_u64..60,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..3, 0_u64..60_000, 1_u64..5), 1..400),
    ) {
        let burst = 2 * batch + spare;
        let quota = Quota::new(permits, SECOND, burst).expect("valid");
        let service = Service::new(instances);
        let (mut admitted, mut total) = (ReferenceBucket::default(), 0);
        for (instance, again, pause, cost) in steps {
            if again == 0 {
                service.clock.advance(Duration::from_micros(pause));
            }
            let request = LimitRequest { quota: quota.reserve(batch), cost: cost.min(spare), ..request() };
            if service.take(instance.index(instances), &request, batch).admitted {
                admitted.note(service.clock.now(), request.cost);
                total += request.cost;
            }
        }
        prop_assert!(admitted.most_in_any(SECOND) <= burst + permits);
        prop_assert!(total > 0, "some requests are admitted");
    }
}

#[test]
fn b05_batches_of_many_callers_are_kept_until_they_are_used() {
    const CALLERS: u64 = 12_000;
    let (batches, clock) = (TokenBatches::new(), TestClock::new());
    let request_of = |limit| LimitRequest {
        bucket: Bucket {
            limit,
            ..request().bucket
        },
        ..request()
    };
    for limit in 0..CALLERS {
        let request = request_of(limit);
        let Prefetched::Refill(refill) = batches.take(&request, clock.now()) else {
            panic!("the batch is empty")
        };
        refill.fill(&request, 10, LimitStatus::default(), clock.now());
        clock.advance(Duration::from_micros(1));
    }
    let is_kept = |limit: &u64| {
        matches!(
            batches.take(&request_of(*limit), clock.now()),
            Prefetched::Hit(_)
        )
    };
    let lost: Vec<u64> = (0..CALLERS).filter(|limit| !is_kept(limit)).collect();
    assert!(
        lost.is_empty(),
        "{} of {CALLERS} callers have lost their tokens",
        lost.len()
    );
}
