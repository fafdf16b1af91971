//! The conversion of an endpoint to an entry of a list.

use super::{Mount, MountableEndpoint};

/// A state with which the endpoint `E` can be called.
///
/// The trait is implemented for the state, not for the endpoint, because the compiler selects no
/// implementation for a type that it has not inferred yet. The compiler therefore infers the state
/// of a list from the code around the list, never from the arguments of one endpoint. Otherwise an
/// endpoint with `State<T>` and no `FromRef` implementation for `T` would make `T` the state of the
/// list, and the compiler would report every other entry.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` does not provide an argument of the endpoint `{E}`"
)]
pub trait Mounts<E, M>: Sized {
    /// Returns the entry of the endpoint.
    fn entry() -> MountableEndpoint<Self>;
}

impl<S, M, E: Mount<S, M>> Mounts<E, M> for S {
    fn entry() -> MountableEndpoint<S> {
        MountableEndpoint {
            spec: &E::SPEC,
            reads_body: E::READS_BODY,
            call: E::call,
        }
    }
}

/// Returns the entry of an endpoint in a list.
pub fn entry<S: Mounts<E, M>, M, E>() -> MountableEndpoint<S> {
    S::entry()
}
