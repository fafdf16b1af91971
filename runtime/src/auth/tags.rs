use super::caller::Caller;
use crate::secret::{Key, Secret};

/// Names whoever a store holds something of by a keyed hash, so that it holds nobody in the clear.
#[derive(Debug, Clone)]
pub(crate) struct Tags(Key);

impl Tags {
    pub(crate) fn new(secret: &Secret, namespace: &str) -> Self {
        Self(secret.key(&format!("caller/{namespace}")))
    }

    /// The same for a caller wherever something of his is kept.
    pub(crate) fn caller(&self, caller: Option<&Caller>) -> [u8; 16] {
        let (kind, id) = kind_and_id(caller);
        self.other(kind, id.as_bytes())
    }

    /// Of something that is no caller.
    pub(crate) fn other(&self, kind: &str, id: &[u8]) -> [u8; 16] {
        self.0.hash().part(kind.as_bytes()).part(id).finish_short()
    }
}

/// A caller as two parts of a hash.
pub(crate) fn kind_and_id(caller: Option<&Caller>) -> (&'static str, &str) {
    caller.map_or(("anonymous", ""), |caller| ("caller", caller.id()))
}
