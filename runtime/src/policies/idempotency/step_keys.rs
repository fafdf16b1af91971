use core::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hasher;
use http::request::Parts;

use super::store::RecordKey;
use crate::problem::Problem;

/// What a client means by one idempotency key, as an argument of an endpoint: the same for every
/// try, and for a run that takes the place of one that died. It is derived from the name of the key's
/// record, and does not depend on a secret.
///
/// Systems that the handler calls can have keys of their own, so that what a first run has done there
/// is not done again by a second one (`on_crash = rerun`), or by the handler's own retries. On an
/// endpoint that is `idempotent(optional)` take `Option<StepKeys>`; on one without keys neither
/// compiles.
///
/// ```
/// use aplomb::prelude::*;
///
/// # #[derive(Clone)] struct CardNetwork;
/// # impl CardNetwork { async fn charge(&self, idempotency_key: &str, amount: u64) {} }
/// /// Charges a card; a rerun is harmless, since the network knows the key.
/// #[endpoint(post = "/charges", version = 1, idempotent(on_crash = rerun))]
/// async fn charge(State(cards): State<CardNetwork>, operation: StepKeys, Json(amount): Json<u64>) -> NoContent {
///     cards.charge(&operation.step("charge"), amount).await;
///     NoContent
/// }
/// ```
#[derive(Clone)]
pub struct StepKeys {
    id: String,
}

/// The record of the run, where the extractor finds it.
#[derive(Debug, Clone)]
pub(crate) struct RunRecord(pub(crate) RecordKey);

/// Tell these hashes from all others. Another form of them is another number.
const ID: &str = "aplomb operation 1";
const STEP: &str = "aplomb operation step 1";

impl StepKeys {
    fn new(record: &RecordKey) -> Self {
        Self {
            id: key(ID, &[record.caller(), record.name()]),
        }
    }

    /// The operation's identity: 22 characters of `[A-Za-z0-9_-]`. It is a hash that shows neither the
    /// client's key nor who the client is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for one step of the operation, such as one call to another system: 22 characters of
    /// `[A-Za-z0-9_-]`, the same whenever the operation's step of this name is tried. Steps of other
    /// names, and of other operations, have other keys.
    pub fn step(&self, name: &str) -> String {
        // An id is as long as any other, so that it does not run together with the name.
        key(STEP, &[self.id.as_bytes(), name.as_bytes()])
    }
}

fn key(context: &str, parts: &[&[u8]]) -> String {
    let mut hash = Hasher::new_derive_key(context);
    for part in parts {
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize().as_bytes()[..16])
}

impl fmt::Debug for StepKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepKeys").field(&self.id).finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for StepKeys {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        of(parts)
            .ok_or_else(|| Problem::internal("`StepKeys` was asked for without an idempotency key"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for StepKeys {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(of(parts))
    }
}

fn of(parts: &Parts) -> Option<StepKeys> {
    parts
        .extensions
        .get::<RunRecord>()
        .map(|RunRecord(record)| StepKeys::new(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(caller: u8, name: u8) -> StepKeys {
        StepKeys::new(&RecordKey::new([caller; 16], [name; 16]))
    }

    /// Other systems know these keys.
    #[test]
    fn a14_an_operation_and_its_steps_stay_what_they_were() {
        let operation = operation(1, 1);
        assert_eq!(
            (operation.id(), operation.step("charge").as_str()),
            ("rpWxvPfOEbXX8c10nTFyjg", "fLYAMok_jUEqC7yOVB5xYQ")
        );
        assert_eq!((operation.id().len(), operation.step("").len()), (22, 22));
    }

    #[test]
    fn others_are_others() {
        let first = operation(1, 1);
        let mut keys = vec![
            first.id().to_owned(),
            first.step("charge"),
            first.step("ship"),
            first.step(""),
        ];
        for other in [operation(1, 2), operation(2, 1)] {
            keys.extend([other.id().to_owned(), other.step("charge")]);
        }
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
