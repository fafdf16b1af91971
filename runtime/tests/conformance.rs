//! Runs the suites of every store on the memory store.

use std::sync::Arc;

use aplomb::policies::idempotency::EncryptionKeys;
use aplomb::store::{EncryptedRecords, MemoryLimits, MemoryRecords};
use aplomb::testing::TestClock;

mod memory_limits {
    use super::*;

    aplomb::limit_store_suite!(async {
        let clock = TestClock::new();
        (
            Arc::new(MemoryLimits::with_capacity(
                1 << 16,
                Arc::new(clock.clone()),
            )),
            clock,
        )
    });
}

mod memory_records {
    use super::*;

    aplomb::idempotency_store_suite!(async {
        let clock = TestClock::new();
        (
            Arc::new(MemoryRecords::with_bounds(
                1_000,
                1 << 20,
                Arc::new(clock.clone()),
            )),
            clock,
        )
    });
}

mod a26_encrypted_memory_records {
    use super::*;

    aplomb::idempotency_store_suite!(async {
        let clock = TestClock::new();
        let records = MemoryRecords::with_bounds(1_000, 1 << 20, Arc::new(clock.clone()));
        let keys = EncryptionKeys::new("test", [7; 32]).expect("a valid id");
        (Arc::new(EncryptedRecords::new(records, keys)), clock)
    });
}
