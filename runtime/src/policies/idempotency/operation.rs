use core::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;

use super::store::RecordKey;
use crate::pipeline::Context;
use crate::problem::Problem;
use crate::secret::Key;

/// What a client means by one idempotency key, as an argument of an endpoint: the same for every
/// try, and for a run that takes the place of one that died. Only a key that was freed has another one
/// after an exchange of the secret ([`Api::other_secret`](crate::Api::other_secret)).
///
/// Systems that the handler calls can have keys of their own, so that what a first run has done there
/// is not done again by a second one (`on_crash = rerun`), or by the handler's own retries. On an
/// endpoint that is `idempotent(optional)` take an `Option<Operation>`; on one without keys neither
/// compiles.
///
/// ```
/// use aplomb::prelude::*;
///
/// # #[derive(Clone)] struct CardNetwork;
/// # impl CardNetwork { async fn charge(&self, idempotency_key: &str, amount: u64) {} }
/// /// Charges a card; a rerun is harmless, since the network knows the key.
/// #[endpoint(post = "/charges", version = 1, idempotent(on_crash = rerun))]
/// async fn charge(State(cards): State<CardNetwork>, operation: Operation, Json(amount): Json<u64>) -> NoContent {
///     cards.charge(&operation.step("charge"), amount).await;
///     NoContent
/// }
/// ```
#[derive(Clone)]
pub struct Operation {
    id: String,
    steps: Key,
}

impl Operation {
    fn new(record: &RecordKey, keys: &Key) -> Self {
        let hash = keys.hash().part(record.caller()).part(record.name()).finish_short();
        Self { id: text(hash), steps: keys.clone() }
    }

    /// The operation's identity: 22 characters of `[A-Za-z0-9_-]`. It does not tell the client's key
    /// or who the client is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for one step of the operation, such as one call to another system: 22 characters of
    /// `[A-Za-z0-9_-]`, the same whenever the operation's step of this name is tried. Steps of other
    /// names, and of other operations, have other keys.
    pub fn step(&self, name: &str) -> String {
        text(self.steps.hash().part(b"step").part(self.id.as_bytes()).part(name.as_bytes()).finish_short())
    }
}

fn text(hash: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(hash)
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operation").field(&self.id).finish()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        of(parts).ok_or_else(|| Problem::internal("an `Operation` was asked for without an idempotency key"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Operation {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(of(parts))
    }
}

fn of(parts: &Parts) -> Option<Operation> {
    let context = parts.extensions.get::<Context>()?;
    // By the secret that has named the record, so that it stays what it was while that is changed.
    let (record, identities) = context.record()?;
    Some(Operation::new(record, identities.operations()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn operation(name: u8, namespace: &str) -> Operation {
        let keys = Secret::new([7; 32]).expect("long enough").key(&format!("operation/{namespace}"));
        Operation::new(&RecordKey::new([1; 16], [name; 16]), &keys)
    }

    #[test]
    fn an_operation_and_its_steps_stay_the_same() {
        let (first, again) = (operation(1, "shop"), operation(1, "shop"));
        assert_eq!((first.id(), first.step("charge")), (again.id(), again.step("charge")));
        assert_eq!((first.id().len(), first.step("").len()), (22, 22));
    }

    #[test]
    fn others_are_others() {
        let first = operation(1, "shop");
        let mut keys = vec![first.id().to_owned(), first.step("charge"), first.step("ship"), first.step("")];
        for other in [operation(2, "shop"), operation(1, "other")] {
            keys.extend([other.id().to_owned(), other.step("charge")]);
        }
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
