use super::caller::Caller;
use crate::secret::Key;

/// Names the owners of what a store holds by a hash, so that no owner stands there in the clear.
///
/// The hash needs no secret, so that it stays the same whatever becomes of a secret. It is a
/// pseudonym: whoever reads a store can confirm a guess.
#[derive(Debug, Clone)]
pub(crate) struct OwnerHasher {
    namespace: String,
    key: Key,
}

/// Tells these hashes from all others. Another form of them is another number.
const CONTEXT: &str = "aplomb owner 1";

impl OwnerHasher {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            key: Key::of_purpose(CONTEXT),
        }
    }

    /// The hash of a caller, the same wherever something of the caller is kept.
    pub(crate) fn caller(&self, caller: &Caller) -> [u8; 16] {
        self.owner("caller", caller.id().as_bytes())
    }

    /// The hash of another owner, such as an address.
    pub(crate) fn owner(&self, kind: &str, id: &[u8]) -> [u8; 16] {
        self.key
            .hash()
            .part(self.namespace.as_bytes())
            .part(kind.as_bytes())
            .part(id)
            .finish_short()
    }
}
