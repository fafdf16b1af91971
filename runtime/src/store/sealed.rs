use core::time::Duration;
use std::sync::Arc;

use crate::policies::idempotency::{
    Begin, Begun, Complete, Completed, IdempotencyStore, Kept, Lease, Outcome, RecordKey,
    RecordState, SealKeys,
};
use crate::policies::rate_limit::Claim;
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// Records of idempotency keys whose answers another store keeps sealed.
///
/// Fields and bodies are sealed on their way into the store, and opened on their way out; states,
/// statuses and times stay as they are, and so do answers that were kept before in the clear. An answer
/// that does not open is [`StoreError::Malformed`]: its key is unknown here, or it was changed, or
/// it is of another record.
///
/// An API does this by itself where it has keys ([`Api::seal_keys`](crate::Api::seal_keys)); this is for
/// tools that go to a store of their own.
///
/// ```
/// use aplomb::policies::idempotency::SealKeys;
/// use aplomb::store::{MemoryRecords, SealedRecords};
///
/// let keys = SealKeys::new("2026-11", [7; 32])?;
/// let records = SealedRecords::new(MemoryRecords::new(), keys);
/// # Ok::<_, aplomb::StartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SealedRecords<R> {
    inner: R,
    keys: Arc<SealKeys>,
}

impl<R> SealedRecords<R> {
    /// The records of `inner`, sealed with these keys.
    pub fn new(inner: R, keys: SealKeys) -> Self {
        Self {
            inner,
            keys: Arc::new(keys),
        }
    }

    fn opened(&self, found: Begun, record: &RecordKey) -> Result<Begun, StoreError> {
        match found {
            Begun::Done(kept) => self.keys.open(kept, record).map(Begun::Done),
            found => Ok(found),
        }
    }
}

impl<R: IdempotencyStore> SealedRecords<R> {
    async fn begin_opened(&self, begin: &Begin) -> Result<Begun, StoreError> {
        let found = self.inner.begin(begin).await?;
        self.opened(found, &begin.key)
    }

    async fn find_opened(&self, key: RecordKey) -> Result<Option<RecordState>, StoreError> {
        match self.inner.find(key).await? {
            Some(RecordState::Done(kept)) => self
                .keys
                .open(kept, &key)
                .map(|kept| Some(RecordState::Done(kept))),
            found => Ok(found),
        }
    }

    async fn complete_sealed(&self, complete: &Complete) -> Result<Completed, StoreError> {
        let outcome = match &complete.outcome {
            Outcome::Response(kept) => Outcome::Response(self.keys.seal(&complete.lease.key, kept)),
            Outcome::Unknown => Outcome::Unknown,
        };
        match self
            .inner
            .complete(&Complete {
                outcome,
                ..complete.clone()
            })
            .await?
        {
            Completed::Lost(found) => self.opened(found, &complete.lease.key).map(Completed::Lost),
            Completed::Written => Ok(Completed::Written),
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for SealedRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, Begun> {
        StoreFuture::later(self.begin_opened(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.inner.heartbeat(leases, lease)
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, Completed> {
        StoreFuture::later(self.complete_sealed(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.inner.abort(lease, marker)
    }

    fn write_off(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        self.inner.write_off(lease, ttl)
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(self.find_opened(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<Kept>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        let response = response.map(|kept| self.keys.seal(&key, &kept));
        self.inner.resolve(key, response, ttl)
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        let inner = self.inner.for_heartbeat()?;
        Some(Arc::new(SealedRecords {
            inner,
            keys: Arc::clone(&self.keys),
        }))
    }
}

impl<A: AdmissionStore> SealedRecords<A> {
    async fn admit_opened(
        &self,
        claims: &[Claim<'_>],
        begin: &Begin,
    ) -> Result<Admission, StoreError> {
        match self.inner.admit(claims, begin).await? {
            Admission::Admitted(acquired, found) => {
                let found = self.opened(found, &begin.key)?;
                Ok(Admission::Admitted(acquired, found))
            }
            refused @ Admission::Refused(_) => Ok(refused),
        }
    }
}

/// What is found is opened as with [`begin`](IdempotencyStore::begin).
impl<A: AdmissionStore> AdmissionStore for SealedRecords<A> {
    fn joins(&self, claims: &[Claim<'_>], begin: &Begin) -> bool {
        self.inner.joins(claims, begin)
    }

    fn admit<'a>(
        &'a self,
        claims: &'a [Claim<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        StoreFuture::later(self.admit_opened(claims, begin))
    }
}
