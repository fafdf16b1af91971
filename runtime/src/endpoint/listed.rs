//! Whether an entry of a list is an endpoint at all.

use axum::extract::Request;

use super::{AnswerFuture, Endpoint, Mount};
use crate::spec::{EndpointSpec, Method};

/// What an entry's name means where its path does not bring an endpoint: the type where it brings
/// no type, the value where it brings no value.
#[derive(Debug, Clone, Copy)]
pub struct NotAnEndpoint {
    /// Makes the size one that no function and hardly anything else has.
    _size: [u8; 4091],
}

impl NotAnEndpoint {
    /// The value.
    pub const VALUE: Self = Self { _size: [0; 4091] };

    const NAME: &str = "";
}

impl Endpoint for NotAnEndpoint {
    const SPEC: EndpointSpec = EndpointSpec::new(Method::Get, "", Self::NAME);
}

impl<S> Mount<S, ()> for NotAnEndpoint {
    const READS_BODY: bool = false;

    fn call(_: S, _: Request) -> AnswerFuture {
        unreachable!("`assert_endpoint` refuses the list when it is compiled")
    }
}

/// Fails the compilation where the entry at `index` is no endpoint. `value_size` is the size of the
/// value of the entry's name: without type and value the path leads nowhere, which rustc reports.
#[track_caller]
pub const fn assert_endpoint(specs: &[EndpointSpec], index: usize, value_size: usize) {
    let is_endpoint = !specs[index].name.is_empty();
    let is_nothing = value_size == size_of::<NotAnEndpoint>();
    assert!(
        is_endpoint || is_nothing,
        "this is no endpoint: declare what it answers, such as with `#[endpoint(get = \"/path\")]` on the function"
    );
}
