//! The operations of a store and their answers, as values.

use core::time::Duration;

use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, BeginOutcome, Complete, CompleteOutcome, IdempotencyStore, Lease, RecordKey,
    StoredResponse,
};
use crate::store::StoreError;

/// What is asked of a store.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Begin(Begin),
    Heartbeat(Lease),
    Complete(Complete),
    Abort(Lease, Duration),
    MarkUnknown(Lease),
    Resolve(RecordKey, Option<StoredResponse>),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    BeginOutcome(BeginOutcome),
    Completed(CompleteOutcome),
    Aborted,
    /// Whether the heartbeat renewed, the run was written off, the record resolved.
    Is(bool),
}

pub(super) async fn ask(store: &impl IdempotencyStore, call: &Call) -> Result<Answer, StoreError> {
    Ok(match call {
        Call::Begin(begin) => Answer::BeginOutcome(store.begin(begin).await?),
        Call::Heartbeat(lease) => Answer::Is(store.heartbeat(&[*lease], LEASE).await? == [true]),
        Call::Complete(complete) => Answer::Completed(store.complete(complete).await?),
        Call::Abort(lease, marker) => store
            .abort(*lease, *marker)
            .await
            .map(|()| Answer::Aborted)?,
        Call::MarkUnknown(lease) => Answer::Is(store.mark_unknown(*lease, TTL).await?),
        Call::Resolve(key, response) => {
            Answer::Is(store.resolve(*key, response.clone(), TTL).await?)
        }
    })
}
