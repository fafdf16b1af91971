//! The calls to a store and their replies, as values.

use core::time::Duration;

use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    StoredResponse,
};
use crate::store::StoreError;

/// A call to a store.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Begin(Begin),
    Heartbeat(Lease),
    Complete(Complete),
    Abort(Lease, Duration),
    MarkUnknown(Lease),
    Resolve(RecordKey, Option<StoredResponse>),
}

/// The reply of a store to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    BeginOutcome(BeginOutcome),
    Completed(CompleteOutcome),
    Aborted,
    /// The result of `heartbeat`, `mark_unknown` or `resolve`: `true` if it changed the record.
    Flag(bool),
}

pub(super) async fn execute(
    store: &impl IdempotencyStore,
    call: &Call,
) -> Result<Reply, StoreError> {
    Ok(match call {
        Call::Begin(begin) => Reply::BeginOutcome(store.begin(begin).await?),
        Call::Heartbeat(lease) => Reply::Flag(store.heartbeat(&[*lease], LEASE).await? == [true]),
        Call::Complete(complete) => Reply::Completed(store.complete(complete).await?),
        Call::Abort(lease, marker) => store
            .abort(*lease, *marker)
            .await
            .map(|()| Reply::Aborted)?,
        Call::MarkUnknown(lease) => Reply::Flag(store.mark_unknown(*lease, TTL).await?),
        Call::Resolve(key, response) => {
            Reply::Flag(store.resolve(*key, response.clone(), TTL).await?)
        }
    })
}
