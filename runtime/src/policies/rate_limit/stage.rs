//! A request's trip to the buckets.

use core::time::Duration;
use std::net::IpAddr;

use tokio::time::sleep;

use super::decide::Reading;
use super::guard::Decided;
use super::known::Known;
use super::limits::{Claimant, Limits};
use super::store::{Acquired, Claim};
use crate::auth::Caller;
use crate::facet::StoreError;
use crate::pipeline::{Context, Mounted};
use crate::policies::idempotency::{Begin, Begun};
use crate::problem::{Problem, registry};

/// Refuses what the store has refused a moment ago, without asking it again; then `note` gets the limits'
/// state.
pub(crate) fn check(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<(), Problem> {
    let guard = &context.shared().limits;
    let Some(limits) = context.mounted().limits.as_ref().filter(|_| guard.denies()) else { return Ok(()) };
    let claims = limits.claims(&context.claimant());
    match guard.denial(&claims) {
        Some(refused) => tell(context, limits, &claims, Decided::ByStore(refused), note).map(|_| ()),
        None => Ok(()),
    }
}

/// Takes what the request costs from its limits, and waits for its turn; `note` gets their state either way,
/// which is empty where this instance decided alone. Without limits nothing is asked.
pub(crate) async fn acquire(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<(), Problem> {
    ask(context, note).await?.come().await;
    Ok(())
}

/// When a request may go on.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(crate) struct Turn(Duration);

impl Turn {
    /// Waits for it.
    pub(crate) async fn come(self) {
        if !self.0.is_zero() {
            sleep(self.0).await;
        }
    }
}

async fn ask(context: &Context, note: impl FnOnce(Vec<Reading>)) -> Result<Turn, Problem> {
    let Some(limits) = &context.mounted().limits else { return Ok(Turn::default()) };
    let claims = limits.claims(&context.claimant());
    let guard = &context.shared().limits;
    let decided = match limits.lease() {
        Some(batch) => guard.acquire_leased(&claims[0], batch, limits.on_error()).await,
        None => guard.acquire(&claims, limits.on_error()).await,
    };
    match decided {
        Ok(decided) => tell(context, limits, &claims, decided, note),
        Err(error) => {
            // There is nothing to tell, and the store is not asked once more.
            note(Vec::new());
            Err(unavailable(&error))
        }
    }
}

/// Takes what the request costs, and asks for `begin` in the same trip where the store can: what that found,
/// or `None` where it is still to be asked; and when the request may go on.
pub(crate) async fn acquire_with(
    context: &Context,
    begin: &Begin,
    note: impl FnOnce(Vec<Reading>),
) -> Result<(Option<Result<Begun, StoreError>>, Turn), Problem> {
    let (Some(limits), Some(store)) = (&context.mounted().limits, &context.shared().facets.admission) else {
        return Ok((None, ask(context, note).await?));
    };
    let claims = limits.claims(&context.claimant());
    // Tokens that are here cost no trip.
    if limits.lease().is_some() || !store.joins(&claims, begin) {
        return Ok((None, ask(context, note).await?));
    }
    match context.shared().limits.acquire_with(&**store, &claims, limits.on_error(), begin).await {
        Ok((decided, found)) => Ok((found.map(Ok), tell(context, limits, &claims, decided, note)?)),
        Err(error) => {
            // The limits have been asked, and what they said is lost behind a record that cannot be read.
            if error.is_about_the_key()
                && let Some(readings) = peek(context).await
            {
                note(readings);
            }
            Ok((Some(Err(error)), Turn::default()))
        }
    }
}

/// What [`acquire`] does, for a request that is admitted by a store that does not have to be waited for. Else
/// nothing is done, and `None`.
pub(crate) fn acquire_at_once(
    mounted: &Mounted,
    limits: &Limits,
    caller: Option<&Caller>,
    address: Option<IpAddr>,
) -> Option<Vec<Reading>> {
    if !limits.decide_at_once() {
        return None;
    }
    let claimant = Claimant { caller, address, known: &Known::default(), patience: Duration::ZERO };
    let (claims, guard) = (limits.claims(&claimant), &mounted.shared.limits);
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
    let claims = limits.reads(&context.claimant());
    if claims.is_empty() {
        return None;
    }
    context.shared().limits.peek(&claims).await
}

/// What was decided: told to whoever wants it, and to a client that is refused.
fn tell(
    context: &Context,
    limits: &Limits,
    claims: &[Claim<'_>],
    decided: Decided,
    note: impl FnOnce(Vec<Reading>),
) -> Result<Turn, Problem> {
    let acquired = decided.acquired();
    if acquired.admitted {
        limits.note_shadows(context.spec(), claims, acquired, context.shared().limits.clock());
    }
    let refusal = (!acquired.admitted).then(|| limits.refusal(acquired));
    let turn = Turn(limits.turn(acquired));
    note(decided.into_readings());
    refusal.map_or(Ok(turn), Err)
}

fn unavailable(error: &StoreError) -> Problem {
    Problem::new(&registry::STORE_UNAVAILABLE).with_cause(error)
}
