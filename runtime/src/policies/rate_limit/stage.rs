//! A request's trip to the buckets.

use std::net::IpAddr;

use super::decide::Reading;
use super::limits::Limits;
use super::store::Acquired;
use crate::auth::Caller;
use crate::pipeline::{Context, Mounted};
use crate::problem::{Problem, registry};
use crate::store::StoreError;

/// Takes what the request costs from its limits; `note` gets their state either way, which is empty
/// where this instance decided alone. Without limits nothing is asked.
pub(crate) async fn acquire(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<(), Problem> {
    let Some(limits) = &context.mounted().limits else { return Ok(()) };
    let claims = limits.claims(context.caller(), context.address());
    let decided = context.shared().limits.acquire(&claims).await.map_err(|error| unavailable(&error))?;
    let acquired = decided.acquired();
    if acquired.admitted {
        limits.note_shadows(context.spec(), &claims, acquired, context.shared().limits.clock());
    }
    let refusal = (!acquired.admitted).then(|| limits.refusal(acquired));
    note(decided.into_readings());
    refusal.map_or(Ok(()), Err)
}

/// What [`acquire`] does, for a request that is admitted by a store that does not have to be waited for. Else
/// nothing is done, and `None`.
pub(crate) fn acquire_at_once(
    mounted: &Mounted,
    limits: &Limits,
    caller: Option<&Caller>,
    address: Option<IpAddr>,
) -> Option<Vec<Reading>> {
    let (claims, guard) = (limits.claims(caller, address), &mounted.shared.limits);
    // Taken apart, so that a new part of it is heeded here, too.
    let acquired = guard.acquire_at_once(&claims).filter(|acquired| acquired.admitted)?;
    limits.note_shadows(mounted.spec, &claims, &acquired, guard.clock());
    let Acquired { admitted: _, readings } = acquired;
    Some(readings)
}

/// The limits' state, without taking anything: for a request that was refused before its limits
/// were asked. Nothing where there are none but shadows, or where the store does not answer.
pub(crate) async fn peek(context: &Context) -> Option<Vec<Reading>> {
    let limits = context.mounted().limits.as_ref()?;
    let claims = limits.reads(context.caller(), context.address());
    if claims.is_empty() {
        return None;
    }
    context.shared().limits.peek(&claims).await
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error)
}
