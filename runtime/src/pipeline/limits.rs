//! The request's rate limits.

use super::context::Context;
use crate::policies::rate_limit::Reading;
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
