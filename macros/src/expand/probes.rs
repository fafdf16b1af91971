//! The assertions that only the compiler can decide, all in one constant, which `cargo check`
//! evaluates. Types depend on it, so that nothing follows from a failed assertion.

use proc_macro2::TokenStream;
use quote::quote;

use super::checks;
use crate::policies::Endpoint;

/// The type that depends on the constant. If nothing is asserted there is no constant.
pub(super) fn expand(endpoint: &Endpoint<'_>) -> TokenStream {
    let mut assertions = checks::expand(endpoint);
    let policies = endpoint.spec.policies().into_iter();
    assertions.extend(policies.map(|policy| policy.assertions(endpoint)));
    if assertions.is_empty() {
        return quote!(
            type Checked<__T> = __T;
        );
    }
    let passed = quote! {{
        #[allow(unused_imports)]
        use ::aplomb::__private::ProbeFallback as _;
        #assertions
        true
    }};
    quote! {
        type Checked<__T> = <::aplomb::__private::Checks<#passed> as ::aplomb::__private::IfPassed<__T>>::Type;
    }
}
