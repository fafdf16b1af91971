//! The state of a list of endpoints.

use core::fmt;
use core::marker::PhantomData;

use super::{Mount, MountableEndpoint};

/// The type of the state that the entries of a list share. The compiler infers it.
pub struct StateType<S>(PhantomData<fn(S)>);

impl<S> StateType<S> {
    /// Returns a state whose type the compiler infers later.
    #[allow(clippy::new_without_default, reason = "only `routes!` calls it")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S> Clone for StateType<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for StateType<S> {}

impl<S> fmt::Debug for StateType<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateType")
    }
}

/// A list whose state is `Self` accepts an endpoint that needs the state `P`. Both are the same type.
///
/// The compiler infers `P` from the arguments of one endpoint, and the state of the list from the code
/// around the list. With one type for both, an endpoint whose `State<T>` lacks its `FromRef` would make
/// `T` the state of the list, and every other entry would be an error.
#[diagnostic::on_unimplemented(
    message = "this endpoint takes `{P}` from the state of the API, and the state is `{Self}`",
    label = "an argument of this endpoint needs the state `{P}`",
    note = "write `impl FromRef<{Self}> for {P}` if `{P}` is a part of the state"
)]
pub trait StateOf<P>: Sized {
    /// Returns the entry of an endpoint.
    fn entry<M, E: Mount<P, M>>() -> MountableEndpoint<Self>;
}

impl<S> StateOf<S> for S {
    fn entry<M, E: Mount<S, M>>() -> MountableEndpoint<S> {
        MountableEndpoint {
            spec: &E::SPEC,
            reads_body: E::READS_BODY,
            call: E::call,
        }
    }
}

/// Returns the entry of an endpoint in a list.
pub fn entry<S: StateOf<P>, P, M, E: Mount<P, M>>(_: StateType<S>) -> MountableEndpoint<S> {
    S::entry::<M, E>()
}
