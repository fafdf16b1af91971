use core::time::Duration;
use std::sync::Arc;

use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, EncryptionKeys, IdempotencyStore, Lease,
    Outcome, RecordKey, RecordState, StoredResponse,
};
use crate::policies::rate_limit::LimitRequest;
use crate::store::{Admission, AdmissionStore, StoreError, StoreFuture};

/// A store of idempotency records that encrypts responses before it passes them to another store.
///
/// It encrypts the fields and bodies that it writes to the inner store, and decrypts those that it
/// reads. States, statuses and times are not encrypted. Responses that were stored earlier without
/// encryption are returned unchanged.
///
/// A response that cannot be decrypted is a [`StoreError::Malformed`]. Its encryption key is
/// unknown here, the response was changed, or it belongs to another record.
///
/// An API with [encryption keys](crate::Api::encryption_keys) already wraps its store. Use this
/// type in tools that open a store themselves.
///
/// ```
/// use aplomb::policies::idempotency::EncryptionKeys;
/// use aplomb::store::{EncryptedRecords, MemoryRecords};
///
/// let keys = EncryptionKeys::new("2026-11", [7; 32])?;
/// let records = EncryptedRecords::new(MemoryRecords::new(), keys);
/// # Ok::<_, aplomb::StartError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EncryptedRecords<R> {
    inner: R,
    keys: Arc<EncryptionKeys>,
}

impl<R> EncryptedRecords<R> {
    /// Creates a store that encrypts the responses in `inner` with these keys.
    pub fn new(inner: R, keys: EncryptionKeys) -> Self {
        Self {
            inner,
            keys: Arc::new(keys),
        }
    }

    fn decrypt_outcome(
        &self,
        outcome: BeginOutcome,
        record: &RecordKey,
    ) -> Result<BeginOutcome, StoreError> {
        match outcome {
            BeginOutcome::Done(stored) => self.keys.decrypt(stored, record).map(BeginOutcome::Done),
            outcome => Ok(outcome),
        }
    }
}

impl<R: IdempotencyStore> EncryptedRecords<R> {
    async fn begin_and_decrypt(&self, begin: &Begin) -> Result<BeginOutcome, StoreError> {
        let outcome = self.inner.begin(begin).await?;
        self.decrypt_outcome(outcome, &begin.key)
    }

    async fn find_and_decrypt(&self, key: RecordKey) -> Result<Option<RecordState>, StoreError> {
        match self.inner.find(key).await? {
            Some(RecordState::Done(stored)) => self
                .keys
                .decrypt(stored, &key)
                .map(|stored| Some(RecordState::Done(stored))),
            outcome => Ok(outcome),
        }
    }

    async fn encrypt_and_complete(
        &self,
        complete: &Complete,
    ) -> Result<CompleteOutcome, StoreError> {
        let outcome = match &complete.outcome {
            Outcome::Response(stored) => {
                Outcome::Response(self.keys.encrypt(&complete.lease.key, stored))
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
            CompleteOutcome::Lost(outcome) => self
                .decrypt_outcome(outcome, &complete.lease.key)
                .map(CompleteOutcome::Lost),
            CompleteOutcome::Written => Ok(CompleteOutcome::Written),
        }
    }
}

impl<R: IdempotencyStore> IdempotencyStore for EncryptedRecords<R> {
    fn begin<'a>(&'a self, begin: &'a Begin) -> StoreFuture<'a, BeginOutcome> {
        StoreFuture::later(self.begin_and_decrypt(begin))
    }

    fn heartbeat<'a>(&'a self, leases: &'a [Lease], lease: Duration) -> StoreFuture<'a, Vec<bool>> {
        self.inner.heartbeat(leases, lease)
    }

    fn complete<'a>(&'a self, complete: &'a Complete) -> StoreFuture<'a, CompleteOutcome> {
        StoreFuture::later(self.encrypt_and_complete(complete))
    }

    fn abort(&self, lease: Lease, marker: Duration) -> StoreFuture<'_, ()> {
        self.inner.abort(lease, marker)
    }

    fn mark_unknown(&self, lease: Lease, ttl: Duration) -> StoreFuture<'_, bool> {
        self.inner.mark_unknown(lease, ttl)
    }

    fn find(&self, key: RecordKey) -> StoreFuture<'_, Option<RecordState>> {
        StoreFuture::later(self.find_and_decrypt(key))
    }

    fn resolve(
        &self,
        key: RecordKey,
        response: Option<StoredResponse>,
        ttl: Duration,
    ) -> StoreFuture<'_, bool> {
        let response = response.map(|stored| self.keys.encrypt(&key, &stored));
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
    async fn admit_and_decrypt(
        &self,
        requests: &[LimitRequest<'_>],
        begin: &Begin,
    ) -> Result<Admission, StoreError> {
        match self.inner.admit(requests, begin).await? {
            Admission::Admitted(acquired, outcome) => {
                let outcome = self.decrypt_outcome(outcome, &begin.key)?;
                Ok(Admission::Admitted(acquired, outcome))
            }
            refused @ Admission::Refused(_) => Ok(refused),
        }
    }
}

/// The response that `admit` finds is decrypted, as in [`begin`](IdempotencyStore::begin).
impl<A: AdmissionStore> AdmissionStore for EncryptedRecords<A> {
    fn joins(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> bool {
        self.inner.joins(requests, begin)
    }

    fn admit<'a>(
        &'a self,
        requests: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        StoreFuture::later(self.admit_and_decrypt(requests, begin))
    }
}
