use core::time::Duration;
use std::sync::Arc;

use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, EncryptionKeys, IdempotencyStore, Lease,
    Outcome, RecordKey, RecordState, StoredResponse,
};
use crate::policies::rate_limit::LimitRequest;
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// Records of idempotency keys whose answers another store keeps sealed.
///
/// Fields and bodies are sealed on their way into the store, and opened on their way out; states,
/// statuses and times stay as they are, and so do answers that were kept before in the clear. An answer
/// that does not open is [`StoreError::Malformed`]: its key is unknown here, or it was changed, or
/// it is of another record.
///
/// An API does this by itself where it has keys ([`Api::encryption_keys`](crate::Api::encryption_keys)); this is for
/// tools that go to a store of their own.
///
/// ```
/// use aplomb::policies::idempotency::EncryptionKeys;
/// use aplomb::store::{MemoryRecords, SealedRecords};
///
/// let keys = EncryptionKeys::new("2026-11", [7; 32])?;
/// let records = SealedRecords::new(MemoryRecords::new(), keys);
/// # Ok::<_, aplomb::StartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncryptedRecords<R> {
    inner: R,
    keys: Arc<EncryptionKeys>,
}

impl<R> EncryptedRecords<R> {
    /// The records of `inner`, sealed with these keys.
    pub fn new(inner: R, keys: EncryptionKeys) -> Self {
        Self {
            inner,
            keys: Arc::new(keys),
        }
    }

    fn decrypted(
        &self,
        found: BeginOutcome,
        record: &RecordKey,
    ) -> Result<BeginOutcome, StoreError> {
        match found {
            BeginOutcome::Done(kept) => self.keys.decrypt(kept, record).map(BeginOutcome::Done),
            found => Ok(found),
        }
    }
}

impl<R: IdempotencyStore> EncryptedRecords<R> {
    async fn begin_decrypted(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let found = self.inner.begin(begin).await?;
        self.decrypted(found, &begin.key)
    }

    async fn find_decrypted(&self, key: RecordKey) -> Result<Option<RecordState>, StoreError> {
        match self.inner.find(key).await? {
            Some(RecordState::Done(kept)) => self
                .keys
                .decrypt(kept, &key)
                .map(|kept| Some(RecordState::Done(kept))),
            found => Ok(found),
        }
    }

    async fn complete_encrypted(&self, complete: &Complete) -> Result<CompleteOutcome, StoreError> {
        let outcome = match &complete.outcome {
            Outcome::Response(kept) => {
                Outcome::Response(self.keys.encrypt(&complete.lease.key, kept))
            }
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
            CompleteOutcome::Lost(found) => self
                .decrypted(found, &complete.lease.key)
                .map(CompleteOutcome::Lost),
            CompleteOutcome::Written => Ok(CompleteOutcome::Written),
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for EncryptedRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(self.begin_decrypted(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.inner.heartbeat(leases, lease)
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        StoreFuture::later(self.complete_encrypted(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.inner.abort(lease, marker)
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        self.inner.mark_unknown(lease, ttl)
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(self.find_decrypted(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        let response = response.map(|kept| self.keys.encrypt(&key, &kept));
        self.inner.resolve(key, response, ttl)
    }

    fn for_heartbeat(&self) -> Option<Arc<dyn IdempotencyStore>> {
        let inner = self.inner.for_heartbeat()?;
        Some(Arc::new(EncryptedRecords {
            inner,
            keys: Arc::clone(&self.keys),
        }))
    }
}

impl<A: AdmissionStore> EncryptedRecords<A> {
    async fn admit_decrypted(
        &self,
        claims: &[LimitRequest<'_>],
        begin: &Begin,
    ) -> Result<Admission, StoreError> {
        match self.inner.admit(claims, begin).await? {
            Admission::Admitted(acquired, found) => {
                let found = self.decrypted(found, &begin.key)?;
                Ok(Admission::Admitted(acquired, found))
            }
            refused @ Admission::Refused(_) => Ok(refused),
        }
    }
}

/// What is found is opened as with [`begin`](IdempotencyStore::begin).
impl<A: AdmissionStore> AdmissionStore for EncryptedRecords<A> {
    fn joins(&self, claims: &[LimitRequest<'_>], begin: &Begin) -> bool {
        self.inner.joins(claims, begin)
    }

    fn admit<'a>(
        &'a self,
        claims: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        StoreFuture::later(self.admit_decrypted(claims, begin))
    }
}
