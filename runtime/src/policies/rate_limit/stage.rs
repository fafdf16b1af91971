//! A request's trip to the buckets.

use super::decide::Reading;
use crate::pipeline::Context;
use crate::problem::{Problem, registry};

/// Takes what the request costs from its limits; `note` gets their state either way. Without
/// limits nothing is asked.
pub(crate) async fn acquire(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<(), Problem> {
    let Some(limits) = &context.mounted().limits else { return Ok(()) };
    let claims = limits.claims(context);
    match context.shared().facets.limits.acquire(&claims).await {
        Err(error) => Err(Problem::new(&registry::STORE_UNAVAILABLE).with_cause(&error)),
        Ok(acquired) => {
            let refusal = (!acquired.admitted).then(|| limits.refusal(&acquired));
            note(acquired.readings);
            refusal.map_or(Ok(()), Err)
        }
    }
}

/// The limits' state, without taking anything: for a request that was refused before its limits
/// were asked. Nothing where there are none, or where the store does not answer.
pub(crate) async fn peek(context: &Context) -> Option<Vec<Reading>> {
    let mut claims = context.mounted().limits.as_ref()?.claims(context);
    for claim in &mut claims {
        claim.cost = 0;
    }
    let acquired = context.shared().facets.limits.acquire(&claims).await.ok()?;
    Some(acquired.readings)
}
