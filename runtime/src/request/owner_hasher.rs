//! Hashes of callers and other owners, for the keys of a store.

use super::caller::Caller;
use crate::secret::Key;

/// A hasher that replaces the owners of data in a store by hashes, so that the store does not
/// contain their names.
///
/// The hash uses no secret, so that it stays the same when the secret of the API changes. It is
/// only a pseudonym: an attacker who can read the store can test a guess of a caller.
#[derive(Debug, Clone)]
pub(crate) struct OwnerHasher {
    namespace: String,
    key: Key,
}

/// The context that makes these hashes differ from all other hashes. If the hashed data changes,
/// increase the number.
const CONTEXT: &str = "aplomb owner 1";

impl OwnerHasher {
    pub(crate) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            key: Key::of_purpose(CONTEXT),
        }
    }

    /// Returns the hash of a caller. It is the same in all parts of the store.
    pub(crate) fn hash_caller(&self, caller: &Caller) -> [u8; 16] {
        self.hash_owner("caller", caller.id().as_bytes())
    }

    /// Returns the hash of another kind of owner, such as an address.
    pub(crate) fn hash_owner(&self, kind: &str, id: &[u8]) -> [u8; 16] {
        self.key
            .hash()
            .part(self.namespace.as_bytes())
            .part(kind.as_bytes())
            .part(id)
            .finish_short()
    }
}
