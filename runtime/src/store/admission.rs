use core::fmt;
use std::sync::Arc;

use super::StoreFuture;
use crate::policies::idempotency::{Begin, BeginOutcome};
use crate::policies::rate_limit::{Acquired, LimitRequest};

/// Buckets and records that are kept together, so that a request is admitted in one step.
///
/// They are those of a [`LimitStore`](crate::policies::rate_limit::LimitStore) and an
/// [`IdempotencyStore`](crate::policies::idempotency::IdempotencyStore): what is taken and begun here is
/// read, settled and given back there.
pub trait AdmissionStore: fmt::Debug + Send + Sync + 'static {
    /// Whether these claims and this record can be asked for together. Where they are kept in different
    /// places, they are asked for one after the other.
    fn joins(&self, claims: &[LimitRequest<'_>], begin: &Begin) -> bool {
        let _ = (claims, begin);
        true
    }

    /// Takes the tokens of every claim and then the record for a run; where the claims are refused,
    /// neither.
    ///
    /// **Atomic**: both as one step, of which no other call sees a part. A refused call changes nothing;
    /// one that finds the record taken has paid for its request all the same. **Idempotent** for the
    /// token of the run, and not for the tokens of the claims, which a repeat takes again. A store that
    /// asks again by itself must not pass on a refusal of the repeat: the run of the first try may have
    /// begun, which is [`Unavailable`](super::StoreError::Unavailable).
    ///
    /// **Expiry**: as of [`acquire`](crate::policies::rate_limit::LimitStore::acquire) and of
    /// [`begin`](crate::policies::idempotency::IdempotencyStore::begin).
    ///
    /// **Crash** before: nothing was taken and nothing is there. After, with the answer lost: as after
    /// both; the caller therefore repeats
    /// [`abort`](crate::policies::idempotency::IdempotencyStore::abort) until that is confirmed.
    ///
    /// **Full**: where there is no room for the record, nothing was taken either.
    fn admit<'a>(
        &'a self,
        claims: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission>;
}

/// What came of a request that wants to be admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The limits refuse: nothing was taken, and nothing has begun.
    Refused(Acquired),
    /// The limits admit, and have taken their tokens; this is what `begin` found.
    Admitted(Acquired, BeginOutcome),
}

impl<T: AdmissionStore + ?Sized> AdmissionStore for Arc<T> {
    fn joins(&self, claims: &[LimitRequest<'_>], begin: &Begin) -> bool {
        (**self).joins(claims, begin)
    }

    fn admit<'a>(
        &'a self,
        claims: &'a [LimitRequest<'a>],
        begin: &'a Begin,
    ) -> StoreFuture<'a, Admission> {
        (**self).admit(claims, begin)
    }
}
