//! The interface between the macros and the runtime: the traits that `#[endpoint]` implements, and
//! the list that `routes!` collects.

mod adapt;
mod checks;
mod conflict;
mod cost;
mod link;
mod message;
mod mount;
mod probe;
mod report;
mod type_text;
#[cfg(feature = "garde")]
mod valid;

use core::fmt;
use core::marker::PhantomData;

pub use adapt::{Args, BodylessArg, HeadArg, InBody, InHead, LastArg, Respond, adapt, respond};
pub use checks::{
    Checks, Content, IfPassed, assert_get_argument, assert_head_argument, assert_last_argument,
    assert_response,
};
pub use conflict::{RouteCheck, assert_mountable, check_routes};
pub use cost::{CostFunction, OfHead, OfNothing, weigh};
pub use link::{FindPath, Here, PathArgument, There, link, link_to};
pub use mount::{Mounts, entry};
pub use probe::{
    IsBytes, IsCaller, IsList, IsOffsetRequest, IsPage, IsPageRequest, IsStepKeys, IsStream, Probe,
    ProbeFallback, assert_caller_known, assert_no_page_request, assert_no_step_keys,
    assert_not_a_list, assert_not_a_stream, assert_only_transaction, assert_path_parameters,
    assert_returns_page, assert_takes_page_request, transaction_of,
};
pub use report::{client_problem, field_problem, server_problem};

pub use crate::extract::path_shape::{ParameterCount, PathProbe, PathShape};
pub use crate::request::{EndpointResponse, Incoming, ResponseFuture, ResponseOrigin};
use crate::spec::{EndpointId, EndpointSpec};

/// A handler with its declaration. `#[endpoint(…)]` implements the trait for a type with the
/// function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not declared with `#[endpoint(…)]`",
    note = "write `#[endpoint(…)]` above the function"
)]
pub trait Endpoint {
    /// The identity of the endpoint. It is separate from `SPEC`, because `SPEC` depends on the id
    /// of the successor. Otherwise, two endpoints that name each other as successors would cause an
    /// unreadable error about a cycle of constants.
    #[doc(hidden)]
    const ID: EndpointId;

    /// The type `T`, if the endpoint's arguments and result passed the checks that need no state.
    #[doc(hidden)]
    type Checked<T>;

    /// The declaration.
    const SPEC: EndpointSpec;
}

/// An endpoint that can be called with a state `S`. `M` is a tuple of inferred markers, one for
/// each argument.
///
/// Only `#[endpoint(…)]` implements the trait.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint",
    label = "not declared with `#[endpoint(…)]`",
    note = "write `#[endpoint(…)]` above the function"
)]
pub trait Mount<S, M>: Endpoint {
    /// Set if the last argument reads the request's body.
    const READS_BODY: bool;

    /// Extracts the arguments, runs the handler, and makes the response.
    fn call(state: S, request: &mut Incoming) -> ResponseFuture;
}

/// One endpoint of a list, with the function that calls it with a state `S`.
#[doc(hidden)]
pub struct MountableEndpoint<S> {
    pub(crate) spec: &'static EndpointSpec,
    pub(crate) reads_body: bool,
    pub(crate) call: fn(S, &mut Incoming) -> ResponseFuture,
}

impl<S> Clone for MountableEndpoint<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for MountableEndpoint<S> {}

impl<S> fmt::Debug for MountableEndpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("spec", &self.spec)
            .field("reads_body", &self.reads_body)
            .finish_non_exhaustive()
    }
}

/// The endpoints of an API, collected by [`routes!`](crate::routes). `S` is the state of the API.
///
/// ```
/// use aplomb::prelude::*;
///
/// #[endpoint(get = "/orders/{id}", version = 1)]
/// async fn get_order(Path(id): Path<u64>) -> Json<u64> {
///     Json(id)
/// }
///
/// let routes: Routes<()> = routes![get_order];
/// assert_eq!(routes.len(), 1);
/// let paths: Vec<&str> = routes.specs().map(|spec| spec.path).collect();
/// assert_eq!(paths, ["/orders/{id}"]);
/// ```
pub struct Routes<S> {
    entries: Vec<MountableEndpoint<S>>,
    state: PhantomData<fn(S)>,
}

impl<S> fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.specs()).finish()
    }
}

impl<S> Routes<S> {
    #[doc(hidden)]
    pub fn from_entries(entries: &[MountableEndpoint<S>]) -> Self {
        Self {
            entries: entries.to_vec(),
            state: PhantomData,
        }
    }

    /// Returns the number of endpoints.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if the list has no endpoints.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the declarations of the endpoints, in the order of the list.
    pub fn specs(&self) -> impl Iterator<Item = &'static EndpointSpec> {
        self.entries.iter().map(|entry| entry.spec)
    }

    pub(crate) fn entries(&self) -> &[MountableEndpoint<S>] {
        &self.entries
    }
}
