use core::fmt;
use std::sync::Arc;

use super::StoreFuture;
use crate::policies::idempotency::{Begin, BeginOutcome};
use crate::policies::rate_limit::{Acquired, LimitRequest};

/// A store that keeps rate limits and idempotency records together, and admits a request in one
/// step.
///
/// The buckets and the records are those of the store's
/// [`LimitStore`](crate::policies::rate_limit::LimitStore) and
/// [`IdempotencyStore`](crate::policies::idempotency::IdempotencyStore) implementations. Tokens
/// that are taken here are visible there, and a record that is begun here is settled there.
pub trait AdmissionStore: fmt::Debug + Send + Sync + 'static {
    /// Returns `true` if one call of [`admit`](Self::admit) can decide these limits and this
    /// record.
    ///
    /// Returns `false` if they are on different nodes: then the limits and the record are decided
    /// by separate calls, one after the other.
    fn joins(&self, requests: &[LimitRequest<'_>], begin: &Begin) -> bool {
        let _ = (requests, begin);
        true
    }

    /// Takes the tokens of all limit requests, and then the record for a run. If a limit rejects,
    /// takes neither.
    ///
    /// **Atomic**: both happen in one step, and no other call sees a part of it. A rejected call
    /// changes nothing. A call that finds the record taken keeps the tokens: a replay counts like
    /// any request.
    ///
    /// **Idempotent** for the token of the run, but not for the tokens of the limits, which a
    /// repeated call takes again. A store that repeats a call by itself must not return the
    /// rejection of the repeated call, because the run of the first call may have begun. It returns
    /// [`Unavailable`](super::StoreError::Unavailable) instead.
    ///
    /// **Expiry**: as in [`acquire`](crate::policies::rate_limit::LimitStore::acquire) and
    /// [`begin`](crate::policies::idempotency::IdempotencyStore::begin).
    ///
    /// **Crash** before: no token is taken, and the record is unchanged. After, with the result
    /// lost: as after both operations. The caller therefore repeats
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
    /// The limits admit the request and have taken their tokens; with the outcome of `begin`.
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
