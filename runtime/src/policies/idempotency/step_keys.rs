use core::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::Hasher;
use http::request::Parts;

use super::store::RecordKey;
use crate::problem::Problem;

/// An extractor for the idempotency keys that a handler sends to other systems.
///
/// The keys are derived from the name of the request's record. They are equal in every attempt and
/// in every run of the operation, and depend on no secret. If a second run (`on_crash = rerun`) or
/// a retry inside the handler repeats a call, the other system recognizes the key and does not
/// repeat the effect.
///
/// An endpoint with `idempotent(optional)` takes `Option<StepKeys>`. On an endpoint without
/// idempotency keys, an argument of either type does not compile.
///
/// ```
/// use aplomb::prelude::*;
///
/// # #[derive(Clone)] struct CardNetwork;
/// # impl CardNetwork { async fn charge(&self, idempotency_key: &str, amount: u64) {} }
/// /// Charges a card. A rerun is harmless, because the network recognizes the key.
/// #[endpoint(post = "/charges", version = 1, idempotent(on_crash = rerun))]
/// async fn charge(
///     State(cards): State<CardNetwork>,
///     keys: StepKeys,
///     Json(amount): Json<u64>,
/// ) -> NoContent {
///     cards.charge(&keys.step("charge"), amount).await;
///     NoContent
/// }
/// ```
#[derive(Clone)]
pub struct StepKeys {
    id: String,
}

/// A request extension with the name of the run's record. [`StepKeys`] is derived from it.
#[derive(Debug, Clone)]
pub(crate) struct RunRecord(pub(crate) RecordKey);

// The contexts make these hashes differ from all other hashes. If the hashed data changes, increase
// the number in the context: other systems store these keys, so the keys that are derived with one
// number must never change.
const ID_CONTEXT: &str = "aplomb operation 1";
const STEP_CONTEXT: &str = "aplomb operation step 1";

impl StepKeys {
    fn new(record: &RecordKey) -> Self {
        Self {
            id: derive_key(ID_CONTEXT, &[record.caller(), record.name()]),
        }
    }

    /// Returns the identifier of the operation: 22 characters of `[A-Za-z0-9_-]`. The identifier is
    /// a hash. It reveals neither the client's key nor the caller.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the key for one step of the operation, such as one call to another system: 22
    /// characters of `[A-Za-z0-9_-]`.
    ///
    /// A step has the same key in every attempt. A step with another name, or of another operation,
    /// has another key.
    pub fn step(&self, name: &str) -> String {
        // All ids have the same length, so no separator is needed between the id and the name.
        derive_key(STEP_CONTEXT, &[self.id.as_bytes(), name.as_bytes()])
    }
}

fn derive_key(context: &str, parts: &[&[u8]]) -> String {
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
        step_keys_of_request(parts).ok_or_else(|| {
            Problem::internal("`StepKeys` needs an idempotency key, but the request has none")
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for StepKeys {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(step_keys_of_request(parts))
    }
}

fn step_keys_of_request(parts: &Parts) -> Option<StepKeys> {
    parts
        .extensions
        .get::<RunRecord>()
        .map(|RunRecord(record)| StepKeys::new(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_keys(caller: u8, name: u8) -> StepKeys {
        StepKeys::new(&RecordKey::new([caller; 16], [name; 16]))
    }

    /// The keys must not change between releases, because other systems store them.
    #[test]
    fn a14_step_keys_do_not_change_between_releases() {
        let keys = step_keys(1, 1);
        assert_eq!(
            (keys.id(), keys.step("charge").as_str()),
            ("rpWxvPfOEbXX8c10nTFyjg", "fLYAMok_jUEqC7yOVB5xYQ")
        );
        assert_eq!((keys.id().len(), keys.step("").len()), (22, 22));
    }

    #[test]
    fn a14_each_step_and_each_operation_has_a_different_key() {
        let first = step_keys(1, 1);
        let mut keys = vec![
            first.id().to_owned(),
            first.step("charge"),
            first.step("ship"),
            first.step(""),
        ];
        for other in [step_keys(1, 2), step_keys(2, 1)] {
            keys.extend([other.id().to_owned(), other.step("charge")]);
        }
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
