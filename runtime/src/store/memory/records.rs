use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::shares::Usage;
use super::table::Table;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    RecordState, StoredResponse,
};
use crate::store::StoreFuture;

/// A store of idempotency records in memory, limited in the number of records and in bytes.
///
/// A record is never removed before it expires. When a limit is reached, new keys are refused with
/// [`StoreError::Full`](crate::store::StoreError::Full) until old records expire. The responses of
/// active runs are stored even beyond the limit of bytes.
///
/// One caller cannot fill the store. If more than three quarters of a limit are used, a holder that
/// uses more than a tenth of this limit gets
/// [`BeginOutcome::QuotaExceeded`] for new keys. Other holders still get new keys. Retries of
/// existing records are never refused.
pub struct MemoryRecords {
    table: Mutex<Table>,
    bounds: Usage,
    clock: Arc<dyn Clock>,
}

impl MemoryRecords {
    /// The default maximum number of records.
    pub const DEFAULT_RECORDS: usize = 1_000_000;

    /// The default maximum size of all stored responses in bytes: 256 MiB.
    pub const DEFAULT_BYTES: usize = 256 << 20;

    /// Creates a store with the default limits and the clock of the machine.
    pub fn new() -> Self {
        Self::with_bounds(
            Self::DEFAULT_RECORDS,
            Self::DEFAULT_BYTES,
            Arc::new(SystemClock::new()),
        )
    }

    /// Creates a store for at most `records` records, whose responses take at most `bytes` bytes in
    /// total. It takes the time from `clock`.
    pub fn with_bounds(records: usize, bytes: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Mutex::default(),
            bounds: Usage { records, bytes },
            clock,
        }
    }

    /// Returns the number of records, including expired records that are not removed yet.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns `true` if there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl IdempotencyStore for MemoryRecords {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::ready(self.lock().begin(begin, self.bounds, self.now()))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        let (mut table, now) = (self.lock(), self.now());
        StoreFuture::ready(Ok(leases
            .iter()
            .map(|held_lease| table.renew(*held_lease, now.after(lease), now))
            .collect()))
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        StoreFuture::ready(Ok(self.lock().complete(complete, self.now())))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        let (mut table, now) = (self.lock(), self.now());
        table.abort(lease, now.after(marker), now);
        StoreFuture::ready(Ok(()))
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        StoreFuture::ready(Ok(self.lock().mark_unknown(lease, ttl, self.now())))
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::ready(Ok(self.lock().state(key, self.now())))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        StoreFuture::ready(Ok(self.lock().resolve(key, response, ttl, self.now())))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::policies::idempotency::{Fingerprint, OnCrash, Outcome, RecordHolder, Token};
    use crate::store::StoreError;
    use crate::testing::TestClock;

    const LEASE: Duration = Duration::from_secs(30);

    fn begin(number: u8) -> Begin {
        Begin {
            key: RecordKey::new([number; 16], [number; 16]),
            fingerprint: Fingerprint::new(1, [0; 32]),
            earlier: Vec::new(),
            token: Token::random(),
            lease: LEASE,
            on_crash: OnCrash::Unknown,
            ttl: Duration::from_hours(24),
            holder: RecordHolder::Caller([number; 16]),
            transactional: false,
        }
    }

    #[tokio::test]
    async fn a22_a_store_full_of_records_refuses_new_keys_and_removes_none() {
        let clock = TestClock::new();
        let records = MemoryRecords::with_bounds(2, 1 << 20, Arc::new(clock.clone()));
        for number in [1, 2] {
            assert_eq!(
                records.begin(&begin(number)).await,
                Ok(BeginOutcome::Started)
            );
        }
        assert_eq!(records.begin(&begin(3)).await, Err(StoreError::Full));
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::InFlight));
        clock.advance(LEASE + Duration::from_hours(24));
        assert_eq!(
            records.begin(&begin(3)).await,
            Ok(BeginOutcome::Started),
            "expired records make room"
        );
        assert_eq!(records.len(), 1);
    }

    #[tokio::test]
    async fn a22_a_store_full_of_responses_refuses_new_keys_and_removes_none() {
        let clock = TestClock::new();
        let records = MemoryRecords::with_bounds(100, 4096, Arc::new(clock.clone()));
        let (head, ()) = http::Response::new(()).into_parts();
        let stored = StoredResponse::new(&head, Some(bytes::Bytes::from(vec![b'x'; 4096])));
        let (first, ttl) = (begin(1), Duration::from_hours(24));
        assert_eq!(records.begin(&first).await, Ok(BeginOutcome::Started));
        let done = Complete::new(
            first.lease(),
            first.fingerprint,
            Outcome::Response(stored.clone()),
            ttl,
        );
        assert_eq!(records.complete(&done).await, Ok(CompleteOutcome::Written));
        assert_eq!(records.begin(&begin(2)).await, Err(StoreError::Full));
        assert_eq!(
            records.begin(&begin(1)).await,
            Ok(BeginOutcome::Done(stored))
        );
        clock.advance(ttl);
        assert_eq!(records.begin(&begin(2)).await, Ok(BeginOutcome::Started));
    }

    #[tokio::test]
    async fn a14_a_full_store_still_allows_a_rerun() {
        let clock = TestClock::new();
        let records = MemoryRecords::with_bounds(1, 1 << 20, Arc::new(clock.clone()));
        let rerun = || Begin {
            on_crash: OnCrash::Rerun,
            ..begin(1)
        };
        assert_eq!(records.begin(&rerun()).await, Ok(BeginOutcome::Started));
        clock.advance(LEASE);
        assert_eq!(records.begin(&rerun()).await, Ok(BeginOutcome::Started));
        assert_eq!(records.begin(&rerun()).await, Ok(BeginOutcome::InFlight));
    }

    #[tokio::test]
    async fn a08_markers_of_aborted_tokens_count_as_records_and_expire() {
        let clock = TestClock::new();
        let records = MemoryRecords::with_bounds(3, 1 << 20, Arc::new(clock.clone()));
        for number in 0..100 {
            let begun = begin(number);
            records
                .begin(&begun)
                .await
                .expect("room, because an abort without a marker leaves nothing");
            let lease = Lease {
                key: begun.key,
                token: begun.token,
            };
            records
                .abort(lease, Duration::ZERO)
                .await
                .expect("memory always responds");
        }
        for _ in 0..3 {
            let late = begin(1);
            records
                .abort(
                    Lease {
                        key: late.key,
                        token: late.token,
                    },
                    LEASE,
                )
                .await
                .expect("memory always responds");
        }
        assert_eq!(records.begin(&begin(1)).await, Err(StoreError::Full));
        clock.advance(LEASE);
        assert_eq!(records.begin(&begin(1)).await, Ok(BeginOutcome::Started));
    }
}
