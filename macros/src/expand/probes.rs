//! The assertions that only the compiler can decide, all in one constant, which `cargo check`
//! evaluates.

use proc_macro2::TokenStream;
use quote::quote;

use crate::policies::Endpoint;

/// The constant, unless nothing is asserted.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let assertions: TokenStream = endpoint
        .spec
        .policies()
        .into_iter()
        .map(|policy| policy.assertions(endpoint))
        .collect();
    if assertions.is_empty() {
        return assertions;
    }
    let cfgs = endpoint.function.cfgs();
    quote! {
        #cfgs
        #[allow(deprecated)]
        const _: () = {
            #[allow(unused_imports)]
            use ::aplomb::__private::ProbeFallback as _;
            #assertions
        };
    }
}
