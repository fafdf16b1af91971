use core::fmt;
use std::sync::Arc;

use super::StoreFuture;
use crate::policies::idempotency::{Begin, BeginOutcome};
use crate::policies::rate_limit::{Acquired, LimitRequest};

/// A store that has both rate limits and idempotency records, and admits a request in one step.
///
/// It uses the same buckets and records as the store's
/// [`LimitStore`](crate::policies::rate_limit::LimitStore) and
/// [`IdempotencyStore`](crate::policies::idempotency::IdempotencyStore) implementations. Tokens
/// that are taken here are also missing in the `LimitStore`. Runs that begin here are settled in
/// the `IdempotencyStore`.
pub trait AdmissionStore: fmt::Debug + Send + Sync + 'static {
    /// Returns `true` if one call of [`admit`](Self::admit) can decide these limits and this
    /// record.
    ///
    /// Returns `false` if the limits and the record are on different nodes. They are then decided
    /// by separate calls, one after the other.
    fn joins(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> bool {
        let _ = (requests, begin);
        true
    }

    /// Takes the tokens of all limit requests, and then begins the record for a run. If a limit
    /// rejects the request, no token is taken and no record is begun.
    ///
    /// **Atomic**: both happen in one step, and no other call sees only one of them. A rejected
    /// call changes nothing. If the record already exists, the tokens stay taken, because a replay
    /// counts like any other request.
    ///
    /// **Idempotent** for the record only: a repeated call with the same run token begins no second
    /// run, but it takes the tokens of the limits again. A store that repeats a call by itself must
    /// not return the rejection of the repeated call, because the first call may have begun the
    /// run. The store returns [`Unavailable`](super::StoreError::Unavailable) instead.
    ///
    /// **Expiry**: the same as in [`acquire`](crate::policies::rate_limit::LimitStore::acquire) and
    /// [`begin`](crate::policies::idempotency::IdempotencyStore::begin).
    ///
    /// **Crash**: if the store crashes before the write, no token is taken, and the record is
    /// unchanged. If it crashes after the write and the reply is lost, the tokens are taken and the
    /// record is begun. The caller therefore repeats
    /// [`abort`](crate::policies::idempotency::IdempotencyStore::abort) until the store confirms
    /// it.
    ///
    /// **Full**: if there is no room for the record, no token is taken.
    fn admit<'a>(
        &'a self,
        requests: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission>;
}

/// The result of [`AdmissionStore::admit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// A limit rejects the request: no token was taken, and no record was begun.
    Refused(Acquired),
    /// The limits admit the request, and its tokens are taken. The second value is the outcome of
    /// `begin`.
    Admitted(Acquired, BeginOutcome),
}

impl<T: AdmissionStore + ?Sized> AdmissionStore for Arc<T> {
    fn joins(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> bool {
        (**self).joins(requests, begin)
    }

    fn admit<'a>(
        &'a self,
        requests: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        (**self).admit(requests, begin)
    }
}
