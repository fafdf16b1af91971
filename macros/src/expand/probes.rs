//! The assertions that only the compiler can decide, all in the constant that is the scope, which
//! `cargo check` evaluates.

use proc_macro2::TokenStream;

use crate::policies::Endpoint;

/// The assertions, each a statement.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let policies = endpoint.spec.policies().into_iter();
    policies.map(|policy| policy.assertions(endpoint)).collect()
}
