//! The operations of a store and their answers, as values.

use core::time::Duration;

use super::{LEASE, TTL};
use crate::policies::idempotency::{
    Begin, Begun, Complete, Completed, IdempotencyStore, Kept, Lease, RecordKey,
};
use crate::store::StoreError;

/// What is asked of a store.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Begin(Begin),
    Heartbeat(Lease),
    Complete(Complete),
    Abort(Lease, Duration),
    WriteOff(Lease),
    Resolve(RecordKey, Option<Kept>),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Begun(Begun),
    Completed(Completed),
    Aborted,
    /// Whether the heartbeat renewed, the run was written off, the record resolved.
    Is(bool),
}

pub(super) async fn ask(store: &impl IdempotencyStore, call: &Call) -> Result<Answer, StoreError> {
    Ok(match call {
        Call::Begin(begin) => Answer::Begun(store.begin(begin).await?),
        Call::Heartbeat(lease) => Answer::Is(store.heartbeat(&[*lease], LEASE).await? == [true]),
        Call::Complete(complete) => Answer::Completed(store.complete(complete).await?),
        Call::Abort(lease, marker) => store
            .abort(*lease, *marker)
            .await
            .map(|()| Answer::Aborted)?,
        Call::WriteOff(lease) => Answer::Is(store.write_off(*lease, TTL).await?),
        Call::Resolve(key, response) => {
            Answer::Is(store.resolve(*key, response.clone(), TTL).await?)
        }
    })
}
