use core::fmt;
use std::sync::Arc;

/// The authenticated caller of a request.
#[derive(Clone)]
pub struct Caller(Arc<str>);

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.0).finish()
    }
}
