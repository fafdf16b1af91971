//! A request's trip to the buckets.

use tokio::time::sleep;

use super::decide::Reading;
use crate::pipeline::Context;
use crate::problem::{Problem, registry};
use crate::store::StoreError;

/// Takes what the request costs from its limits, and waits for its turn; `note` gets their state either way, which is empty
/// where this instance decided alone. Without limits nothing is asked.
pub(crate) async fn acquire(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<(), Problem> {
    let Some(limits) = &context.mounted().limits else { return Ok(()) };
    let claims = limits.claims(context);
    let decided = match context.shared().limits.acquire(&claims, limits.on_error()).await {
        Ok(decided) => decided,
        Err(error) => {
            // There is nothing to tell, and the store is not asked once more.
            note(Vec::new());
            return Err(unavailable(&error));
        }
    };
    let acquired = decided.acquired();
    if acquired.admitted {
        limits.note_shadows(context.spec(), &claims, acquired, context.shared().limits.clock());
    }
    let (refusal, turn) = ((!acquired.admitted).then(|| limits.refusal(acquired)), limits.turn(acquired));
    note(decided.into_readings());
    match refusal {
        Some(problem) => Err(problem),
        None if turn.is_zero() => Ok(()),
        None => {
            sleep(turn).await;
            Ok(())
        }
    }
}

/// The limits' state, without taking anything: for a request that was refused before its limits
/// were asked. Nothing where there are none but shadows, or where the store does not answer.
pub(crate) async fn peek(context: &Context) -> Option<Vec<Reading>> {
    let claims = context.mounted().limits.as_ref()?.reads(context);
    if claims.is_empty() {
        return None;
    }
    context.shared().limits.peek(&claims).await
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error)
}
